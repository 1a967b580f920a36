"""Sign-ins and enrolments under way: kept in this process only, for ten minutes, bounded.

A flow belongs to a cookie with 256 random bits; its token changes when the password was right. Visitors who only
looked at the page are kept apart from those who are halfway, so that a flood of visitors can push nobody out who
has shown a password or a set-up code.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from gateway.identity.authentication import Authenticated, FirstStep
from gateway.identity.passkeys import Ceremony
from gateway.identity.sessions import new_token, token_hash
from gateway.state.records import Factor, User

LIFETIME = 600.0  # seconds
_CAPACITY = 10_000  # flows of each kind, about a kilobyte each
_MAX_CEREMONIES = 4  # open tabs of one browser


@dataclass(slots=True)
class SetUp:
    """A person with a valid set-up code; nothing is stored before the last step."""

    user: User
    code: Factor = field(repr=False)
    password_hash: str | None = field(default=None, repr=False)
    totp_secret: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Flow:
    """What one browser has shown so far. Secrets are left out of `repr`."""

    key: str  # hash of the cookie's token, or the id of a session
    expires_at: float
    first: FirstStep | None = None
    set_up: SetUp | None = None
    totp_secret: str | None = field(default=None, repr=False)  # offered to a signed-in person, not yet proven
    proven: tuple[str, Authenticated] | None = field(default=None, repr=False)  # until another's data are gone
    ceremonies: OrderedDict[str, Ceremony] = field(default_factory=OrderedDict, repr=False)

    @property
    def halfway(self) -> bool:
        """Whether the flow holds anything that a visitor's does not."""
        return bool(self.first or self.set_up or self.proven or self.totp_secret)

    def open_ceremony(self, ceremony: Ceremony) -> str:
        """Remember a passkey ceremony; returns the name to find it by."""
        name = secrets.token_urlsafe(16)
        self.ceremonies[name] = ceremony
        while len(self.ceremonies) > _MAX_CEREMONIES:
            self.ceremonies.popitem(last=False)
        return name

    def take_ceremony(self, name: str) -> Ceremony | None:
        """Hand out a ceremony once: a challenge answered wrongly is spent too."""
        return self.ceremonies.pop(name, None)


class Flows:
    """All flows of this process. Times are seconds since the epoch."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._visitors: OrderedDict[str, Flow] = OrderedDict()
        self._halfway: OrderedDict[str, Flow] = OrderedDict()
        self._capacity = capacity

    def start(self, now: float) -> tuple[str, Flow]:
        """Make an empty flow; returns its cookie token, which is not kept."""
        token = new_token()
        return token, self._keep(Flow(token_hash(token), now + LIFETIME))

    def find(self, token: str | None, now: float) -> Flow | None:
        """The flow of a cookie's token, or None when there is none any more."""
        return self._find(token_hash(token), now) if token and token.isascii() else None

    def by_key(self, key: str, now: float) -> Flow | None:
        """The flow with this key, for a browser whose cookies were just cleared."""
        return self._find(key, now)

    def of_session(self, session_id: str, now: float) -> Flow:
        """The flow of a signed-in person (ceremonies and enrolments); made when needed."""
        key = f"session:{session_id}"
        return self._find(key, now) or self._keep(Flow(key, now + LIFETIME))

    def renew(self, flow: Flow, now: float) -> str:
        """Give a flow a new token (a step was taken) and a full life; the old token is dead."""
        self.end(flow)
        token = new_token()
        flow.key, flow.expires_at = token_hash(token), now + LIFETIME
        self._keep(flow)
        return token

    def end(self, flow: Flow) -> None:
        """Forget a flow."""
        self._visitors.pop(flow.key, None)
        self._halfway.pop(flow.key, None)

    def _find(self, key: str, now: float) -> Flow | None:
        flow = self._visitors.get(key) or self._halfway.get(key)
        if flow is None:
            return None
        if now >= flow.expires_at:
            self.end(flow)
            return None
        return flow

    def _keep(self, flow: Flow) -> Flow:
        lane = self._halfway if flow.halfway else self._visitors
        lane[flow.key] = flow
        while len(lane) > self._capacity:
            lane.popitem(last=False)
        return flow
