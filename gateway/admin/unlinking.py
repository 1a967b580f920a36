"""What an ordinary answer tells of masked values: that there was one, and nothing to compare it by.

Digests in records are the same for the same value. Whoever may search and may also send a request could send a value,
look at the digest in the record of that request, and search for it: alone, without the second person that
`gateway.admin.reveals` asks for. So digests leave the trail through that command only; elsewhere `~` stands for them.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from gateway.gate.masking import DIGEST_BYTES, SHOWN

_DIGEST: Final = re.compile(rf"{SHOWN}[0-9a-f]{{{2 * DIGEST_BYTES}}}")
DIGESTS: Final = frozenset(
    {"sekisho.path_digests", "sekisho.query_digests", "path_digests", "query_digests"}  # in records, in documents
)


def unlinked_line(line: bytes) -> bytes:
    """Return one record's NDJSON line without digests; raises orjson.JSONDecodeError for what is no JSON."""
    if SHOWN.encode() not in line and b"_digests" not in line:
        return line
    return orjson.dumps(unlinked(orjson.loads(line))) + b"\n"


def unlinked(record: dict[str, Any]) -> dict[str, Any]:
    """Return one record, or document, without digests: how many there were stays to be seen."""
    return {name: _hidden(item) if name in DIGESTS else _told(item) for name, item in record.items()}


def _told(value: Any) -> Any:
    if isinstance(value, str):
        return _DIGEST.sub(SHOWN, value)
    if isinstance(value, dict):
        return unlinked(value)
    return [_told(item) for item in value] if isinstance(value, list) else value


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hidden(item) for name, item in value.items()}
    return [_hidden(item) for item in value] if isinstance(value, list) else SHOWN
