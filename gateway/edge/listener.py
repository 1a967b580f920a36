"""Listening sockets: which kind of connection each accepts, and how a worker stops accepting.

The worker owns the TLS handshake, so that one that fails is recorded instead of vanishing in the event loop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from gateway.edge.blocks import LIFETIME
from gateway.edge.connection import ClientConnection
from gateway.edge.proxy_protocol import ProxyHeaderFault, parse
from gateway.edge.services import EdgeServices
from gateway.edge.sockets import reset
from gateway.edge.tls import complete_peer
from gateway.gate.request import Peer

LISTENERS: Final = frozenset({"public", "help", "redirect", "behind", "loopback"})
_ENCRYPTED: Final = frozenset({"public", "help"})


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
        self._servers: list[asyncio.AbstractServer] = []
        self._connections: dict[ClientConnection, None] = {}
        self._by_address: dict[str, int] = {}
        self._handshakes: set[asyncio.Task[None]] = set()
        self.refused = 0  # connections over a limit

    def __len__(self) -> int:
        return len(self._connections)

    async def open(self, listening: Listening) -> None:
        """Begin to accept on one socket."""
        sock = listening.sock
        sock.setblocking(False)
        if sock.family == socket.AF_UNIX:
            server = await self._loop.create_unix_server(lambda: Preface(self, listening), sock=sock, backlog=1024)
        else:
            server = await self._loop.create_server(lambda: Preface(self, listening), sock=sock, backlog=1024)
        self._servers.append(server)

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections go on."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def cut_idle(self) -> int:
        """Close connections that carry no request now; return how many are left."""
        for connection in list(self._connections):
            connection.close_if_idle()
        return len(self._connections)

    def admit(self, peer: Peer) -> ClientConnection | None:
        """Return a connection for `peer`, None where a limit of connections is reached."""
        limits = self.services.limits
        address = peer.address
        held = self._by_address.get(address, 0)
        if len(self._connections) >= limits.connections or (address and held >= limits.connections_per_address):
            self.refused += 1
            return None
        self._by_address[address] = held + 1
        connection = ClientConnection(self.services, self._loop, peer, self._ended)
        self._connections[connection] = None
        return connection

    def _ended(self, connection: ClientConnection) -> None:
        if connection not in self._connections:
            return
        del self._connections[connection]
        address = connection.peer.address
        left = self._by_address[address] - 1
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]

    def secure(self, plain: socket.socket, connection: ClientConnection, context: ssl.SSLContext) -> None:
        """Begin the handshake of one accepted connection; `plain` is ours from now on."""
        task = self._loop.create_task(self._handshake(plain, connection, context))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _handshake(self, plain: socket.socket, connection: ClientConnection, context: ssl.SSLContext) -> None:
        limit = self.services.timeouts.tls_handshake
        try:
            await self._loop.connect_accepted_socket(
                lambda: Secured(self, connection), plain, ssl=context, ssl_handshake_timeout=limit
            )
        except OSError as error:
            self.handshake_failed(connection, error)
            plain.close()

    def handshake_failed(self, connection: ClientConnection, error: Exception) -> None:
        """Record a handshake that came to nothing, and forget its connection."""
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
    """What comes before HTTP on an accepted connection: nothing, a TLS handshake, or a PROXY header."""

    __slots__ = ("_buffer", "_listeners", "_listening", "_transport", "deadline")

    def __init__(self, listeners: Listeners, listening: Listening) -> None:
        self._listeners = listeners
        self._listening = listening
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self.deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, and hand it over where nothing else comes first."""
        self._transport = tcp = cast("asyncio.Transport", transport)
        listening = self._listening
        services = self._listeners.services
        if listening.name == "behind":
            self.deadline = services.sweeper.now + services.timeouts.header
            services.sweeper.add(self)
            return
        scheme = "https" if listening.tls is not None else "http"
        connection = self._listeners.admit(_peer(tcp, listening.name, scheme))
        if connection is None:
            reset(tcp)
        elif listening.tls is not None:
            # The first bytes may come before a handshake begun here could take them: it gets a socket of its own.
            plain = tcp.get_extra_info("socket").dup()
            tcp.abort()
            self._listeners.secure(plain, connection, listening.tls)
        else:
            tcp.set_protocol(connection)
            connection.connection_made(tcp)

    def data_received(self, data: bytes) -> None:
        """Read the PROXY header."""
        transport = self._transport
        if transport is None or self._listening.name != "behind":
            return
        self._buffer += data
        try:
            header = parse(self._buffer)
        except ProxyHeaderFault as fault:
            self._fail(str(fault))
            return
        if header is None:
            return
        self._listeners.services.sweeper.remove(self)
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

    def _fail(self, error: str) -> None:
        services = self._listeners.services
        services.sweeper.remove(self)
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
        self._listeners.services.sweeper.remove(self)
        self._transport = None


def _peer(transport: asyncio.Transport, listener: str, scheme: str) -> Peer:
    """Return the other end by the socket itself."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return Peer("", 0, listener, scheme, "")
    address = str(name[0]).partition("%")[0]
    return Peer(address.removeprefix("::ffff:"), int(name[1]), listener, scheme, "")
