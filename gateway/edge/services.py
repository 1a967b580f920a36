"""What the edge needs from the rest of a worker, in one frozen bundle.

The edge moves bytes and knows nothing of sessions, policies or journals: it asks the `Gatekeeper`. The order that
promise P2 rests on is kept here in signatures: `judge` gives a verdict, `keep` records it, and only when `keep` has
called back without an error does the edge act on the verdict.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from gateway.edge.blocks import KnownBlocks
from gateway.gate.request import PathExceptions, Peer, RequestFault, RequestHead
from gateway.gate.verdict import Answer, Forward, Limited, Local, Preflight, Refuse, SignIn, StepUp, Verdict

if TYPE_CHECKING:
    from gateway.edge.live import LiveExchanges
    from gateway.edge.pool import Pool
    from gateway.edge.pools import Pools
    from gateway.edge.timeouts import Sweeper

__all__ = [
    "Answer", "Answered", "EdgeLimits", "EdgeServices", "EdgeTimeouts", "Gatekeeper", "Outcome", "Passed",
    "RecordNotKept", "RequestFault", "UpstreamBounds",
]  # fmt: skip

Passed = Forward | Local
"""Verdicts that send the request on."""

Answered = Refuse | SignIn | StepUp | Limited | Preflight
"""Verdicts that the gateway answers by itself."""


class RecordNotKept(Exception):
    """The decision could not be recorded: nothing may be forwarded (503, counted)."""


@dataclass(slots=True)  # frozen would cost more than the record that is made from it
class Outcome:
    """How one forwarded request ended, or stands: what its records are made from. Times in seconds, sizes in bytes."""

    status: int  # sent to the client, 0 = the answer never started
    reason: str  # "" = whole answer delivered, else a reason code, or "client_gone" where the client left
    aborted: bool  # the request's body did not reach the app as a whole
    request_bytes: int  # body bytes taken from the client
    response_bytes: int  # body bytes given to the client (for tunnels: bytes of frames)
    duration: float  # from the judged head to the end
    first_byte: float | None  # from the judged head to the app's first byte, None = none came
    detail: str = ""  # what was wrong with a body or an answer, in our words
    tunnel: bool = False
    frames_in: int = 0  # WebSocket frames from the client
    frames_out: int = 0  # WebSocket frames from the app


class Gatekeeper(Protocol):
    """The gate as the edge sees it. All but `resolve` are synchronous and answer from memory."""

    def judge(self, request: RequestHead) -> Verdict:
        """Say what to do with one strictly parsed request. Must not raise: an internal error is a `Refuse`."""

    def judge_again(self, request: RequestHead) -> str:
        """Return why a request that was passed would not be passed now; "" = it still would. Must not raise."""

    def reject(self, peer: Peer, fault: RequestFault) -> Refuse:
        """Make the refusal of a message that could not be parsed into a `RequestHead`."""

    async def resolve(self, token_hash: str) -> None:
        """Ask the steward once, within its bounded time, for a token that the view lacks. Must not raise."""

    def answer(self, verdict: Answered, request: RequestHead | None) -> Answer:
        """Write the page or problem document of a verdict that is not forwarded."""

    def identity(self, verdict: Forward) -> bytes:
        """Return the header lines that tell the app who asks: signed assertion, presets, request id."""

    def keep(self, verdict: Verdict, done: Callable[[BaseException | None], None]) -> None:
        """Record the decision in the journal where it belongs; call `done(None)` once it is kept as the app wants it.

        `done` may be called before this returns (nothing to wait for) or later in the loop, once, with the error where
        keeping failed. Raises RecordNotKept where the journal is unhealthy (`done` is then never called).
        """

    def unkept(self, request: RequestHead | None) -> Answer:
        """Return the 503 given where a decision could not be recorded; counts it."""

    def failed(self, verdict: Passed, request: RequestHead, status: int, reason: str, wait: float = 0.0) -> Answer:
        """Write the page of a forwarded request whose app did not answer (502, 503, 504).

        `wait`: seconds until the app is asked again, 0 = not known.
        """

    def completed(self, verdict: Passed, request: RequestHead, outcome: Outcome) -> None:
        """Record how a forwarded request ended. Must not raise."""

    def progressed(self, verdict: Passed, outcome: Outcome) -> None:
        """Record how a forwarded request that goes on stands so far. Must not raise."""

    def handshake_failed(self, peer: Peer, error: str) -> None:
        """Record a TLS handshake or PROXY header that failed; `error` holds no bytes of the client. Must not raise."""

    def path_exceptions(self, host: str) -> PathExceptions | None:
        """By which named exceptions paths on `host` (lower case, no port) are read; None = by none. Must not raise."""

    def turned_away(self, peer: Peer, bound: str) -> None:
        """Record a connection over a limit; `bound`: its setting, or the system's error. Must not raise."""

    def zone_of(self, address: str) -> str:
        """Return the zone of an address, asked once a connection; "" while no policy is known. Must not raise."""

    def knows_host(self, host: str) -> bool:
        """Whether `host` (lower case, no port) is the portal or an active app: the only ones redirected to https."""


@dataclass(frozen=True, slots=True)
class _FromSettings:
    """Values that a settings section has under the same names: the edge knows no settings."""

    @classmethod
    def of(cls, section: object) -> Self:
        """Take the fields of the same name from a settings section."""
        return cls(**{field.name: getattr(section, field.name) for field in dataclasses.fields(cls)})


@dataclass(frozen=True, slots=True)
class EdgeLimits(_FromSettings):
    """Sizes and counts the edge enforces; field names and defaults as `settings.limits`."""

    header_bytes: int = 32768
    header_count: int = 100
    header_line_bytes: int = 16384
    target_bytes: int = 8192
    body_bytes: int = 5368709120
    connections: int = 10000
    connections_per_address: int = 512
    requests_per_connection: int = 10000
    frame_bytes: int = 16777216
    connections_per_zone: int = 8000
    ahead_bytes: int = 65536
    unsent_bytes: int = 8388608
    body_min_rate: int = 240
    read_min_rate: int = 1000
    ranges: int = 200
    streams_per_session: int = 256


@dataclass(frozen=True, slots=True)
class EdgeTimeouts(_FromSettings):
    """Times in seconds the edge enforces; field names and defaults as `settings.timeouts`."""

    header: float = 10.0
    body_idle: float = 30.0
    idle: float = 75.0
    total_request: float = 3600.0
    upstream_connect: float = 5.0
    upstream_first_byte: float = 60.0
    upstream_between: float = 120.0
    tunnel_idle: float = 3600.0
    tls_handshake: float = 10.0
    slow_grace: float = 10.0


@dataclass(frozen=True, slots=True)
class UpstreamBounds(_FromSettings):
    """What one worker grants each upstream of an app; field names and defaults as `settings.upstreams`."""

    connections: int = 256
    queue: int = 1024
    queue_wait: float = 10.0
    idle: float = 60.0
    breaker_failures: int = 3
    breaker_first: float = 1.0
    breaker_longest: float = 30.0


@dataclass(frozen=True, slots=True)
class EdgeServices:
    """Everything a client connection may use. Made once by the worker."""

    gatekeeper: Gatekeeper
    pools: Pools
    control: Pool
    live: LiveExchanges
    sweeper: Sweeper
    limits: EdgeLimits
    timeouts: EdgeTimeouts
    clock: Callable[[], float]  # monotonic seconds
    public_port: int = 443  # the https port that browsers see, for the redirect listener
    hsts_max_age: int = 31_536_000  # seconds for which browsers keep to https
    wall: Callable[[], float] = time.time  # seconds since the epoch, for the Date of our answers
    blocks: KnownBlocks = field(default_factory=KnownBlocks)
    reached: Counter[str] = field(default_factory=Counter)  # how often a bound held a client back, by setting's name
