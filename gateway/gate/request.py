"""What the gate knows of one request: values only, made by `gateway.edge`, judged by `gateway.gate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Network
from typing import NamedTuple

from policies.reasons import Reason


class RequestFault(Exception):
    """What a client sent is refused before it is judged: not canonical, not allowed, or over a limit.

    `status` is the answer's status, `reason` the code for records and people, `detail` a short ASCII phrase for the
    record that never quotes the client's bytes. The connection is closed after every fault: what follows on it
    cannot be trusted to start where we believe. `bound` names the setting that it went over, "" where none did.
    """

    def __init__(self, status: int, reason: Reason, detail: str, bound: str = "") -> None:
        super().__init__(f"{status} {reason.value}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.bound = bound


@dataclass(frozen=True, slots=True)  # read a dozen times a request: a tuple finds its fields by name each time
class Moment:
    """The time of one judgement: `wall` in seconds since the epoch (never runs back), `mono` in monotonic seconds."""

    wall: float
    mono: float


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What the TLS handshake proved about the device: chain verified against the device CA by the TLS library."""

    uuid: str  # subject common name
    serial: str  # lower-case hex, no leading zeros
    thumbprint: str  # hex SHA-256 of the DER form
    not_after: float
    authority: str = ""  # the issuer's id (`RevocationList.id`), "" = none of those that are known
    checked: bool = False  # whether it counts only while a list of its authority is good


def network_of(address: str) -> str:
    """Return what is counted as one client: an IPv4 address, of an IPv6 address the /64 that one customer gets.

    RFC 4291 §2.5.4: the last 64 bits are the customer's own to choose, a new one for each connection if they like.
    """
    if ":" not in address:
        return address
    return str(IPv6Network((address, 64), strict=False))


@dataclass(slots=True)
class Peer:
    """The other end of one client connection. Made once a connection; raises ValueError for a broken IPv6 address."""

    address: str  # textual IP address, "" for a unix socket without PROXY header
    port: int
    listener: str  # public | help | redirect | behind | loopback
    scheme: str  # https | http, from the listener, never from a header
    server_name: str  # SNI, lower case; "" where there was none
    tls_version: str = ""
    tls_cipher: str = ""
    certificate: ClientCertificate | None = None
    network: str = field(init=False)  # what limits per address count by

    def __post_init__(self) -> None:
        self.network = network_of(self.address)


class PathExceptions(NamedTuple):
    """By which named exceptions an old app's paths are read (`gate.old_paths`)."""

    jsessionid: bool
    shift_jis: bool


class RequestHead:
    """One strictly parsed request head.

    `path` is the one canonical path: decided before policy, and the very bytes that the app gets (`sent` has what an
    old app gets besides).
    `headers` are the fields an app may get as they came, in order and spelling: without Host, Cookie and framing,
    which the edge makes anew, and without hop-by-hop and foreign identity headers; `lines` are the same as bytes, with
    the Cookie less our own. `find` maps each lower-case name
    that was not dropped to its value, Host and Cookie included; lists sent in several fields are joined by ", ";
    a name allowed once only (Host, Content-Length, Cookie …) was refused earlier when it came twice.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "expect_continue",
        "find",
        "headers",
        "host",
        "keep_alive",
        "line",
        "lines",
        "method",
        "path",
        "path_text",
        "peer",
        "port",
        "query",
        "upgrade",
        "version",
    )

    method: str  # upper case, from the allow-list of RFC 9110 methods known to us
    path: bytes  # canonical, percent-encoded as sent upstream
    path_text: str  # the same, percent-decoded UTF-8, for policy
    query: bytes | None  # without "?", None = no "?" at all
    version: str  # "1.1" | "1.0"
    host: str  # lower case, no port, no trailing dot
    port: int | None
    headers: list[tuple[bytes, bytes]]
    line: bytes  # the request line that the app gets
    lines: bytes
    find: dict[bytes, bytes]
    content_length: int | None
    chunked: bool
    upgrade: bool  # a valid WebSocket upgrade (RFC 6455 §4.2.1)
    keep_alive: bool
    peer: Peer
    expect_continue: bool
    exceptions: PathExceptions | None = None  # by which its path was read, None = as strictly as any

    @property
    def target(self) -> bytes:
        """The origin-form target as judged and recorded."""
        return self.path if self.query is None else self.path + b"?" + self.query

    @property
    def sent(self) -> bytes:
        """The target that the app gets."""
        return self.path if self.query is None else self.path + b"?" + self.query


class OldAppHead(RequestHead):
    """The head of a request to an app with named exceptions (`gate.old_paths`)."""

    __slots__ = ("exceptions", "parameter")

    exceptions: PathExceptions
    parameter: bytes  # what stands between path and query for the app alone, with its ";": a secret; b"" = nothing

    @property
    def sent(self) -> bytes:
        """The target that the app gets."""
        path = self.path + self.parameter
        return path if self.query is None else path + b"?" + self.query
