"""A browser without a screen: cookies, forms, redirects, refreshing pages. It asks no resolver.

Every host name is taken to be at the one address it was given; TLS server name and Host are those of the URL, and the
city's CA is the only one it trusts. `source` chooses the address it comes from (127.0.3.x is "telework" in the city).
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

_HOPS = 12
NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml",
    "Accept-Language": "ja",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "User-Agent": "sekisho-demo/1",
}


class BrowserFault(Exception):
    """A page that did not lead on: endless redirects, or a form that is not there."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A device certificate and its key, PEM files."""

    certificate: Path
    key: Path


@dataclass(slots=True)
class Form:
    """One form of a page."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """What a navigation ended with."""

    url: URL
    status: int
    text: str
    forms: tuple[Form, ...]
    refresh: str  # address of a page that goes on by itself, "" = it stays

    def form(self, action: str) -> Form | None:
        """The form that is sent to `action`."""
        return next((form for form in self.forms if form.action == action), None)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.refresh = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(values.get("action", "")))
        elif tag == "input" and self.forms and values.get("name"):
            self.forms[-1].fields[values["name"]] = values.get("value", "")
        elif tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            self.refresh = values.get("content", "").partition("url=")[2]


class _OneAddress(AbstractResolver):
    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002  # the base class names it
    ) -> list[ResolveResult]:
        kind = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        flags = socket.AI_NUMERICHOST
        return [ResolveResult(hostname=host, host=self._address, port=port, family=kind, proto=0, flags=flags)]

    async def close(self) -> None:
        """Nothing is open."""


class Browser:
    """One browser profile. Use as an async context manager."""

    def __init__(self, address: str, ca_file: Path, identity: Identity | None = None, source: str = "") -> None:
        """`address` is the IP of the gateway. Raises OSError for files that cannot be read."""
        self.tls = ssl.create_default_context(cafile=str(ca_file))
        if identity is not None:
            self.tls.load_cert_chain(identity.certificate, identity.key)
        self._address, self._source = address, source
        self.jar = aiohttp.CookieJar()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=_OneAddress(self._address), ssl=self.tls, limit=0,
            local_addr=(self._source, 0) if self._source else None,
        )  # fmt: skip
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=self.jar, auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=30, sock_read=60),
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        """The client itself, for what is no navigation: sockets, events, downloads."""
        if self._session is None:
            raise RuntimeError("the browser is not open")
        return self._session

    async def open(self, url: str | URL) -> Page:
        """Navigate, following redirects and refreshing pages. Raises BrowserFault, aiohttp.ClientError."""
        return await self._go("GET", URL(url), None, "none")

    async def submit(self, page: Page, form: Form | None, **values: str) -> Page:
        """Send a form of `page` with `values` filled in. Raises BrowserFault, aiohttp.ClientError."""
        if form is None:
            raise BrowserFault(f"{page.url.path} ({page.status}): the expected form is not there")
        return await self._go("POST", page.url.join(URL(form.action)), form.fields | values, "same-origin")

    async def _go(self, method: str, url: URL, body: dict[str, str] | None, site: str) -> Page:
        for _ in range(_HOPS):
            headers = {**NAVIGATION, "Sec-Fetch-Site": site}
            if method == "POST":
                headers["Origin"] = str(url.origin())
            async with self.http.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
                text = await answer.text(errors="replace")
                status, location = answer.status, answer.headers.get("Location", "")
            if 300 <= status < 400 and location:
                method, url, body = "GET", url.join(URL(location, encoded=True)), None
                continue
            page = _page(url, status, text)
            if not page.refresh:
                return page
            method, url, body, site = "GET", url.join(URL(page.refresh, encoded=True)), None, "same-origin"
        raise BrowserFault(f"{url.host}: more than {_HOPS} redirects")


def _page(url: URL, status: int, text: str) -> Page:
    reader = _Reader()
    reader.feed(text)
    return Page(url, status, text, tuple(reader.forms), reader.refresh)
