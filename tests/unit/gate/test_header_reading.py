"""Header fields, one at a time: what is refused and in which words, what an app gets, what is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.gate import headers
from gateway.gate.headers import METHODS, REFUSED_METHODS, app_lines, check, cookies_for_app, names_identity
from gateway.gate.request import RequestFault, RequestHead
from policies.reasons import Reason
from tests.support.gate_world import HOST, PEER

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
SOCKET = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13"),
          (b"Sec-WebSocket-Key", KEY)]  # fmt: skip
Fields = list[tuple[bytes, bytes]]


def read(*fields: tuple[bytes, bytes], host: bytes | None = HOST.encode(), **changes: Any) -> RequestHead:
    request = RequestHead()
    request.method, request.version, request.peer = "GET", "1.1", replace(PEER, server_name="")
    for name, value in changes.items():
        setattr(request, name, value)
    check(request, [*([] if host is None else [(b"Host", host)]), *fields])
    return request


def plain(scheme: str = "https", server_name: str = "") -> Any:
    return replace(PEER, scheme=scheme, server_name=server_name)


BAD, NAME = (400, Reason.MALFORMED_REQUEST), (400, Reason.HEADER_NOT_ALLOWED)
FAULTS: list[tuple[Fields, dict[str, Any], tuple[int, Reason], str]] = [
    ([(b"a_b", b"1")], {}, NAME, "field name outside letters, digits and hyphen"),
    ([(b"", b"1")], {}, NAME, "field name outside letters, digits and hyphen"),
    ([(b"Host", b"b.example")], {}, BAD, "field sent twice: host"),
    ([(b"Cookie", b"a=1"), (b"cookie", b"b=1")], {}, BAD, "field sent twice: cookie"),
    ([(b"Authorization", b"a"), (b"authorization", b"a")], {}, BAD, "field sent twice: authorization"),
    ([(b"Content-Length", b"1"), (b"Content-Length", b"1")], {}, BAD, "field sent twice: content-length"),
    ([], {"host": None}, BAD, "Host missing or not a name with an optional port"),
    ([], {"host": b"-a"}, BAD, "Host missing or not a name with an optional port"),
    ([], {"host": b"user@a.example"}, BAD, "Host missing or not a name with an optional port"),
    ([], {"host": b"a" * 254}, BAD, "Host missing or not a name with an optional port"),
    ([], {"host": b"a.example:0"}, BAD, "port in Host out of range"),
    ([], {"host": b"a.example:65536"}, BAD, "port in Host out of range"),
    ([], {"peer": plain(server_name="b.example")}, (421, Reason.MISDIRECTED),
     "Host differs from the name of the TLS connection"),
    ([(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"1")], {}, BAD,
     "Transfer-Encoding with Content-Length or on HTTP/1.0"),
    ([(b"Transfer-Encoding", b"chunked")], {"version": "1.0"}, BAD,
     "Transfer-Encoding with Content-Length or on HTTP/1.0"),
    ([(b"Transfer-Encoding", b"gzip, chunked")], {}, BAD, "Transfer-Encoding other than chunked"),
    ([(b"Content-Length", b"+1")], {}, BAD, "Content-Length is not a number"),
    ([(b"Content-Length", b"1" * 16)], {}, BAD, "Content-Length is not a number"),
    ([(b"Cookie", b";".join([b"a=1"] * 101))], {}, BAD, "more than 100 cookies"),
    ([(b"Expect", b"200-ok")], {}, (417, Reason.MALFORMED_REQUEST), "expectation other than 100-continue"),
    (SOCKET, {"method": "POST"}, BAD, "WebSocket upgrade is not a bare GET of HTTP/1.1"),
    (SOCKET, {"version": "1.0"}, BAD, "WebSocket upgrade is not a bare GET of HTTP/1.1"),
    ([*SOCKET, (b"Content-Length", b"1")], {}, BAD, "WebSocket upgrade is not a bare GET of HTTP/1.1"),
    ([*SOCKET, (b"Transfer-Encoding", b"chunked")], {}, BAD, "WebSocket upgrade is not a bare GET of HTTP/1.1"),
    ([*SOCKET[:2], (b"Sec-WebSocket-Version", b"8"), SOCKET[3]], {}, (426, Reason.MALFORMED_REQUEST),
     "WebSocket version is not 13"),
    (SOCKET[:3], {}, BAD, "WebSocket key is not 16 bytes in base64"),
    ([*SOCKET[:3], (b"Sec-WebSocket-Key", KEY[:-1])], {}, BAD, "WebSocket key is not 16 bytes in base64"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "changes", "answer", "detail"), FAULTS, ids=[f"{r[3]}-{r[1]}" for r in FAULTS])
def test_what_is_refused(fields: Fields, changes: dict[str, Any], answer: tuple[int, Reason], detail: str) -> None:
    with pytest.raises(RequestFault) as caught:
        read(*fields, **changes)
    assert (caught.value.status, caught.value.reason, caught.value.detail) == (*answer, detail)


@pytest.mark.parametrize(
    ("sent", "host", "port"),
    [
        (b"A.Example", "a.example", None), (b"a.example.", "a.example", None), (b"a:1", "a", 1),
        (b"a.example:65535", "a.example", 65535), (b"a" * 253, "a" * 253, None), (b"a.example.:443", "a.example", 443),
    ],
)  # fmt: skip
def test_one_host(sent: bytes, host: str, port: int | None) -> None:
    for _ in range(2):  # the second time from memory
        request = read(host=sent)
        assert (request.host, request.port, request.find[b"host"]) == (host, port, sent)
    assert read(host=sent, peer=plain(server_name=host)).host == host


@pytest.mark.parametrize(
    ("fields", "changes", "expected"),
    [
        ([], {}, (None, False, True, False, False)),
        ([], {"version": "1.0"}, (None, False, False, False, False)),
        ([(b"Connection", b"keep-alive")], {}, (None, False, True, False, False)),
        ([(b"Connection", b"keep-alive")], {"version": "1.0"}, (None, False, False, False, False)),
        ([(b"Connection", b"Close")], {}, (None, False, False, False, False)),
        ([(b"Connection", b"x , \tclose")], {}, (None, False, False, False, False)),
        ([(b"Content-Length", b"0")], {}, (0, False, True, False, False)),
        ([(b"Content-Length", b"9" * 15)], {}, (10**15 - 1, False, True, False, False)),
        ([(b"Transfer-Encoding", b"chunked")], {}, (None, True, True, False, False)),
        ([(b"Content-Length", b"5"), (b"Expect", b"100-Continue")], {}, (5, False, True, False, True)),
        ([(b"Content-Length", b"0"), (b"Expect", b"100-continue")], {}, (0, False, True, False, False)),
        ([(b"Expect", b"100-continue")], {}, (None, False, True, False, False)),
        ([(b"Transfer-Encoding", b"chunked"), (b"Expect", b"100-continue")], {}, (None, True, True, False, True)),
        (
            [(b"Content-Length", b"5"), (b"Expect", b"100-continue")],
            {"version": "1.0"},
            (5, False, False, False, False),
        ),
        (SOCKET, {}, (None, False, True, True, False)),
        ([*SOCKET, (b"Content-Length", b"0")], {}, (0, False, True, True, False)),
        ([SOCKET[0], (b"Upgrade", b"h2c")], {}, (None, False, True, False, False)),
        ([SOCKET[0]], {}, (None, False, True, False, False)),
        (SOCKET[1:], {}, (None, False, True, False, False)),
        ([(b"Cookie", b";".join([b"a=1"] * 100))], {}, (None, False, True, False, False)),
    ],
)
def test_framing_and_connection(fields: Fields, changes: dict[str, Any], expected: tuple[Any, ...]) -> None:
    request = read(*fields, **changes)
    found = (
        request.content_length, request.chunked, request.keep_alive, request.upgrade, request.expect_continue,
    )  # fmt: skip
    assert found == expected


@pytest.mark.parametrize(
    ("host", "scheme", "origin"),
    [
        (b"a.example", "https", b"https://a.example"), (b"a.example:443", "https", b"https://a.example"),
        (b"a.example:80", "https", b"https://a.example:80"), (b"a.example:80", "http", b"http://a.example"),
        (b"a.example:443", "http", b"http://a.example:443"), (b"A.example:8443", "https", b"https://a.example:8443"),
    ],
)  # fmt: skip
def test_the_origin_that_the_browser_sees(host: bytes, scheme: str, origin: bytes) -> None:
    assert headers.public_origin(read(host=host, peer=plain(scheme))) == origin


def test_an_app_gets_what_is_the_clients_own() -> None:
    request = read(
        (b"Accept", b"text/html"), (b"X-Custom", b" 1\t"), (b"x-custom", b"2"), (b"X-Forwarded-For", b"10.0.0.1"),
        (b"Proxy-Authorization", b"x"), (b"TE", b"trailers"), (b"Keep-Alive", b"1"), (b"X-Named", b"1"),
        (b"Connection", b"x-named, keep-alive"), (b"Referer", b"r"), (b"Content-Length", b"3"), (b"Cookie", b"a=1"),
        (b"Expect", b"100-continue"), (b"Upgrade", b"h2c"),
    )  # fmt: skip
    assert request.headers == [
        (b"Accept", b"text/html"), (b"X-Custom", b"1"), (b"x-custom", b"2"), (b"Referer", b"r"),
    ]  # fmt: skip
    assert request.find == {
        b"host": HOST.encode(), b"accept": b"text/html", b"x-custom": b"1, 2", b"x-named": b"1", b"referer": b"r",
        b"connection": b"x-named, keep-alive", b"content-length": b"3", b"cookie": b"a=1", b"expect": b"100-continue",
        b"upgrade": b"h2c",
    }  # fmt: skip
    assert app_lines(request) == b"Accept: text/html\r\nX-Custom: 1\r\nx-custom: 2\r\nReferer: r\r\nCookie: a=1\r\n"
    socket = read(*SOCKET[1:], (b"Connection", b"Upgrade, Sec-WebSocket-Key, X-A"), (b"X-A", b"1"), (b"X-B", b"2"))
    assert socket.headers == [*SOCKET[2:], (b"X-B", b"2")]
    ours = read((b"Cookie", b"__Host-sekisho-app=x; __Host-sekisho-state=y"))
    assert app_lines(ours) == b""
    assert app_lines(read()) == b""


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"a=1; b=2", b"a=1; b=2"),
        (b"__Host-sekisho=1", b""),
        (b"a=1; __HOST-sekisho-app=1; b=2", b"a=1; b=2"),
        (b"\t__host-Sekisho-x=1;a=1 ", b"a=1"),
        (b"a=__Host-sekisho", b"a=__Host-sekisho"),
        (b"__Host-sekish=1; __Host-sekisho=2", b"__Host-sekish=1"),
    ],
)
def test_our_cookies_stay_with_us(sent: bytes, kept: bytes) -> None:
    assert cookies_for_app(sent) == kept


def test_each_method_is_taken_refused_or_unknown() -> None:
    assert {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"} == METHODS
    assert {b"TRACE", b"CONNECT"} == REFUSED_METHODS


@pytest.mark.parametrize(
    "name",
    [b"Forwarded", b"X-Real-IP", b"x_real_ip", b"X-HTTP-Host-Override", b"Client-Cert", b"Remote-User", b"REMOTE_USER",
     b"X-Forwarded", b"X-Forwarded-Foo", b"Cf-Access-Jwt-Assertion", b"X-Sekisho-Anything", b"X-Token-Subject"],
)  # fmt: skip
def test_what_might_say_who_asks(name: bytes) -> None:
    assert names_identity(name)
    folded = name.replace(b"_", b"-")
    request = read((folded, b"root"))
    assert request.headers == []
    assert folded.lower() not in request.find


@pytest.mark.parametrize("name", [b"X-Requested-With", b"Accept", b"From", b"X-Remotely", b"XForwarded", b"X-Hosts"])
def test_what_says_nothing_about_who_asks(name: bytes) -> None:
    assert not names_identity(name)
    assert read((name, b"1")).headers == [(name, b"1")]


def test_memory_for_names_and_hosts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[bytes, Any] = {}
    hosts: dict[bytes, Any] = {}
    monkeypatch.setattr(headers, "_remembered", names)
    monkeypatch.setattr(headers, "_hosts", hosts)
    read((b"X" * 64, b"1"), (b"Y" * 65, b"1"))
    assert (b"X" * 64 in names, b"Y" * 65 in names) == (True, False)
    most = (0, 0)
    for at in range(4200):
        read((b"N%d" % at, b"1"), host=b"h%d.example" % at)
        most = max(most[0], len(names)), max(most[1], len(hosts))
    assert most == (4096, 1024)
