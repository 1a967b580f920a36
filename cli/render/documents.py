"""Rows and values as JSON, NDJSON, YAML and CSV: keys as the API names them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cli.render.cells import escape_json, spreadsheet, unsafe

Row = Mapping[str, Any]


def as_json(value: object) -> str:
    """An indented JSON document with a line end."""
    return escape_json(json.dumps(value, ensure_ascii=False, indent=2)) + "\n"


def as_ndjson(rows: Iterable[Row]) -> str:
    """One JSON text a line."""
    return "".join(ndjson_line(row) for row in rows)


def ndjson_line(row: Row) -> str:
    """One JSON text and its line end."""
    return escape_json(json.dumps(row, ensure_ascii=False, separators=(",", ":"))) + "\n"


def as_yaml(value: object) -> str:
    """A YAML document, texts of several lines as they are; all beyond ASCII escaped where it could drive a terminal."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes a text of several lines as a block."""

    def text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, text_node)
    text = yaml.dump(value, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=100)
    if unsafe(text):
        text = yaml.safe_dump(value, allow_unicode=False, sort_keys=False, width=100)
    return str(text)


def as_csv(rows: Sequence[Row], fields: Sequence[str]) -> str:
    """RFC 4180 with BOM and CRLF, as spreadsheets in Japan open it right; formulas are made text."""
    names = list(fields) or list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([spreadsheet(name) for name in names])
    writer.writerows([[spreadsheet(row.get(name)) for name in names] for row in rows])
    return "\ufeff" + out.getvalue()
