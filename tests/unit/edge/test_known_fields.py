"""A head put together from lines that are known is the head that llhttp and the gate's rules read from the whole."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.blocks import KnownBlocks
from gateway.edge.known_fields import LEARNED, LONGEST, NEW, KnownFields
from gateway.edge.known_fields import LINES as KEPT
from gateway.edge.reader import HeadReader
from gateway.edge.services import EdgeLimits
from gateway.gate.request import OldAppHead, PathExceptions, Peer, RequestFault, RequestHead

PEER = Peer("10.0.0.1", 1, "loopback", "http", "")
LINE = b"GET /a?b=c HTTP/1.1"
HOST = b"Host: a.test"
BROWSER = (
    HOST, b"User-Agent: Mozilla/5.0", b"Accept: text/html;q=0.9,*/*", b"accept-language:ja", b"Referer: https://a.test",
    b"Cookie: a=1; __Host-sekisho-app=x; b=2", b"X-Forwarded-For: 1.2.3.4", b"X-Empty:", b"Connection: keep-alive",
)  # fmt: skip
LINES = (b"GET /a HTTP/1.1", b"HEAD /%E3%81%82?x HTTP/1.1", b"GET /a HTTP/1.1", b"POST /%7e%c3%a9? HTTP/1.1")
ODD_LINES = (
    b"GET  /a HTTP/1.1", b"GET /a HTTP/1.0", b"TRACE / HTTP/1.1", b"GET //a HTTP/1.1", b"",
    b"GET /b HTTP/1.1\r\nX-First: 1", b"GET /\r\n HTTP/1.1",
)  # fmt: skip
ODD = (
    b"Host: b.test", b"Cookie: c=3", b"Connection: close", b"Connection: Keep-Alive, X-Empty", b"Content-Length: 0",
    b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Upgrade: websocket", b"Expect: 100-continue", b"X_Under: 1",
    b" folded", b"\tfolded", b"No colon", b"X-A : 1", b"X-A: a\rb", b"X-A: a\nb", b"X-A: a\0b", b"X-A: \x80", b":", b"",
    b"X-A: \x01", b"X-A: 1", b"x-a: 2", b"Accept: */*", b"Referer: /", b"Range: bytes=0-1", b"Range: bytes=0-1,2-3",
    b"Proxy-Connection: close", b"TE: trailers", b"HTTP2-Settings: x", b"X-Long: " + b"x" * LONGEST,
    b"Cookie: " + b"; ".join([b"a=1"] * 101), b"Cookie:", b"Host:", b"Connection:", b"Keep-Alive: timeout=5",
)  # fmt: skip


def shown(head: RequestHead) -> dict[str, object]:
    return {name: getattr(head, name) for name in RequestHead.__slots__}


def whole(data: bytes) -> object:
    """What the reading of the whole head that `data` begins with makes of it, or its fault."""
    data = data[: data.find(b"\r\n\r\n") + 4]
    try:
        return shown(HeadReader(EdgeLimits(), KnownBlocks(), lambda host: None).read(data, PEER))
    except RequestFault as fault:
        return fault.status, fault.reason, fault.detail


def taken(reader: HeadReader, data: bytes) -> object:
    """The same by whatever the reader knows."""
    head = reader.next(data, PEER)
    if head is not None:
        return shown(head)
    try:
        head = reader.take(data, PEER)
    except RequestFault as fault:
        return fault.status, fault.reason, fault.detail
    assert head is not None
    return shown(head)


def reader_with(known: KnownBlocks, limits: EdgeLimits | None = None) -> HeadReader:
    return HeadReader(limits or EdgeLimits(), known, lambda host: None)


def request(*fields: bytes, line: bytes = LINE) -> bytes:
    return b"\r\n".join((line, *fields)) + b"\r\n\r\n"


@pytest.mark.promise("P2.judged-is-what-the-app-sees")
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", [0, 3, len(BROWSER)])
def test_a_line_among_others_means_what_it_means_in_the_whole(odd: bytes, place: int) -> None:
    """Twice each: when the line is new, and when it may be known."""
    known = KnownBlocks()
    taken(reader_with(known), request(*BROWSER))
    assert known.fields.table.keys() == set(BROWSER)
    for again in range(2):
        for fields in ((*BROWSER[:place], odd, *BROWSER[place:]), (*BROWSER, b"X-New: %d" % again), (HOST, odd)):
            data = request(*fields)
            known.table.clear()
            assert taken(reader_with(known), data) == whole(data), fields


@pytest.mark.promise("P2.judged-is-what-the-app-sees")
def test_every_block_of_the_corpus_with_another_line(corpora: Path) -> None:
    """Corpus blocks as they are and with one line more, all by the same memory."""
    known, composed = KnownBlocks(), 0
    for text in (corpora / "http1_requests.jsonl").read_text().splitlines():
        raw = base64.b64decode(json.loads(text)["raw_base64"])
        start, end = raw.find(b"\r\n"), raw.find(b"\r\n\r\n")
        if not 0 <= start <= end:
            continue
        block = raw[start:end]
        for fields in (block, block + b"\r\nX-More: 1", b"\r\n" + HOST + block):
            known.table.clear()
            data = LINE + fields + b"\r\n\r\n"
            assert taken(reader_with(known), data) == whole(data), fields
            composed += fields + b"\r\n\r\n" in known.table
    assert composed > 30


@given(st.lists(st.sampled_from([*BROWSER, *ODD]), max_size=12), st.integers(1, 3))
def test_any_fields_in_any_order(fields: list[bytes], times: int) -> None:
    known = KnownBlocks()
    for _ in range(times):
        data = request(*fields)
        assert taken(reader_with(known), data) == whole(data)
        known.table.clear()


def test_the_next_request_of_a_connection_is_read_by_the_block_before() -> None:
    """Another line behind the same block; the end of what is read is the end of that head."""
    reader = reader_with(KnownBlocks())
    for line in (*LINES, *ODD_LINES, *LINES):
        data = request(*BROWSER, line=line)
        assert taken(reader, data) == whole(data), line
    for line in LINES:
        assert reader.next(request(*BROWSER, line=line), PEER) is not None, line
    for line in ODD_LINES:
        assert reader.next(request(*BROWSER, line=line), PEER) is None, line
    assert reader.next(request(*BROWSER, b"X-More: 1"), PEER) is None
    assert reader.next(request(*BROWSER)[:-2], PEER) is None
    two = request(*BROWSER) + request(*BROWSER, line=b"GET /second HTTP/1.1")
    assert taken(reader, two) == whole(request(*BROWSER))
    assert reader.size == len(request(*BROWSER))
    body = request(*BROWSER, b"Content-Length: 400") + request(*BROWSER)
    assert taken(reader, body) == whole(request(*BROWSER, b"Content-Length: 400"))


def test_limits_hold_for_known_blocks_too() -> None:
    block = request(*BROWSER)
    limits = EdgeLimits(header_bytes=len(block), header_line_bytes=60, header_count=len(BROWSER))
    reader = reader_with(KnownBlocks(), limits)
    assert taken(reader, block) == whole(block)
    assert taken(reader, request(*BROWSER, line=LINE.replace(b"/a", b"/ab")))[0] == 431  # type: ignore[index]
    assert taken(reader, request(HOST, b"X-Long: " + b"x" * 60))[0] == 431  # type: ignore[index]
    assert taken(reader, request(HOST, *(b"X-%d: 1" % n for n in range(len(BROWSER)))))[0] == 431  # type: ignore[index]


def test_what_was_forgotten_counts_for_no_connection() -> None:
    """An app gains an exception: everything is forgotten, and the same block on the same connection read by it."""
    exceptions: list[PathExceptions | None] = [None]
    known = KnownBlocks()
    reader = HeadReader(EdgeLimits(), known, lambda host: exceptions[0])
    assert type(reader.take(request(*BROWSER), PEER)) is RequestHead
    exceptions[0] = PathExceptions(jsessionid=True, shift_jis=False)
    known.forget()
    assert not known.fields.table
    for data in (request(*BROWSER), request(*BROWSER, line=b"GET /a;jsessionid=1 HTTP/1.1")):
        assert reader.next(data, PEER) is None
        assert isinstance(reader.take(data, PEER), OldAppHead)


def test_another_name_of_the_connection_is_misdirected() -> None:
    known = KnownBlocks()
    taken(reader_with(known), request(*BROWSER))
    with pytest.raises(RequestFault, match="421"):
        reader_with(known).take(request(*BROWSER), Peer("10.0.0.1", 1, "public", "https", "other.test"))


def test_many_new_lines_are_read_together() -> None:
    """A few are read alone; more are read with the whole head, and a block of very many leaves none behind."""
    alone: list[bytes] = []
    fields, reader = KnownFields(), reader_with(KnownBlocks())

    def parse(data: bytes) -> list[tuple[bytes, bytes]]:
        alone.append(data)
        return reader._parse(data)

    few = b"".join(b"\r\nX-%d: 1" % number for number in range(NEW - 1))
    assert fields.head_of(b"\r\nHost: a.test" + few + b"\r\n\r\n", parse, 16384) is not None
    assert len(alone) == NEW
    more = b"".join(b"\r\nY-%d: 1" % number for number in range(NEW + 1))
    assert fields.head_of(b"\r\nHost: a.test" + more + b"\r\n\r\n", parse, 16384) is None
    assert len(alone) == NEW
    known = KnownBlocks()
    taken(reader_with(known), request(HOST, *(b"Z-%d: 1" % number for number in range(LEARNED - 1))))
    assert len(known.fields.table) == LEARNED
    taken(reader_with(known), request(HOST, *(b"A-%d: 1" % number for number in range(LEARNED))))
    assert len(known.fields.table) == LEARNED


def test_lines_are_bounded() -> None:
    """Ever new lines do not grow the table."""
    fields, reader = KnownFields(), reader_with(KnownBlocks())
    unread = 0
    for number in range(KEPT + 10):
        block = b"\r\nHost: a.test\r\nX-Number: %d\r\n\r\n" % number
        unread += fields.head_of(block, reader._parse, 16384) is None
    assert unread == 1  # the one during which all were forgotten: it is read whole
    assert 2 < len(fields.table) < 20


def test_the_parser_that_a_field_ended_reads_no_further_head() -> None:
    """To llhttp Proxy-Connection is Connection: after "close" it refused whatever came next, also if it was fine."""
    reader = reader_with(KnownBlocks())
    for number in range(3):
        fields = (HOST, b"Proxy-Connection: close", b"Content-Length: %d" % number)
        assert reader.read(request(*fields), PEER).content_length == number
