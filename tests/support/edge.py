"""A bare edge for tests: real sockets, a gatekeeper that allows everything and keeps lists, a recording app."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.edge.address import Upstream
from gateway.edge.listener import Listeners, Listening
from gateway.edge.live import LiveExchanges
from gateway.edge.pool import Pool
from gateway.edge.pools import Pools
from gateway.edge.services import (
    Answer,
    Answered,
    EdgeLimits,
    EdgeServices,
    EdgeTimeouts,
    Outcome,
    Passed,
    RecordNotKept,
    UpstreamBounds,
)
from gateway.edge.timeouts import Sweeper
from gateway.gate.old_paths import exceptions_of
from gateway.gate.request import PathExceptions, Peer, RequestFault, RequestHead
from gateway.gate.verdict import Forward, Refuse, Verdict
from gateway.state.records import App, Session, User

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def app_at(upstream: str, **changes: Any) -> App:
    """Return a registered app whose upstream is `upstream`."""
    app = App(
        id="app", title="App", owner="", contact="", hosts=("app.test",), upstream=upstream, upstream_ca="",
        sensitivity="1", business="", profile="staff", presets=(), assertion_header="X-Sekisho-Jwt-Assertion",
        methods=("GET",), host_header="preserve", durability="written", activity="any", preflight_origins=(),
        health_path="/", masked_paths=(), state="active", created_by="", approved_by="",
    )  # fmt: skip
    return replace(app, **changes)


def user_named(identity: str) -> User:
    """Return a user."""
    return User(identity, identity, identity, "", "", (), "staff", (), False, None, "ja", 0.0)


def session_named(identity: str, user: str) -> Session:
    """Return a session of `user`."""
    return Session(
        id=identity, user_id=user, token_hash="", amr=(), acr="", mfa_method="", mfa_at=None, created_at=0.0,
        expires_at=1e12, idle_limit=1e9, last_used_at=0.0, device_id=None, source_ip="", user_agent="",
        operator=False, ended_at=None, end_reason="",
    )  # fmt: skip


@dataclass
class OpenGatekeeper:
    """Allows every syntactically accepted request to any host; the person is named by an `X-Person` header."""

    app: App
    judged: list[RequestHead] = field(default_factory=list)
    rejected: list[RequestFault] = field(default_factory=list)
    records: list[Verdict] = field(default_factory=list)
    outcomes: list[tuple[RequestHead, Outcome]] = field(default_factory=list)
    progress: list[Outcome] = field(default_factory=list)
    handshakes: list[tuple[Peer, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    zones: dict[str, str] = field(default_factory=dict)
    refuse: Callable[[RequestHead], Verdict | None] = lambda request: None
    healthy: bool = True
    hold_records: list[Callable[[BaseException | None], None]] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def judge(self, request: RequestHead) -> Verdict:
        self.judged.append(request)
        refused = self.refuse(request)
        if refused is not None:
            return refused
        person = request.find.get(b"x-person", b"u1").decode()
        return Forward(
            "REQ",
            b"{}",
            self.app,
            user_named(person),
            session_named("s-" + person, person),
            "as-" + person,
            None,
            None,
            (),
        )

    def judge_again(self, request: RequestHead) -> str:
        refused = self.refuse(request)
        return refused.reason if isinstance(refused, Refuse) else ""

    def reject(self, peer: Peer, fault: RequestFault) -> Refuse:
        self.rejected.append(fault)
        return Refuse("REQ", {}, fault.status, fault.reason, close=True)

    async def resolve(self, token_hash: str) -> None:
        return None

    def answer(self, verdict: Answered, request: RequestHead | None) -> Answer:
        status = verdict.status if isinstance(verdict, Refuse) else 401
        return Answer(status, ((b"Content-Type", b"text/plain"),), b"refused\n")

    def identity(self, verdict: Forward) -> bytes:
        return b"X-Sekisho-Request-Id: REQ\r\n"

    def keep(self, verdict: Verdict, done: Callable[[BaseException | None], None]) -> None:
        if not self.healthy:
            raise RecordNotKept
        self.records.append(verdict)
        if self.hold_records is None:
            done(None)
        else:
            self.hold_records.append(done)

    def unkept(self, request: RequestHead | None) -> Answer:
        return Answer(503, ((b"Retry-After", b"5"),), b"")

    def failed(self, verdict: Passed, request: RequestHead, status: int, reason: str, wait: float = 0.0) -> Answer:
        return Answer(status, (), reason.encode())

    def completed(self, verdict: Passed, request: RequestHead, outcome: Outcome) -> None:
        self.outcomes.append((request, outcome))
        self.ended.set()

    def progressed(self, verdict: Passed, outcome: Outcome) -> None:
        self.progress.append(outcome)

    def handshake_failed(self, peer: Peer, error: str) -> None:
        self.handshakes.append((peer, error))
        self.ended.set()

    def path_exceptions(self, host: str) -> PathExceptions | None:
        return exceptions_of(self.app)

    def turned_away(self, peer: Peer, bound: str) -> None:
        self.refused.append((peer.address, bound))

    def zone_of(self, address: str) -> str:
        return self.zones.get(address, "internet")

    def knows_host(self, host: str) -> bool:
        return host in self.app.hosts


@dataclass
class Recorded:
    """What one upstream connection carried, and whether it ended by a reset."""

    data: bytes = b""
    reset: bool = False
    ended: bool = False


@dataclass
class RecordingApp:
    """A raw upstream: keeps every byte of each connection and whether it ended by a reset."""

    handler: Handler
    port: int = 0
    streams: list[Recorded] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recorded = Recorded()
        self.streams.append(recorded)
        tap = asyncio.StreamReader()

        async def pump() -> None:
            try:
                while data := await reader.read(65536):
                    recorded.data += data
                    tap.feed_data(data)
            except ConnectionError:
                recorded.reset = True
            recorded.ended = True
            tap.feed_eof()

        task = asyncio.create_task(pump())
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.handler(tap, writer)
        finally:
            task.cancel()
            writer.close()


@dataclass
class Edge:
    """One running edge."""

    port: int
    gatekeeper: OpenGatekeeper
    services: EdgeServices
    control: Pool
    listeners: Listeners
    app: RecordingApp

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)

    async def ask(self, data: bytes, wait: float = 30.0) -> bytes:
        """Send bytes on a new connection, half-close, return everything until the end."""
        reader, writer = await self.connect()
        writer.write(data)
        writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), wait)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def running(
    handler: Handler,
    *,
    listener: str = "loopback",
    tls: ssl.SSLContext | None = None,
    limits: EdgeLimits | None = None,
    timeouts: EdgeTimeouts | None = None,
    bounds: UpstreamBounds | None = None,
    upstream_tls: ssl.SSLContext | None = None,
    **app_changes: Any,
) -> AsyncIterator[Edge]:
    """Run an edge in front of `handler`."""
    loop = asyncio.get_running_loop()
    app = RecordingApp(handler)
    server = await asyncio.start_server(app.serve, "127.0.0.1", 0, ssl=upstream_tls, limit=2**24)
    app.port = server.sockets[0].getsockname()[1]
    scheme = "http" if upstream_tls is None else "https"
    app_changes.setdefault("upstream", f"{scheme}://127.0.0.1:{app.port}")
    gatekeeper = OpenGatekeeper(app_at(**app_changes))
    limits, timeouts = limits or EdgeLimits(), timeouts or EdgeTimeouts()
    sweeper = Sweeper(time.monotonic)
    sweeper.start(loop)
    live = LiveExchanges(limits.streams_per_session)
    sweeper.every(1.0, live.settle)
    pools = Pools(timeouts, sweeper, bounds)
    control = Pool(Upstream.parse("unix:/nonexistent"), timeouts, sweeper)
    services = EdgeServices(gatekeeper, pools, control, live, sweeper, limits, timeouts, time.monotonic, 8443)
    listeners = Listeners(services, loop)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    await listeners.open(Listening(listener, sock, tls))
    try:
        yield Edge(sock.getsockname()[1], gatekeeper, services, control, listeners, app)
    finally:
        listeners.stop_accepting()
        pools.close()
        sweeper.stop()
        server.close()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Return one head's bytes."""
    return await reader.readuntil(b"\r\n\r\n")


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return (head, body) of one request, b"" and b"" at the end of the connection."""
    try:
        head = await read_head(reader)
    except asyncio.IncompleteReadError:
        return b"", b""
    body = b""
    lower = head.lower()
    if b"\r\ncontent-length: " in lower:
        size = int(lower.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(size)
    elif b"\r\ntransfer-encoding: chunked" in lower:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    return head, body


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that answers every request with 200 and the body's length."""
    while True:
        head, body = await read_request(reader)
        if not head:
            return
        text = b"%d" % len(body)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text))
        if not head.startswith(b"HEAD"):
            writer.write(text)
        await writer.drain()


@dataclass
class FastGatekeeper(OpenGatekeeper):
    """The open gatekeeper without lists, for benchmarks: every request gets the same verdict."""

    def __post_init__(self) -> None:
        person, session = user_named("u1"), session_named("s1", "u1")
        self.verdict = Forward("REQ", b"{}", self.app, person, session, "as1", None, None, ())

    def judge(self, request: RequestHead) -> Verdict:
        return self.verdict

    def identity(self, verdict: Forward) -> bytes:
        return b"X-Sekisho-Request-Id: REQ\r\n"

    def keep(self, verdict: Verdict, done: Callable[[BaseException | None], None]) -> None:
        done(None)

    def completed(self, verdict: Passed, request: RequestHead, outcome: Outcome) -> None:
        return None


async def serve_bare(port: int, upstream: str, stop: asyncio.Event) -> None:
    """Serve the bare edge on a loopback port until `stop` is set."""
    loop = asyncio.get_running_loop()
    sweeper = Sweeper(time.monotonic)
    sweeper.start(loop)
    timeouts = EdgeTimeouts()
    limits = EdgeLimits(requests_per_connection=10**9)
    control = Pool(Upstream.parse("unix:/nonexistent"), timeouts, sweeper)
    live = LiveExchanges()
    sweeper.every(1.0, live.settle)
    gatekeeper = FastGatekeeper(app_at(upstream))
    pools = Pools(timeouts, sweeper)
    services = EdgeServices(gatekeeper, pools, control, live, sweeper, limits, timeouts, loop.time, 8443)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    await Listeners(services, loop).open(Listening("loopback", sock))
    await stop.wait()
