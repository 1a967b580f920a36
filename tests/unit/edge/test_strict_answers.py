"""Answers of an app, read as strictly as requests: passed whole, or 502, or cut; what is odd is never pooled."""

from __future__ import annotations

import pytest

from policies.reasons import Reason
from tests.support.raw_app import GET, Told, tell
from tests.support.websocket_bytes import SWITCHED, upgrade

HEAD = GET.replace(b"GET", b"HEAD")
POST = b"POST /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\nhalf"
UPGRADE = upgrade(b"/a")
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
WHOLE = OK + LENGTH + b"\r\nhi"
INTERIM = b"HTTP/1.1 103 Early Hints\r\n"


def with_start(line: bytes) -> bytes:
    """An answer that is fit but for its status line."""
    return line + b"\r\n" + LENGTH + b"\r\nhi"


def with_field(line: bytes) -> bytes:
    """An answer that is fit but for one field line."""
    return OK + line + b"\r\n" + LENGTH + b"\r\nhi"


def framed(lines: bytes, body: bytes = b"hi") -> bytes:
    """An answer with these framing fields."""
    return OK + lines + b"\r\n\r\n" + body


def chunks(body: bytes) -> bytes:
    """A chunked answer."""
    return OK + CHUNKED + b"\r\n" + body


# What passes: the request, the parts of the answer, the body that the client gets, whether the connection is pooled.
FIT: dict[str, tuple[bytes, tuple[bytes, ...], bytes, bool]] = {
    "plain": (GET, (WHOLE,), b"hi", True),
    "byte by byte": (GET, tuple(WHOLE[at : at + 1] for at in range(len(WHOLE))), b"hi", True),
    "no reason": (GET, (with_start(b"HTTP/1.1 200"),), b"hi", True),
    "empty reason": (GET, (with_start(b"HTTP/1.1 200 "),), b"hi", True),
    "reason in Latin-1": (GET, (with_start(b"HTTP/1.1 200 \xe9t\xe9"),), b"hi", True),
    "empty value": (GET, (with_field(b"X:"),), b"hi", True),
    "tab in a value": (GET, (with_field(b"X: a\tb"),), b"hi", True),
    "connection closes": (GET, (with_field(b"Connection: close"),), b"hi", False),
    "chunks": (GET, (chunks(b"2\r\nhi\r\n0\r\n\r\n"),), b"hi", True),
    "extension and trailer": (GET, (chunks(b"2;a=b\r\nhi\r\n0\r\nX: a\r\n\r\n"),), b"hi", True),
    "eight interim": (GET, ((INTERIM + b"\r\n") * 8 + WHOLE,), b"hi", True),
    "HEAD": (HEAD, (OK + LENGTH + b"\r\n",), b"", False),
    "HEAD, chunked": (HEAD, (OK + CHUNKED + b"\r\n",), b"", False),
    "HEAD, no framing": (HEAD, (OK + b"\r\n",), b"", False),
    "204": (GET, (b"HTTP/1.1 204 No Content\r\n\r\n",), b"", True),
    "204 of no length": (GET, (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",), b"", True),
    "304": (GET, (b"HTTP/1.1 304 Not Modified\r\n\r\n",), b"", True),
    "304 that tells a length": (GET, (b"HTTP/1.1 304 Not Modified\r\n" + LENGTH + b"\r\n",), b"", False),
    "upgrade declined": (UPGRADE, (WHOLE,), b"hi", True),
}
# What does not: the request, the answer, what the record says.
UNFIT: dict[str, tuple[bytes, bytes, str]] = {
    "empty line first": (GET, b"\r\n" + WHOLE, "not HTTP|status line"),
    "blank first": (GET, b" " + WHOLE, "status line"),
    "two blanks": (GET, with_start(b"HTTP/1.1  200 OK"), "status line"),
    "tab for a blank": (GET, with_start(b"HTTP/1.1\t200 OK"), "status line"),
    "tab behind the status": (GET, with_start(b"HTTP/1.1 200\tOK"), "status line"),
    "lower case": (GET, with_start(b"http/1.1 200 OK"), "status line"),
    "HTTP/1.2": (GET, with_start(b"HTTP/1.2 200 OK"), "version"),
    "HTTP/2.0": (GET, with_start(b"HTTP/2.0 200 OK"), "version"),
    "HTTP/0.9": (GET, with_start(b"HTTP/0.9 200 OK"), "version"),
    "two digits": (GET, with_start(b"HTTP/1.1 20 OK"), "status"),
    "four digits": (GET, with_start(b"HTTP/1.1 2000 OK"), "status"),
    "status 099": (GET, with_start(b"HTTP/1.1 099 OK"), "status"),
    "status 600": (GET, with_start(b"HTTP/1.1 600 OK"), "status"),
    "signed status": (GET, with_start(b"HTTP/1.1 +200 OK"), "status"),
    "NUL in the reason": (GET, with_start(b"HTTP/1.1 200 O\0K"), "status line"),
    "escape in the reason": (GET, with_start(b"HTTP/1.1 200 O\x1bK"), "status line"),
    "bare CR in the reason": (GET, with_start(b"HTTP/1.1 200 O\rK"), "status line"),
    "bare LF in the reason": (GET, with_start(b"HTTP/1.1 200 O\nX: K"), "status line"),
    "LF for CRLF": (GET, WHOLE.replace(b"\r\n", b"\n"), "bare LF"),
    "bare LF in a field": (GET, with_field(b"X: a\nY: b"), "RFC 9112"),
    "bare CR in a field": (GET, with_field(b"X: a\rY: b"), "RFC 9112"),
    "NUL in a field": (GET, with_field(b"X: a\0b"), "RFC 9112"),
    "control in a field": (GET, with_field(b"X: a\x01b"), "RFC 9112"),
    "vertical tab in a field": (GET, with_field(b"X: a\x0bb"), "RFC 9112"),
    "DEL in a field": (GET, with_field(b"X: a\x7fb"), "RFC 9112"),
    "folded field": (GET, with_field(b"X: a\r\n b"), "RFC 9112"),
    "folded first field": (GET, with_field(b" X: a"), "RFC 9112"),
    "blank before the colon": (GET, with_field(b"X : a"), "RFC 9112"),
    "no colon": (GET, with_field(b"Xa"), "RFC 9112"),
    "no name": (GET, with_field(b": a"), "RFC 9112"),
    "name with a byte above": (GET, with_field(b"X\xe9: a"), "RFC 9112"),
    "head of 64 KiB": (GET, with_field(b"X: " + b"a" * 66000), "too long"),
    "signed length": (GET, framed(b"Content-Length: +2"), "RFC 9112"),
    "hexadecimal length": (GET, framed(b"Content-Length: 0x2"), "RFC 9112"),
    "empty length": (GET, framed(b"Content-Length:"), "RFC 9112"),
    "list of lengths": (GET, framed(b"Content-Length: 2, 2"), "RFC 9112"),
    "length twice": (GET, framed(b"Content-Length: 2\r\nContent-Length: 2"), "RFC 9112"),
    "two lengths": (GET, framed(b"Content-Length: 2\r\nContent-Length: 3"), "RFC 9112"),
    "length beyond all": (GET, framed(b"Content-Length: 99999999999999999999"), "RFC 9112"),
    "two lengths, HEAD": (HEAD, framed(b"Content-Length: 2\r\nContent-Length: 3", b""), "RFC 9112"),
    "length and coding": (GET, framed(LENGTH + CHUNKED[:-2], b"0\r\n\r\n"), "RFC 9112|with Content-Length"),
    "coding on 1.0": (GET, chunks(b"0\r\n\r\n").replace(b"1.1", b"1.0"), "HTTP/1.0"),
    "gzip, chunked": (GET, framed(b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"), "other than chunked"),
    "chunked twice": (GET, framed(b"Transfer-Encoding: chunked\r\n" + CHUNKED[:-2], b"0\r\n\r\n"), "other than"),
    "identity": (GET, framed(b"Transfer-Encoding: identity"), "other than chunked"),
    "coding with a vertical tab": (GET, framed(b"Transfer-Encoding: \x0bchunked", b"0\r\n\r\n"), "RFC 9112"),
    "negative chunk": (GET, chunks(b"-2\r\nhi\r\n0\r\n\r\n"), "chunk size"),
    "0x chunk": (GET, chunks(b"0x2\r\nhi\r\n0\r\n\r\n"), "chunk size"),
    "chunk beyond all": (GET, chunks(b"ffffffffffffffff2\r\nhi\r\n0\r\n\r\n"), "chunk size"),
    "chunk longer than told": (GET, chunks(b"2\r\nhiX\r\n0\r\n\r\n"), "chunk does not end"),
    "chunk lines of LF": (GET, chunks(b"2\nhi\n0\n\n"), "bare LF"),
    "control in a trailer": (GET, chunks(b"2\r\nhi\r\n0\r\nX: a\x01\r\n\r\n"), "trailers"),
    "answer for a trailer": (GET, chunks(b"2\r\nhi\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n"), "trailers"),
    "nine interim": (GET, (INTERIM + b"\r\n") * 9 + WHOLE, "too many interim"),
    "interim with a length": (GET, INTERIM + LENGTH + b"\r\n" + WHOLE, "interim"),
    "interim with a coding": (GET, INTERIM + CHUNKED + b"\r\n" + WHOLE, "interim"),
    "interim of 1.0": (GET, b"HTTP/1.0 103 Early Hints\r\n\r\n" + WHOLE, "interim"),
    "101 not asked for": (GET, SWITCHED + b"\r\n", "not asked for"),
    "101 behind an interim": (GET, INTERIM + b"\r\n" + SWITCHED + b"\r\n", "not asked for"),
    "101 without a key": (UPGRADE, SWITCHED.partition(b"Sec-")[0] + b"\r\n", "not asked for"),
    "101 to something else": (UPGRADE, SWITCHED.replace(b"websocket", b"h2c") + b"\r\n", "not asked for"),
    "101 of 1.0": (UPGRADE, SWITCHED.replace(b"1.1", b"1.0") + b"\r\n", "interim"),
    "101 with a length": (UPGRADE, SWITCHED + LENGTH + b"\r\n", "interim"),
    "101 with a coding": (UPGRADE, SWITCHED + CHUNKED + b"\r\n", "interim"),
    "byte behind the end": (GET, WHOLE + b"X", "behind the answer"),
    "answer behind the answer": (GET, WHOLE + WHOLE, "behind the answer"),
    "empty line behind the end": (GET, WHOLE + b"\r\n", "behind the answer"),
    "byte behind the last chunk": (GET, chunks(b"0\r\n\r\nX"), "behind the answer"),
    "HEAD with a body": (HEAD, WHOLE, "behind the answer"),
    "HEAD with chunks": (HEAD, chunks(b"0\r\n\r\n"), "behind the answer"),
    "204 with a body": (GET, b"HTTP/1.1 204 No Content\r\n\r\nhi", "behind the answer"),
    "204 that tells a length": (GET, b"HTTP/1.1 204 No Content\r\n" + LENGTH + b"\r\n", "204"),
    "204 that tells a coding": (GET, b"HTTP/1.1 204 No Content\r\n" + CHUNKED + b"\r\n", "204"),
    "304 with a body": (GET, b"HTTP/1.1 304 Not Modified\r\n" + LENGTH + b"\r\nhi", "behind the answer"),
    "something else": (GET, b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
    "HTTP/0.9 page": (GET, b"<html>hi</html>", "not HTTP"),
}
# What breaks after it has begun: the parts, whether the app ends its connection, what the record says.
CUT: dict[str, tuple[tuple[bytes, ...], bool, str]] = {
    "body": ((OK + b"Content-Length: 9\r\n\r\nhi",), True, "ended within"),
    "chunk": ((chunks(b"5\r\nhi"),), True, "ended within"),
    "before the last chunk": ((chunks(b"2\r\nhi\r\n"),), True, "ended within"),
    "within the trailers": ((chunks(b"2\r\nhi\r\n0\r\n"),), True, "ended within"),
    "chunk line": ((chunks(b"2\r\nhi\r\n"), b"zz\r\nhi"), False, "chunk size"),
    "bytes behind the end": ((OK + LENGTH + b"\r\nh", b"iX"), False, "behind the answer"),
    "bytes behind the last chunk": ((chunks(b"2\r\nhi\r\n"), b"0\r\n\r\nX"), False, "behind the answer"),
}


def record_of(told: Told) -> tuple[str, str]:
    """Return reason and detail of the completion; there must be one."""
    assert told.outcome is not None, "no record: the exchange still waits"
    return told.outcome.reason, told.outcome.detail


@pytest.mark.parametrize("name", FIT)
def test_what_is_fit_passes(name: str) -> None:
    """Once and whole; the connection is pooled only where nothing more can be meant for this request."""
    request, parts, body, pooled = FIT[name]
    told = tell(*parts, request=request)
    status = b"200" if name in {"byte by byte", "eight interim"} else parts[0][9:12]
    assert (told.status, told.body, told.was_reset, told.pooled) == (status, body, False, pooled)
    assert record_of(told) == ("", "")


@pytest.mark.promise("P2.answers-are-read-strictly")
@pytest.mark.parametrize("name", UNFIT)
def test_what_is_unfit_is_a_502(name: str) -> None:
    """Nothing of it reaches the client, the record says what was wrong, the connection carries nothing more."""
    request, answer, detail = UNFIT[name]
    told = tell(answer, request=request)
    reason, said = record_of(told)
    assert (told.status, told.was_reset, told.pooled, reason) == (b"502", False, False, Reason.APP_ANSWER_INVALID)
    assert any(part in said for part in detail.split("|")), said
    assert told.body == (b"" if request is HEAD else reason.encode())


@pytest.mark.promise("P2.answers-are-read-strictly")
@pytest.mark.parametrize("name", CUT)
def test_what_breaks_later_is_cut(name: str) -> None:
    """The client sees a reset and not an end, the record says why, the connection carries nothing more."""
    parts, ends, detail = CUT[name]
    told = tell(*parts, ends=ends)
    reason, said = record_of(told)
    assert (told.was_reset, told.pooled, reason) == (True, False, Reason.APP_ANSWER_INVALID)
    assert detail in said
    assert not told.body.endswith(b"0\r\n\r\n")


def test_an_early_answer_passes_and_resets_the_app() -> None:
    """The app refuses an upload before it has all of it: the client is told, the request is recorded as incomplete."""
    told = tell(b"HTTP/1.1 413 Too Large\r\n" + LENGTH + b"\r\nhi", request=POST)
    assert (told.status, told.body, told.pooled) == (b"413", b"hi", False)
    assert b"Connection: close" in told.head
    assert told.outcome is not None
    assert told.outcome.aborted


def test_an_app_that_ends_without_a_word_is_unreachable() -> None:
    told = tell(b"", ends=True)
    assert (told.status, told.pooled, record_of(told)[0]) == (b"502", False, Reason.APP_UNREACHABLE)
