"""`apps test` walks through an app as a browser behind the gateway would: what will not pass is named."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.apps.strictness import fault
from gateway.apps.walk import Walk, walk
from gateway.gate.old_paths import JSESSIONID, SHIFT_JIS
from tests.support.edge import read_request
from tests.support.gate_world import APP, HOST
from tests.unit.edge.test_strict_answers import GET, UNFIT

SECRET = "5EC4E7"


def answer(body: str | bytes = b"", *fields: str, kind: str = "text/html", status: str = "200 OK") -> bytes:
    """An answer with these further fields."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(data)}", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def link(address: str) -> str:
    """A page with one link."""
    return f'<html><body><a href="{address}">次へ</a></body></html>'


class Site:
    """A real server that answers by target; any other is 404. It keeps the heads it got."""

    def __init__(self, pages: Mapping[str, bytes]) -> None:
        self._pages = pages
        self.asked: list[bytes] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Site]:
        """Serve within the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await read_request(reader)
        self.asked.append(head)
        target = head.split(b" ")[1].decode() if head else ""
        writer.write(self._pages.get(target, answer("", status="404 Not Found")))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()


def walked(pages: Mapping[str, bytes], **changes: Any) -> tuple[Walk, Site]:
    """Walk through a site whose app has these changes."""

    async def main() -> tuple[Walk, Site]:
        async with Site(pages).open() as site:
            return await walk(replace(APP, upstream=f"http://127.0.0.1:{site.port}", **changes), 8443), site

    return asyncio.run(main())


def names(pages: Mapping[str, bytes], **changes: Any) -> list[str]:
    """What was found, in order."""
    return [each.name for each in walked(pages, **changes)[0].faults]


SJIS_PAGE = link("/%90%C5%96%B1/a.do").encode("cp932")
CASES: dict[str, tuple[bytes, str, str]] = {
    "a session in a link": (answer(link(f"/a.do;jsessionid={SECRET}")), "jsessionid", "path_parameter: jsessionid"),
    "a session in a redirect": (
        answer("", f"Location: /a.do;jsessionid={SECRET}", status="302 Found"), "jsessionid", "承認が要ります",
    ),
    "a session in a form": (
        answer(f'<form method="post" action="/save.do;jsessionid={SECRET}">'), "jsessionid", "クッキーだけにできるなら",
    ),
    "an escaped path": (answer(SJIS_PAGE, kind="text/html; charset=Shift_JIS"), "shift_jis", "path_charset: shift_jis"),
    "both": (answer(link(f"/%95%5C;jsessionid={SECRET}")), "both", "path_charset: shift_jis"),
    "raw bytes in a redirect": (answer("", "Location: /\x90\xc5.do", status="302 Found"), "shift_jis", "path_charset"),
    "another parameter": (answer(link("/a;x=1")), "url", "parameter"),
    "two slashes": (answer(link("/a//b")), "url", "empty segment"),
    "a bar": (answer(link("/a|b")), "url", "must be encoded"),
    "a redirect to http": (
        answer("", "Location: http://www.city.example/", status="302 Found"), "redirect_http", "http://www.city.example/",
    ),
    "a redirect inside": (
        answer("", "Location: http://appsv01:8080/", status="302 Found"), "redirect_inner", "http://appsv01:8080/",
    ),
    "a link to its own address": (answer(link("http://127.0.0.1:8080/a")), "link_inner", "http://127.0.0.1:"),
    "a link inside": (answer(link("http://bunsho.city.local/a")), "link_inner", "bunsho.city.local"),
    "a parent domain": (answer("", f"Set-Cookie: a={SECRET}; Domain=.sekisho.localhost"), "cookie_domain", "Domain="),
    "our own cookie": (answer("", f"Set-Cookie: __Host-sekisho-app={SECRET}; Path=/"), "cookie_name", "クッキーの名前"),
    "a name with _": (answer('<script>x.setRequestHeader("X_TOKEN", a)</script>'), "header_name", "X_TOKEN"),
    "a name with _ asked for": (answer("", "Access-Control-Allow-Headers: X-A, user_id"), "header_name", "user_id"),
    "NTLM": (answer("", "WWW-Authenticate: NTLM", status="401 Unauthorized"), "connection_auth", "NTLM"),
}  # fmt: skip


@pytest.mark.promise("P7.old-app-told-what-to-mend")
@pytest.mark.parametrize("case", CASES)
def test_what_will_not_pass_is_named_with_its_remedy(case: str) -> None:
    page, name, said = CASES[case]
    found, _ = walked({"/": page})
    assert found.faults[0].name == name
    assert said in found.faults[0].advice
    assert found.faults[0].advice_en.isascii() or "→" in found.faults[0].advice_en
    assert SECRET not in repr(found), "a session or a cookie's value is shown"


@pytest.mark.parametrize("case", [name for name, (request, _, _) in UNFIT.items() if request is GET])
def test_an_answer_that_is_refused_on_the_request_path_is_named_here(case: str) -> None:
    """Every unfit answer of the request path's own test, by the same reader."""
    (found,) = walked({"/": UNFIT[case][1]})[0].faults
    assert (found.name, found.page) == ("answer", "/")
    assert "502" in found.advice


def test_with_the_exceptions_that_it_names_the_walk_goes_on() -> None:
    pages = {
        "/": answer(link(f"/%90%C5;jsessionid={SECRET}")),
        f"/%90%C5;jsessionid={SECRET}": answer(link("/%95%5C..")),
    }
    assert names(pages) == ["both"]
    assert names(pages, path_parameter=JSESSIONID) == ["shift_jis"]
    found, site = walked(pages, path_parameter=JSESSIONID, path_charset=SHIFT_JIS)
    assert [each.name for each in found.faults] == ["url"]
    assert found.pages == 2
    assert len(site.asked) == 2
    assert site.asked[1].startswith(f"GET /%90%C5;jsessionid={SECRET} HTTP/1.1\r\n".encode())


def test_an_app_in_order_is_walked_without_identity_and_keeps_its_cookies() -> None:
    pages = {
        "/": answer(link("sub/a?b=c"), "Set-Cookie: id=1; Path=/", "Set-Cookie: x=2; HttpOnly"),
        "/sub/a?b=c": answer(link("../b") + link("../") + link("mailto:a@b") + link("#x")),
        "/b": answer("", f"Location: http://{HOST}:8443/c", status="302 Found"),
        "/c": answer(link("http://www.pref.example/")),
    }
    found, site = walked(pages)
    assert found == Walk(4, ())
    heads = [head.decode() for head in site.asked]
    assert [head.split(" ")[1] for head in heads] == ["/", "/sub/a?b=c", "/b", "/c"]
    assert "Cookie" not in heads[0]
    assert "\r\nCookie: id=1; x=2\r\n" in heads[1]
    assert all(f"\r\nHost: {HOST}:8443\r\n" in head and "X-Forwarded-Proto: https" in head for head in heads)
    assert not any("Remote-User" in head or "Assertion" in head for head in heads)


def test_a_walk_is_short_and_ends() -> None:
    pages = {f"/{number}": answer(link(f"/{number + 1}") + link(f"/{number}")) for number in range(1, 99)}
    assert walked({"/": answer(link("/1")), **pages})[0] == Walk(8, ())


def test_an_app_that_cannot_be_reached_says_so() -> None:
    found = asyncio.run(walk(replace(APP, upstream="unix:/nonexistent"), 443))
    assert [each.name for each in found.faults] == ["unreachable"]


def test_the_upstreams_own_name_is_sent_where_the_registration_says_so() -> None:
    found, site = walked({"/": answer()}, host_header="upstream")
    assert found.faults == ()
    assert f"\r\nHost: 127.0.0.1:{site.port}\r\n".encode() in site.asked[0]
    assert f"\r\nX-Forwarded-Host: {HOST}:8443\r\n".encode() in site.asked[0]


def test_what_is_shown_is_short() -> None:
    assert len(fault("url", "/", "a" * 9000).got) == 120


def test_a_long_page_is_read_to_its_end() -> None:
    """The fault stands in the last of several reads of 64 KiB."""
    page = "<p>" + "長い" * 50_000 + "</p>" + link("/a.do;jsessionid=x")
    assert names({"/": answer(page)}) == ["jsessionid"]
