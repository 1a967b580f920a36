"""One document as a syslog message (RFC 5424), framed for a stream (RFC 5425 §4.3.1). Pure.

The message is the document as one JSON object with nested names, in ASCII only: non-ASCII characters are escaped, so
that it needs no byte order mark (RFC 5424 §6.4) and no receiver can misread it. Its `event.id` tells one that came
twice. Structured data are left to the registered `origin` and `meta`: elements of our own would need a number of ours.

A message longer than `LONGEST`, which no receiver has to take (RFC 5425 §4.3.1), leaves its objects out (facts, unmet
requirements), and if need be all but who, what and where; its `tags` say `shortened`. The journal keeps the whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from audit.completion import NAMED
from audit.documents import Document
from audit.outlets.nested import nested

LONGEST: Final = 8192  # octets that a receiver should be able to take (RFC 5425 §4.3.1)
FACILITY: Final = 13  # log audit
WARNING: Final = 4
NOTICE: Final = 5
INFORMATIONAL: Final = 6
_APP: Final = "sekisho"
_NOT_PRINTABLE: Final = re.compile(r"[^\x21-\x7e]")
_KEPT: Final = (
    "@timestamp", "ecs.version", "event.id", "event.action", "event.dataset", "event.kind", "event.outcome",
    "http.request.id", "sekisho.reason", "sekisho.verdict", "sekisho.outcome", "http.response.status_code",
    "sekisho.journal.writer", "sekisho.journal.epoch", "sekisho.journal.seq", *NAMED,
)  # fmt: skip
_WIDEST: Final = 1000  # characters of one field in a message that had to be shortened twice


def frame(document: Document, host: str) -> bytes:
    """Return `LENGTH SP MESSAGE` of one document; `host` is the name of this machine."""
    message = _message(document, host, document.body)
    if len(message) > LONGEST:
        plain = {name: value for name, value in document.body.items() if not isinstance(value, dict)}
        message = _message(document, host, {**plain, "tags": ["shortened"]})
    if len(message) > LONGEST:
        least: dict[str, Any] = {name: _cut(document.body[name]) for name in _KEPT if name in document.body}
        message = _message(document, host, {**least, "tags": ["shortened"]})
    return b"%d %b" % (len(message), message)


def severity(body: Mapping[str, Any]) -> int:
    """Return RFC 5424's severity: warning for alerts, notice for failures, informational otherwise."""
    if body.get("event.kind") == "alert":
        return WARNING
    return NOTICE if body.get("event.outcome") == "failure" else INFORMATIONAL


def _message(document: Document, host: str, body: Mapping[str, Any]) -> bytes:
    whole = document.body
    priority = FACILITY * 8 + severity(whole)
    writer = _name(str(whole.get("sekisho.journal.writer", "")), 128)
    action = _name(str(whole.get("event.action", "")), 32)
    head = f"<{priority}>1 {whole['@timestamp']} {_name(host, 255)} {_APP} {writer} {action}"
    data = f'[origin software="{_APP}"]'
    return f"{head} {data} {json.dumps(nested(body), separators=(',', ':'))}".encode("ascii")


def _name(value: str, longest: int) -> str:
    """Return a header field (RFC 5424 §6): printable ASCII of bounded length, `-` where there is nothing."""
    return _NOT_PRINTABLE.sub("_", value)[:longest] or "-"


def _cut(value: Any) -> Any:
    return value[:_WIDEST] if isinstance(value, str) else value
