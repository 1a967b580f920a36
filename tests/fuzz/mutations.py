"""Requests near the border: valid ones built from parts, then bent by a few byte mutations; and raw bytes."""

from __future__ import annotations

from hypothesis import strategies as st

_METHODS = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"DELETE", b"TRACE", b"BREW"])
_TARGETS = st.sampled_from(
    [b"/", b"/a", b"/a/b?c=d", b"/%e3%81%82", b"/%7ea", b"/a%2fb", b"/a/../b", b"/a;b=c", b"//a", b"*", b"/a?b=%0a",
     b"http://a.test/", b"/a#b", b"/a\\b", b"/?a=b&c", b"/a;jsessionid=0A.b?c", b"/%95%5c/%83A"]
)  # fmt: skip
_VERSIONS = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0"])
_FIELDS = st.sampled_from(
    [b"Accept: */*", b"Connection: close", b"Connection: keep-alive", b"Connection: Upgrade", b"Upgrade: h2c",
     b"Content-Length: 3", b"Content-Length: 0", b"Content-Length: +3", b"Content-Length: 3, 3", b"Content-Length:3 ",
     b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked", b"Transfer-Encoding: identity",
     b"Transfer-Encoding : chunked", b"Transfer_Encoding: chunked", b"Expect: 100-continue", b"X:", b"X: a\tb",
     b"X-Long: " + b"a" * 300, b"Host: b.test", b"TE: trailers", b"Trailer: X", b"Cookie: a=b; c=d", b" X: folded"]
)  # fmt: skip
_PLAIN_FIELDS = st.sampled_from([b"Accept: */*", b"Connection: keep-alive", b"Expect: 100-continue", b"X: a", b"Y: b"])
_BODIES = st.sampled_from(
    [b"", b"", b"", b"", b"abc", b"abcdef", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\n", b"3;x=y\r\nabc\r\n0\r\n\r\n",
     b"3\r\nabc\r\n0\r\nX: a\r\n\r\n", b"03\r\nabc\r\n00\r\n\r\n", b"3\nabc\n0\n\n"]
)  # fmt: skip
_TOKENS = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"\x0b", b"\x7f", b"\xa0", b"\xff", b"%", b"0", b"-",
     b"\r\n\r\n", b"Host: c.test\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
     b"GET / HTTP/1.1\r\n"]
)  # fmt: skip


@st.composite
def _valid(draw: st.DrawFn) -> bytes:
    lines = [b"%b %b %b" % (draw(_METHODS), draw(_TARGETS), draw(_VERSIONS)), b"Host: a.test"]
    lines += draw(st.lists(_FIELDS, max_size=4))
    return b"\r\n".join(lines) + b"\r\n\r\n" + draw(_BODIES)


@st.composite
def _orderly(draw: st.DrawFn) -> bytes:
    """One request in order, with a body of a counted length, in chunks, or none."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS"]))
    target = draw(st.sampled_from([b"/", b"/a?b=c", b"/%e3%81%82/", b"/a;jsessionid=0A.b?c", b"/%95%5c/%83A", b"/a;b"]))
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: a.test", *draw(st.lists(_PLAIN_FIELDS, max_size=3))]
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=3))
    match draw(st.sampled_from(["none", "counted", "chunked"])):
        case "counted":
            body = b"".join(chunks)
            lines.append(b"Content-Length: %d" % len(body))
        case "chunked":
            body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
            lines.append(b"Transfer-Encoding: chunked")
        case _:
            body = b""
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@st.composite
def _bent(draw: st.DrawFn, requests: st.SearchStrategy[bytes], times: int) -> bytes:
    """One to three requests in a row, with up to `times` bytes or tokens put in, taken out or doubled."""
    data = b"".join(draw(st.lists(requests, min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, times))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 8))
        match draw(st.sampled_from(["put", "byte", "cut", "double", "replace"])):
            case "put":
                data = data[:at] + draw(_TOKENS) + data[at:]
            case "byte":
                data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at:]
            case "cut":
                data = data[:at] + data[at + size :]
            case "double":
                data = data[:at] + data[at : at + size] * 2 + data[at + size :]
            case _:
                data = data[:at] + draw(_TOKENS) + data[at + size :]
    return data


def streams() -> st.SearchStrategy[bytes]:
    """Yield what a client may send on one connection: mostly bent requests, some raw bytes."""
    raw = st.binary(max_size=200)
    bent, nearly = _bent(_valid(), 4), _bent(_orderly(), 1)
    return st.one_of(bent, bent, bent, nearly, nearly, st.tuples(_valid(), raw).map(b"".join), raw)
