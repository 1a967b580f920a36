"""A header block that was read before is read as it would be anew: same head, or the same fault."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from gateway.edge.blocks import CAPACITY, LONGEST, LONGEST_LINE, KnownBlocks
from gateway.edge.blocks import LINES as KEPT
from gateway.edge.reader import HeadReader
from gateway.edge.services import EdgeLimits
from gateway.gate.request import Peer, RequestFault, RequestHead

PEER = Peer("10.0.0.1", 1, "loopback", "http", "")
OTHER_NAME = Peer("10.0.0.1", 1, "public", "https", "other.test")
LINES = (
    b"GET / HTTP/1.1", b"POST /a?b=c HTTP/1.1", b"HEAD /%E3%81%82 HTTP/1.1", b"GET / HTTP/1.0", b"GET  / HTTP/1.1",
    b"get / HTTP/1.1", b"GET //a HTTP/1.1", b"GET /a/../b HTTP/1.1", b"GET http://a/ HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"TRACE / HTTP/1.1", b"BREW / HTTP/1.1", b"GET /" + b"a" * 9000 + b" HTTP/1.1", b"GET /\x80 HTTP/1.1",
    b"GET / HTTP/1.1 ", b"GET /a b HTTP/1.1", b"GET / http/1.1", b"GET / HTTP/2.0", b"GET /\t HTTP/1.1", b"",
)  # fmt: skip


def read(known: KnownBlocks, data: bytes, peer: Peer) -> object:
    """What a new connection's reader makes of `data`: every field of the head, or the fault."""
    try:
        head = HeadReader(EdgeLimits(), known, lambda host: None).take(data, peer)
    except RequestFault as fault:
        return fault.status, fault.reason, fault.detail
    return None if head is None else {name: getattr(head, name) for name in RequestHead.__slots__}


def blocks(corpora: Path) -> list[bytes]:
    """The header blocks of the whole corpus, and some of ours."""
    lines = (corpora / "http1_requests.jsonl").read_text().splitlines()
    found = [b"\r\nHost: a.test\r\n\r\n", b"\r\nHost: a.test\r\nCookie: a=1; __Host-sekisho-app=x\r\n\r\n", b"\r\n\r\n"]
    found += [b"\r\nHost: a.test\r\nConnection: close, X-A\r\nX-A: 1\r\nX-B: 2\r\n\r\n"]
    for line in lines:
        raw = base64.b64decode(json.loads(line)["raw_base64"])
        start, end = raw.find(b"\r\n"), raw.find(b"\r\n\r\n")
        if 0 <= start <= end:
            found.append(raw[start : end + 4])
            found.append(b"\r\nHost: added.test" + raw[start : end + 4])
    return list(dict.fromkeys(found))


@pytest.mark.promise("P2.judged-is-what-the-app-sees")
def test_every_block_under_every_request_line(corpora: Path) -> None:
    """Corpus blocks, each after it was taken once, under good and bad request lines and another TLS name."""
    remembered = 0
    for block in blocks(corpora):
        known = KnownBlocks()
        read(known, b"GET /first HTTP/1.1" + block, PEER)
        if not known.table:
            continue
        remembered += 1
        for line in LINES:
            for peer in (PEER, PEER, OTHER_NAME):  # the second time the line is known too
                assert read(known, line + block, peer) == read(KnownBlocks(), line + block, peer), (line, block)
    assert remembered > 30


@pytest.mark.parametrize(
    "field",
    [b"Content-Length: 0", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Upgrade: h2c", b"X-Long: %b" % (
        b"x" * LONGEST
    )],
    ids=["no-body", "length", "chunked", "upgrade", "long"],
)  # fmt: skip
def test_what_frames_or_asks_more_is_read_each_time(field: bytes) -> None:
    """Such a block never enters the table."""
    known = KnownBlocks()
    read(known, b"POST / HTTP/1.1\r\nHost: a.test\r\n" + field + b"\r\n\r\n", PEER)
    assert not known.table


def test_blocks_are_bounded_and_forgotten() -> None:
    """Ever new blocks do not grow the table; nothing of a block is shown."""
    known = KnownBlocks()
    for number in range(CAPACITY + 10):
        read(known, b"GET / HTTP/1.1\r\nHost: a.test\r\nCookie: a=%d\r\n\r\n" % number, PEER)
    assert len(known.table) == 10
    assert repr(known) == "<10 header blocks>"
    known.forget()
    assert not known.table


def test_request_lines_are_bounded_and_forgotten() -> None:
    """Only short lines in order are kept, so many at most, and no longer than blocks."""
    known, block = KnownBlocks(), b"\r\nHost: a.test\r\n\r\n"
    for line in (b"GET / HTTP/1.1", *LINES, b"GET /" + b"a" * (LONGEST_LINE - 14) + b" HTTP/1.1"):
        read(known, line + block, PEER)
    long = [line for line in known.lines if len(line) == LONGEST_LINE]
    assert len(long) == 1
    assert sorted(known.lines) == sorted([*LINES[:3], *long])
    assert known.lines[LINES[1]] == ("POST", b"/a", "/a", b"b=c", LINES[1])
    read(known, b"GET /" + b"a" * (LONGEST_LINE - 13) + b" HTTP/1.1" + block, PEER)
    assert len(known.lines) == 4
    for number in range(KEPT - 3):
        read(known, b"GET /%d HTTP/1.1" % number + block, PEER)
    assert len(known.lines) == 1
    known.forget()
    assert not known.lines
