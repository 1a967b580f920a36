"""Walk through an app as a browser behind the gateway would, without identity, and name what will not pass.

Each request is read by the gateway's own reader and sent as the gateway sends it; each answer by the reader of the
request path. A few GETs from the start page: redirects and links of the app's own, each address once.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import quote_from_bytes, urljoin, urlsplit

from gateway.apps import strictness
from gateway.apps.strictness import Fault, fault
from gateway.edge.address import Upstream
from gateway.edge.blocks import KnownBlocks
from gateway.edge.forward import forwarded_fields, request_head
from gateway.edge.pool import Pool
from gateway.edge.reader import HeadReader
from gateway.edge.response import ResponseHead, public_cookie, public_location
from gateway.edge.services import EdgeLimits, EdgeTimeouts
from gateway.edge.timeouts import Sweeper
from gateway.edge.upstream import UpstreamConnection
from gateway.gate.old_paths import exceptions_of
from gateway.gate.request import Peer, RequestFault, RequestHead
from gateway.state.records import App
from policies.reasons import Reason

_STEPS: Final = 8  # requests
_WAIT: Final = 5.0  # seconds an answer
_BODY: Final = 1 << 20  # bytes of a page that are looked at
_LINKS: Final = 200  # links of a page that are looked at
_FIELDS: Final = b"Accept: text/html,*/*\r\nUser-Agent: Mozilla/5.0 (sekisho apps test)\r\n"
_PARAMETER: Final = re.compile(rb";jsessionid=[^?]*")
_CHARSET: Final = re.compile(rb"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]+)", re.IGNORECASE)
# What browsers leave as it is in a path, besides escapes (URL Standard, path percent-encode set).
_KEPT: Final = "/%!$&'()*+,-.:;=@_~[]|^"
_QUERY_KEPT: Final = _KEPT + "?{}`"


@dataclass(frozen=True, slots=True)
class Walk:
    """What was found, in the order it was met; `pages` is how many addresses were asked for."""

    pages: int
    faults: tuple[Fault, ...]


@dataclass(slots=True)
class _Answer:
    """One answer as the gateway's reader took it; `broken` says what is wrong with it."""

    head: ResponseHead | None = None
    body: bytearray = field(default_factory=bytearray)
    broken: str = ""
    unreachable: bool = False


class _Asking:
    """One request: the exchange as an upstream connection knows it."""

    def __init__(self, request: RequestHead, sent: bytes) -> None:
        self.request = request
        self._sent = sent
        self._answer = _Answer()
        self.done: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._connection: UpstreamConnection | None = None

    def upstream_ready(self, connection: UpstreamConnection, reused: bool) -> None:
        """Send the request."""
        del reused
        self._connection = connection
        connection.take(self)
        connection.write(self._sent)

    def upstream_refused(self, status: int, reason: Reason) -> None:
        """No connection to the app."""
        del status
        self._answer.unreachable = True
        self._end(reason.value)

    def received(self, head: ResponseHead | None, payload: bytes, done: bool) -> None:
        """Take a part of the answer; what is longer than we look at is enough."""
        self._answer.head = head or self._answer.head
        self._answer.body += payload
        if done or len(self._answer.body) >= _BODY:
            self._end("")

    def more(self, payload: memoryview, done: bool) -> None:
        """Take what follows of a long answer."""
        self.received(None, payload.tobytes(), done)

    def tunnelled(self, data: bytes) -> None:
        """Nothing was upgraded."""

    def answer_broken(self, detail: str) -> None:
        """The answer cannot be passed on."""
        self._end(detail)

    def upstream_lost(self) -> None:
        """The connection ended early."""
        self._end("connection ended within the answer" if self._answer.head else "connection ended without an answer")

    def upstream_full(self, full: bool) -> None:
        """One small request fills nothing."""

    def _end(self, broken: str) -> None:
        self._answer.broken = broken
        if not self.done.done():
            self.done.set_result(self._answer)

    def close(self) -> None:
        """Give the connection up: the next request takes another."""
        if self._connection is not None:
            self._connection.discard()


class _Links(HTMLParser):
    """The addresses in a page: where a person may go, and what the page brings along."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, bool]] = []  # (address, whether a browser goes there with GET)
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take one tag."""
        given = {name: value for name, value in attrs if value}
        if tag == "base":
            self.base = self.base or given.get("href", "")
        elif tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self._add(re.sub(r"(?i)^[^;]*;\s*url\s*=\s*", "", given.get("content", "")).strip("'\" "), follow=True)
        elif tag == "form":
            self._add(given.get("action", ""), follow=False)
        else:
            self._add(given.get("href", ""), follow=tag in ("a", "area"))
            self._add(given.get("src", ""), follow=tag in ("frame", "iframe"))

    def _add(self, address: str, *, follow: bool) -> None:
        if address and not address.startswith("#") and len(self.found) < _LINKS:
            self.found.append((address.strip(), follow))


class _Walker:
    def __init__(self, app: App, port: int) -> None:
        self._app = app
        self._host = app.hosts[0]
        self._authority = self._host if port == 443 else f"{self._host}:{port}"
        self._origin = f"https://{self._authority}"
        self._peer = Peer("127.0.0.1", 0, "public", "https", self._host)
        servers = [Upstream.parse(each, app.upstream_ca) for each in app.addresses]
        self._origins = frozenset(each.origin for each in servers)
        self._pool = Pool(servers[0], EdgeTimeouts(upstream_connect=_WAIT), Sweeper(time.monotonic))
        self._cookies: dict[bytes, bytes] = {}
        self._waiting: deque[bytes] = deque([b"/"])
        self._known: set[bytes] = {b"/"}
        self._faults: dict[tuple[str, str], Fault] = {}

    async def walk(self) -> Walk:
        pages = 0
        try:
            while self._waiting and pages < _STEPS:
                target = self._waiting.popleft()
                pages += 1
                if not await self._visit(target):
                    break
        finally:
            self._pool.close()
        return Walk(pages, tuple(self._faults.values()))

    def _note(self, *found: Fault | None) -> None:
        for each in found:
            if each is not None:  # one of a kind is enough for its remedy
                self._faults.setdefault((each.name, each.got if each.name == "url" else ""), each)

    async def _visit(self, target: bytes) -> bool:
        """Ask for one address; False where the app cannot be reached at all."""
        page = strictness.shown_safely(target.decode("latin-1"))
        try:
            request = self._request(target)
        except RequestFault as refused:
            self._note(fault("request", page, refused.detail))
            return True
        upstream = self._pool.upstream
        sent = request_head(request, None, upstream, forwarded_fields(self._peer), b"")
        if self._app.host_header == "upstream":
            sent = sent.replace(
                b"Host: %b\r\n" % request.find[b"host"], b"Host: %b\r\n" % upstream.authority.encode(), 1
            )
        answer = await self._ask(request, sent)
        if answer.unreachable:
            self._note(fault("unreachable", page, answer.broken))
            return False
        if answer.broken:
            self._note(fault("answer", page, answer.broken))
        if answer.head is not None:
            self._read(request, answer.head, bytes(answer.body), page)
        return True

    def _request(self, target: bytes) -> RequestHead:
        """Return the request as a browser sends it and the gateway reads it; raises RequestFault."""
        cookie = b"; ".join(b"%b=%b" % pair for pair in self._cookies.items())
        data = b"GET %b HTTP/1.1\r\nHost: %b\r\n%b" % (target, self._authority.encode(), _FIELDS)
        data += b"Cookie: %b\r\n\r\n" % cookie if cookie else b"\r\n"
        head = HeadReader(EdgeLimits(), KnownBlocks(), lambda _: exceptions_of(self._app)).take(data, self._peer)
        if head is None:
            raise RequestFault(400, Reason.MALFORMED_REQUEST, "request head not complete")
        return head

    async def _ask(self, request: RequestHead, sent: bytes) -> _Answer:
        asking = _Asking(request, sent)
        self._pool.acquire(asking, fresh=True)
        try:
            async with asyncio.timeout(_WAIT):
                return await asking.done
        except TimeoutError:
            return _Answer(broken=f"no whole answer within {_WAIT:g} s")
        finally:
            asking.close()

    def _read(self, request: RequestHead, head: ResponseHead, body: bytes, page: str) -> None:
        for lower, _, value in head.rewritten:
            if lower == b"set-cookie":
                self._note(strictness.of_cookie(value, self._host, page))
                if public := public_cookie(value, self._host):
                    name, _, content = public.partition(b";")[0].partition(b"=")
                    self._cookies[name.strip()] = content.strip()
            elif lower == b"location":
                self._note(strictness.of_location(value, request, self._origins, page))
                self._meet(_address(public_location(value, request, self._origins)), request, page, follow=True)
        lines = [line.partition(b":") for line in head.passed.split(b"\r\n")[1:] if line]
        fields = {name.lower(): value.strip() for name, _, value in lines}
        self._note(*strictness.of_fields(fields | head.find, page))
        kind = head.find.get(b"content-type", b"").lower()
        if kind.startswith((b"text/", b"application/xhtml", b"application/javascript")):
            charset = _CHARSET.search(kind) or _CHARSET.search(body[:4096])
            self._look(_text(body, charset[1] if charset else b"utf-8"), request, page, html=b"html" in kind)

    def _look(self, text: str, request: RequestHead, page: str, *, html: bool) -> None:
        self._note(*strictness.of_script(text, page))
        if html:
            links = _Links()
            links.feed(text)
            for address, follow in links.found:
                self._meet(urljoin(links.base, address) if links.base else address, request, page, follow=follow)

    def _meet(self, written: str, request: RequestHead, page: str, *, follow: bool) -> None:
        """Take one address that a page or a redirect names."""
        here = self._origin + request.sent.decode("latin-1")
        try:
            url = urljoin(here, written)
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            self._note(fault("url", page, f"{strictness.shown_safely(written)}: not a URL"))
            return
        if parts.scheme not in ("http", "https"):
            return
        if host != self._host:
            self._note(strictness.of_link(url, self._app, page))
            return
        target = as_browsers_send(parts.path or "/", parts.query)
        refused = strictness.of_target(target, page, self._app)
        self._note(refused)
        address = _PARAMETER.sub(b"", target)  # the same page, whatever session it carries
        if follow and refused is None and address not in self._known:
            self._known.add(address)
            self._waiting.append(target)


def as_browsers_send(path: str, query: str) -> bytes:
    """Return the target of an address as browsers write it: UTF-8 and percent signs (URL Standard §4.4)."""
    target = quote_from_bytes(path.replace("\\", "/").encode("utf-8"), safe=_KEPT)
    if query:
        target += "?" + quote_from_bytes(query.encode("utf-8"), safe=_QUERY_KEPT)
    return target.encode("ascii")


def _address(value: bytes) -> str:
    """Return a Location as browsers read it: bytes that are not UTF-8 are escaped as they are."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return quote_from_bytes(value, safe=_QUERY_KEPT + "#")


def _text(body: bytes, charset: bytes) -> str:
    name = charset.decode("ascii").lower()
    try:  # browsers read both names of Shift_JIS as Windows' code page (Encoding Standard)
        return body.decode("cp932" if name in ("shift_jis", "x-sjis", "windows-31j") else name, "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


async def walk(app: App, port: int = 443) -> Walk:
    """Walk through an app whose hosts browsers reach on `port`; never raises for what the app does."""
    return await _Walker(app, port).walk()
