"""How rows reach DuckDB: files of lines with tabs between the values, and the queries that read them as rows.

A request that passed is a line of what is its own (`PASSED_COLUMNS`); what it has in common with many stands once, in a
line of a second file (`SHARED_COLUMNS`), and DuckDB puts the two together: columns, and the text of the event. Nothing
is escaped: JSON has no raw control characters, and a column that would have one is left to `audit.index.rows.row_of`,
whose rows come as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from audit.event import IMPLIED, implied
from audit.index.files import COLUMNS, FOLDED
from audit.segment import LINE_LIMIT

NULL: Final = b"\x01"
"""How a line says that a value is none. No column holds a control character."""
TIME: Final = 24  # bytes with which a passed request's line begins: its `@timestamp`
VARYING: Final = ("url.path", "http.request.id", "http.request.method", "http.response.status_code")  # as in COLUMNS
"""Fields of a passed request that are its own and have a column."""
IMPLICIT: Final = implied("request.decided", "success")
"""Fields that such a decision's line leaves out."""
EVENT_ID: Final = (
    b',%b,"event.id":"' % orjson.dumps({name: IMPLICIT[name] for name in IMPLICIT if name in IMPLIED})[1:-1]
)
EVENT_END: Final = b',"event.end":"'
"""What stands in an event before its id and before its end."""

SCHEMA: Final = {
    "ts": "VARCHAR", "writer": "VARCHAR", "epoch": "BIGINT", "seq": "BIGINT",
    **dict.fromkeys(COLUMNS.values(), "VARCHAR"), FOLDED: "VARCHAR", "event": "VARCHAR",
}  # fmt: skip
PASSED_COLUMNS: Final = {
    "ts": "VARCHAR", "writer": "VARCHAR", "epoch": "BIGINT", "seq": "BIGINT", "shared": "BIGINT",
    **{COLUMNS[name]: "VARCHAR" for name in VARYING},
    FOLDED: "VARCHAR", "own": "VARCHAR", "answer": "VARCHAR", "ended": "VARCHAR",
}  # fmt: skip
SHARED_COLUMNS: Final = {
    "shared": "BIGINT",
    **{column: "VARCHAR" for name, column in COLUMNS.items() if name not in VARYING}, "opened": "VARCHAR",
}  # fmt: skip


def _lines(columns: Mapping[str, str]) -> str:
    return (
        "read_csv(?, auto_detect = false, header = false, delim = '\t', quote = '', escape = '', comment = '', "
        f"nullstr = '{NULL.decode()}', new_line = '\\n', max_line_size = {4 * LINE_LIMIT}, columns = {_kinds(columns)})"
    )


def _kinds(columns: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"'{column}': '{kind}'" for column, kind in columns.items()) + "}"


def _text(value: bytes) -> str:
    return "'" + value.decode().replace("'", "''") + "'"


_EVENT: Final = ", ".join((
    "opened", "own", _text(EVENT_ID), "writer", "':'", "epoch", "':'", "seq", _text(b'",'), "answer",
    _text(EVENT_END), "ended", _text(b'"}'),
))  # fmt: skip
_NAMES: Final = ", ".join(f'"{column}"' for column in SCHEMA if column != "event")
PASSED: Final = (
    f"SELECT {_NAMES}, concat({_EVENT}) AS event "  # noqa: S608 (our names)
    f"FROM {_lines(PASSED_COLUMNS)} JOIN {_lines(SHARED_COLUMNS)} USING (shared)"
)
"""Reads two files: the lines of the requests, in their order, and the lines of what they share."""
DOCUMENTS: Final = f"SELECT * FROM read_json(?, format = 'newline_delimited', columns = {_kinds(SCHEMA)})"  # noqa: S608 (our names)
"""Reads one file: rows as JSON."""
SETTINGS: Final = ("SET threads = 1", "SET disabled_optimizers = 'join_order,build_side_probe_side'")
"""How DuckDB has to be set: rows then come out in the order in which their lines stand."""
