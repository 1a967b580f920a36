"""What the gateway does with one request (design §4). Each verdict carries the record that is written first.

`record` is the flat mapping of ECS and `sekisho.*` fields of the decision (see `audit.event`), complete but for the
journal's own fields; the edge appends it to the journal and acts only after the journal says it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.gate.request import Moment
    from gateway.state.records import App, Device, Session, User
    from policies.decision import Explanation, StepUpNeed


class Shared(Protocol):
    """What the records of many allowed requests have in common, as fields and as members of a JSON object."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """The fields of the decision's record that are not the request's own."""

    @property
    def decided(self) -> bytes:
        """The same as a line has them (`audit.event.short`), as bytes, each with a comma behind it."""


class _Nothing:
    fields: Mapping[str, Any] = MappingProxyType({})
    decided = b""


NOTHING_SHARED: Final = _Nothing()


@final
@dataclass(slots=True)
class Forward:
    """Pass the request on to `app`. `headers` are identity headers to add, already encoded."""

    request_id: str
    own: bytes  # the fields of the record that only this request has: a JSON object as `orjson` writes it
    app: App
    user: User
    session: Session
    app_session_id: str
    device: Device | None
    claims: dict[str, Any] | None  # of the assertion to sign, None = this app wants none
    headers: tuple[tuple[bytes, bytes], ...]
    shared: Shared = NOTHING_SHARED
    moment: Moment | None = None  # of the judgement

    @property
    def record(self) -> dict[str, Any]:
        """The whole record, as a mapping: what its line says, read whole."""
        return {**self.shared.fields, **orjson.loads(self.own)}


@dataclass(slots=True)
class Refuse:
    """Answer with a refusal that explains itself."""

    request_id: str
    record: dict[str, Any]
    status: int
    reason: str  # policies.reasons.Reason
    explanation: Explanation | None = None
    message: str = ""  # of a lock
    app: App | None = None
    user: User | None = None
    close: bool = False
    signs: Mapping[bytes, bytes] | None = None  # of what never became a request: says the answer's form, nothing else
    wait: float = 0.0  # of a 503: seconds until it may be another answer, 0 = not known


@dataclass(slots=True)
class SignIn:
    """No valid session: browsers go to the portal and come back to `return_to`; others get 401."""

    request_id: str
    record: dict[str, Any]
    app: App
    return_to: str  # origin-form target on the app's host
    reason: str = "sign_in_required"  # or why the session that was shown ended
    message: str = ""  # of the person who ended it


@dataclass(slots=True)
class StepUp:
    """Signed in, but this request wants a fresher or stronger factor, and that would help."""

    request_id: str
    record: dict[str, Any]
    app: App
    user: User
    need: StepUpNeed
    return_to: str


@dataclass(slots=True)
class Local:
    """One of our own pages: passed to control over its unix socket with `headers` set by us."""

    request_id: str
    record: dict[str, Any]
    headers: tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class Limited:
    """Too many requests of this address, user or session."""

    request_id: str
    record: dict[str, Any]
    retry_after: int  # seconds


@dataclass(slots=True)
class Preflight:
    """A CORS preflight that the app's registration lets the gateway answer itself."""

    request_id: str
    record: dict[str, Any]
    headers: tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class Unknown:
    """A token that the view does not hold: ask the steward once, then judge again."""

    request_id: str
    token_hash: str  # hex SHA-256 of the token's text


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer made by the gateway itself. Framing headers and `Date` are the edge's; `close` ends the connection."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    close: bool = False


Verdict = Forward | Refuse | SignIn | StepUp | Local | Limited | Preflight | Unknown
