"""The public HTTP corpus: its cases as byte streams, and what of them is known by name.

A case runs as it is or with a Host added, first on its connection or after a good request, in each feed.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GOOD: Final = b"GET /good HTTP/1.1\r\nHost: good.test\r\n\r\n"

# Messages that their source refuses for reasons which are not ours; each reaches the app as exactly one request.
NOT_OUR_REASON: Final = {
    "invalid/006.http": "target within our limit of 8 KiB",
    "invalid/007.http": "field within our limit of 16 KiB",
    "invalid/008.http": "fields within our limits",
    "invalid/010.http": "more fields than that source allowed by configuration",
    "invalid/017.http": "field within our limit of 16 KiB",
    "invalid/019.http": "contradictory scheme headers, which we drop",
    "invalid/limit_header_default_01.http": "field within our limit of 16 KiB",
    "connection.md:82": "bytes after a request that closes are thrown away, unread",
    "connection.md:111": "bytes after a request that closes are thrown away, unread",
    "finish.md:7": "the message is whole once it has a Host",
}
# Why we refuse a well-formed message.
DOCUMENTED: Final = re.compile(
    r"Host missing or not a name"
    r"|query holds a character that must be encoded|path holds a character that must be encoded"
    r"|empty segment|target is not in origin form"
    r"|TRACE or CONNECT|method not known|method is not a word in capitals"
    r"|Transfer-Encoding other than chunked|Transfer-Encoding with Content-Length or on HTTP/1.0"
    r"|field sent twice: transfer-encoding|field name outside letters"
    r"|head does not follow RFC 9112|request line is not method|version other than"
    r"|WebSocket version is not 13|request does not start with a method|connection ended within"
    r"|bare CR, bare LF or NUL"
)
EXTENSION_OR_TRAILER: Final = re.compile(r"chunk size is not a plain number|trailers|connection ended within the body")
_HOST: Final = re.compile(rb"(?i)(^|\n)host[ \t]*:")
_FIRST_LINE: Final = re.compile(rb"(?:\r\n)*[^\r\n]+\r\n")


@dataclass(frozen=True)
class Case:
    """One message of the corpus in one variant."""

    name: str
    expect: str  # reject | valid | reject-or-one; "" where the source refuses it for reasons which are not ours
    raw: bytes
    host_added: bool
    after_good: bool

    def stream(self, good: bytes = GOOD) -> bytes:
        """Return the bytes of its connection; `good` is the request that may go before."""
        return good + self.raw if self.after_good else self.raw

    @property
    def label(self) -> str:
        """What names it in a report."""
        host, place = "Host added" if self.host_added else "as is", "after a good one" if self.after_good else "first"
        return f"{self.name} ({self.expect}; {host}, {place})"


VARIANTS: Final = tuple(itertools.product((False, True), (False, True)))
"""(Host added, after a good request)."""


def with_host(raw: bytes) -> bytes:
    """Add a Host header where the case has none."""
    if _HOST.search(raw):
        return raw
    found = _FIRST_LINE.match(raw)
    return raw if found is None else found[0] + b"Host: added.test\r\n" + raw[found.end() :]


def cases(corpora: Path, *, host_added: bool, after_good: bool) -> Iterator[Case]:
    """Yield every case in one variant, in the order of the file."""
    for line in (corpora / "http1_requests.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        raw = base64.b64decode(case["raw_base64"])
        expect = "" if case["name"] in NOT_OUR_REASON else case["expect"]
        yield Case(case["name"], expect, with_host(raw) if host_added else raw, host_added, after_good)
