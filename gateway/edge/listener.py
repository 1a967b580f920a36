"""Listening sockets: which kind of connection each accepts, and how a worker stops accepting.

The worker owns the TLS handshake, so that one that fails is recorded instead of vanishing in the event loop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Final, cast

from gateway.edge.accepting import Acceptor, refuse
from gateway.edge.arriving import LEFT
from gateway.edge.blocks import LIFETIME
from gateway.edge.client_hello import check_protocols
from gateway.edge.connection import ClientConnection
from gateway.edge.proxy_protocol import ProxyHeaderFault, parse
from gateway.edge.services import EdgeServices
from gateway.edge.sockets import reset
from gateway.edge.timeouts import NEVER
from gateway.edge.tls import complete_peer
from gateway.edge.under_tls import shake_hands
from gateway.gate.request import Peer

LISTENERS: Final = frozenset({"public", "help", "redirect", "behind", "loopback"})
_ENCRYPTED: Final = frozenset({"public", "help"})
_BACKLOG: Final = 1024  # connections that the kernel holds for us
_LEAST_LEFT: Final = 0.1  # seconds for the rest of a handshake whose first bytes took all of its time


@dataclass(frozen=True, slots=True)
class Listening:
    """One listening socket and how its connections are to be read; raises ValueError where they do not fit."""

    name: str  # one of LISTENERS
    sock: socket.socket
    tls: ssl.SSLContext | None = None  # required for public and help, forbidden for the others
    scheme: str = "http"  # what clients used towards the front; for `behind` from its settings

    def __post_init__(self) -> None:
        if self.name not in LISTENERS or (self.tls is not None) is not (self.name in _ENCRYPTED):
            raise ValueError(f"listener {self.name}: TLS is for public and help, and for all of them")
        if self.name in ("loopback", "behind") and self.sock.family != socket.AF_UNIX:
            address = self.sock.getsockname()[0]
            if not ipaddress.ip_address(address).is_loopback:
                raise ValueError(f"listener {self.name}: got {address}, expected a loopback address or a unix socket")


def inherited(environ: Mapping[str, str]) -> dict[str, socket.socket]:
    """Return the sockets named by SEKISHO_LISTEN ("public:7,help:8"); a wrong entry raises ValueError."""
    sockets: dict[str, socket.socket] = {}
    for entry in filter(None, environ.get("SEKISHO_LISTEN", "").split(",")):
        name, _, number = entry.partition(":")
        if name not in LISTENERS or not number.isascii() or not number.isdigit():
            raise ValueError(f"SEKISHO_LISTEN: got {entry!r}, expected name:fd with a name of {sorted(LISTENERS)}")
        sockets[name] = socket.socket(fileno=int(number))
    return sockets


class Listeners:
    """All listeners of one worker, and the count of their connections."""

    def __init__(self, services: EdgeServices, loop: asyncio.AbstractEventLoop) -> None:
        self.services = services
        self._loop = loop
        services.sweeper.every(LIFETIME, services.blocks.forget)
        LEFT.bound(services.limits.unsent_bytes, services.reached)
        self._acceptors: list[Acceptor] = []
        self._connections: dict[ClientConnection, str] = {}  # each with the zone it was counted in
        self._by_address: dict[str, int] = {}
        self._by_zone: dict[str, int] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._prefaces = 0  # connections of a front that have not said for whom
        self._last_requests = False

    def __len__(self) -> int:
        """How many connections there are, with those that have not said yet whose they are."""
        return len(self._connections) + self._prefaces

    async def open(self, listening: Listening) -> None:
        """Begin to accept on one socket."""
        sock = listening.sock
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        nobody = Peer("", 0, listening.name, listening.scheme, "")
        acceptor = Acceptor(
            self._loop, sock, lambda plain: self._accepted(listening, plain), lambda name: self._refused(nobody, name)
        )
        self._acceptors.append(acceptor)
        acceptor.start()

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections go on."""
        for acceptor in self._acceptors:
            acceptor.stop()
        self._acceptors.clear()

    def cut_idle(self) -> None:
        """Close connections that carry no request now."""
        for connection in list(self._connections):
            connection.close_if_idle()

    def only_last_requests(self) -> None:
        """Let each connection carry the request it is at, or else one more: its answer is told to be the last."""
        self._last_requests = True
        for connection in self._connections:
            connection.exhausted = True

    def _accepted(self, listening: Listening, plain: socket.socket) -> None:
        """Take one accepted connection: it is ours from now on."""
        try:
            if listening.name == "behind":
                if self._is_full():
                    self._refused(Peer("", 0, "behind", listening.scheme, ""), "connections")
                    refuse(plain)
                    return
                self._prefaces += 1
                self._begin(self._open_preface(Preface(self, listening), plain))
                return
            connection = self.admit(_peer(plain, listening))
        except OSError:
            plain.close()  # it left before it was taken
            return
        if connection is None:
            refuse(plain)
        elif listening.tls is None:
            self._begin(self._open(connection, plain))
        else:
            self._begin(self._handshake(plain, connection, listening.tls))

    def _is_full(self) -> bool:
        return len(self) >= self.services.limits.connections

    def admit(self, peer: Peer) -> ClientConnection | None:
        """Return a connection for `peer`; None, counted and recorded, where a limit of connections is reached."""
        limits = self.services.limits
        address = peer.network
        zone = self.services.gatekeeper.zone_of(peer.address)
        held, held_in_zone = self._by_address.get(address, 0), self._by_zone.get(zone, 0)
        if self._is_full():
            bound = "connections"
        elif address and held >= limits.connections_per_address:
            bound = "connections_per_address"
        elif held_in_zone >= limits.connections_per_zone:
            bound = "connections_per_zone"
        else:
            self._by_address[address] = held + 1
            self._by_zone[zone] = held_in_zone + 1
            connection = ClientConnection(self.services, self._loop, peer, self._ended)
            connection.exhausted = self._last_requests
            self._connections[connection] = zone
            return connection
        self._refused(peer, bound)
        return None

    def _refused(self, peer: Peer, bound: str) -> None:
        """Count and record a connection that was turned away; `bound`: a setting's name, or the system's error."""
        self.services.reached[bound] += 1
        self.services.gatekeeper.turned_away(peer, bound)

    def _ended(self, connection: ClientConnection) -> None:
        if connection not in self._connections:
            return
        _one_less(self._by_zone, self._connections.pop(connection))
        _one_less(self._by_address, connection.peer.network)

    def _begin(self, opening: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(opening)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connection: ClientConnection, plain: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, plain)
        except OSError:
            plain.close()
            self._ended(connection)

    async def _open_preface(self, preface: Preface, plain: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: preface, plain)
        except OSError:
            plain.close()
            preface.connection_lost(None)

    def preface_ended(self) -> None:
        """Count a preface no more."""
        self._prefaces -= 1

    async def _handshake(self, plain: socket.socket, connection: ClientConnection, context: ssl.SSLContext) -> None:
        limit = self.services.timeouts.tls_handshake
        began = self._loop.time()
        try:
            async with asyncio.timeout(limit):
                await check_protocols(self._loop, plain)
            left = max(limit - (self._loop.time() - began), _LEAST_LEFT)
            await shake_hands(self._loop, plain, context, Secured(self, connection), connection, left)
        except OSError as error:
            self.handshake_failed(connection, error)
            plain.close()

    def handshake_failed(self, connection: ClientConnection, error: Exception) -> None:
        """Record a handshake that came to nothing, and forget its connection."""
        if isinstance(error, ConnectionAbortedError | TimeoutError):  # so the event loops tell of one out of time
            self.services.reached["tls_handshake"] += 1
        self.services.gatekeeper.handshake_failed(connection.peer, _describe(error))
        self._ended(connection)


def _describe(error: Exception) -> str:
    """Return the library's name of a failure; its text could hold what the client sent."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower()
    return type(error).__name__


class Secured(asyncio.Protocol):
    """The moment between a completed handshake and HTTP: the peer learns what the handshake proved."""

    __slots__ = ("_connection", "_listeners")

    def __init__(self, listeners: Listeners, connection: ClientConnection) -> None:
        self._listeners = listeners
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection over, or end it where the certificate cannot be read."""
        secured, connection = cast("asyncio.Transport", transport), self._connection
        try:
            complete_peer(connection.peer, secured)
        except ValueError as error:
            self._listeners.handshake_failed(connection, error)
            secured.abort()
            return
        secured.set_protocol(connection)
        connection.connection_made(secured)


class Preface(asyncio.Protocol):
    """What comes before HTTP on the connection of a front: a PROXY header."""

    __slots__ = ("_buffer", "_counted", "_listeners", "_listening", "_transport", "deadline")

    def __init__(self, listeners: Listeners, listening: Listening) -> None:
        self._listeners = listeners
        self._listening = listening
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._counted = True
        self.deadline = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the header."""
        self._transport = cast("asyncio.Transport", transport)
        services = self._listeners.services
        self.deadline = services.sweeper.now + services.timeouts.header
        services.sweeper.add(self)

    def data_received(self, data: bytes) -> None:
        """Read the PROXY header."""
        transport = self._transport
        if transport is None:
            return
        self._buffer += data
        try:
            header = parse(self._buffer)
        except ProxyHeaderFault as fault:
            self._fail(str(fault))
            return
        if header is None:
            return
        self._leave()
        if header.local:
            transport.close()
            return
        peer = Peer(header.address, header.port, "behind", self._listening.scheme, header.server_name)
        connection = self._listeners.admit(peer)
        if connection is None:
            reset(transport)
            return
        transport.set_protocol(connection)
        connection.connection_made(transport)
        rest = self._buffer[header.size :]
        if rest:
            connection.data_received(rest)

    def _leave(self) -> None:
        """The preface is over, one way or another."""
        self._listeners.services.sweeper.remove(self)
        if self._counted:
            self._counted = False
            self._listeners.preface_ended()

    def _fail(self, error: str) -> None:
        services = self._listeners.services
        self._leave()
        services.gatekeeper.handshake_failed(Peer("", 0, "behind", self._listening.scheme, ""), error)
        if self._transport is not None:
            reset(self._transport)

    def on_deadline(self, now: float) -> None:
        """No PROXY header in time."""
        del now
        self._fail("no PROXY header in time")

    def connection_lost(self, error: Exception | None) -> None:
        """The connection ended before its preface did."""
        del error
        self._leave()
        self._transport = None


def _one_less(counts: dict[str, int], name: str) -> None:
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]


def _peer(plain: socket.socket, listening: Listening) -> Peer:
    """Return the other end by the socket itself; raises OSError where it left already."""
    name = plain.getpeername()
    listener, scheme = listening.name, "https" if listening.tls is not None else "http"
    if not isinstance(name, tuple):
        return Peer("", 0, listener, scheme, "")
    address = str(name[0]).partition("%")[0]
    return Peer(address.removeprefix("::ffff:"), int(name[1]), listener, scheme, "")
