"""What every page and every admin command works with: one bundle, made once by `gateway.control`.

The context lives as long as the process; nothing in it belongs to one request. What one request brings along
(address, device, browser) is a `Source`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gateway.identity.turns import Turns

if TYPE_CHECKING:
    from audit.journal import Journal
    from gateway.identity.digests import KeyedDigests
    from gateway.identity.passwords import PasswordHasher
    from gateway.settings import Settings
    from gateway.state.steward_client import StewardClient
    from gateway.state.store import Reader


@dataclass(frozen=True, slots=True)
class Source:
    """Where an attempt comes from, as the worker (or the admin socket) tells; never from a client's header."""

    address: str  # textual IP address, "" for the local socket
    zone: str  # zone of the address by the active policy, "" for the local socket
    user_agent: str
    device_id: str | None  # device of the client certificate, None = none shown
    request_id: str  # reference of the request, "" for the local socket


class PostureDesk(Protocol):
    """The posture sync, for those who ask how it is doing or want a reading now."""

    def state(self) -> dict[str, object]:
        """How the sync is doing."""

    async def hurry(self) -> bool:
        """Read now and wait for it, within bounds; False where one has to be content with what is known."""


class ListDesk(Protocol):
    """The authorities' revocation lists, for those who ask how they are doing or have one begin anew."""

    def states(self) -> list[dict[str, object]]:
        """How every list is doing."""

    async def plan(self, name: str) -> dict[str, object] | None:
        """What `accept` would do with the file of this authority's id, None = nothing."""

    async def accept(self, name: str, digest: str, by: str, reason: str) -> bool:
        """Put the list with this digest in force although it is older than the one that is; False = it is not there."""


class AlertDesk(Protocol):
    """The alerts, for those who ask whether they go out."""

    async def test(self) -> dict[str, str]:
        """Send a test on every way out; each one's fault, "" = handed over."""

    def states(self) -> list[dict[str, object]]:
        """How every way out is doing."""


@dataclass(frozen=True, slots=True)
class ControlContext:
    """Settings, state and tools of the control process.

    `reader` reads the store and never writes; every change goes through `steward`. `journal` is the writer
    `control`; a record of an act is awaited before the act takes effect. `clock` gives seconds since the epoch.
    `posture` is None where no MDM is configured, `alerts` where this process tells nobody, `lists` where
    nobody keeps revocation lists.
    """

    settings: Settings
    reader: Reader
    steward: StewardClient
    journal: Journal
    hasher: PasswordHasher
    digests: KeyedDigests
    clock: Callable[[], float]
    turns: Turns = field(default_factory=Turns)
    posture: PostureDesk | None = None
    alerts: AlertDesk | None = None
    lists: ListDesk | None = None
