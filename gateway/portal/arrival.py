"""Who is at the door: what the worker says of one request to our own pages.

The socket of control is open to the gateway's own processes only (0600), and a worker refuses these headers when a
client sends them, so they are trusted here, and here alone they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from audit.event import text
from gateway.identity.authentication import may_sign_in
from gateway.identity.context import ControlContext, Source

if TYPE_CHECKING:
    from gateway.state.records import Session, User

CONTEXT = web.AppKey("context", ControlContext)

REQUEST_ID = "X-Sekisho-Request-Id"
AREA = "X-Sekisho-Area"
APP = "X-Sekisho-App"
PEER = "X-Sekisho-Peer"
ZONE = "X-Sekisho-Zone"
DEVICE = "X-Sekisho-Device"
SESSION = "X-Sekisho-Session"
ABSENCE = "X-Sekisho-Absence"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as the gateway knows it. `session` and `user` are both set or both None."""

    source: Source
    host: str  # public host, lower case, without a port
    app_id: str  # "" on the portal
    session: Session | None
    user: User | None
    absence: str = ""  # reason for which the session that was shown does not count, "" = none was shown

    @property
    def signed_in(self) -> tuple[Session, User] | None:
        """The living session and its person, or None."""
        return (self.session, self.user) if self.session is not None and self.user is not None else None


def context_of(request: web.Request) -> ControlContext:
    """The bundle of this process."""
    return request.app[CONTEXT]


def arrival_of(request: web.Request) -> Arrival:
    """Read the worker's headers; a session that ended meanwhile counts as none."""
    context, headers = context_of(request), request.headers
    source = Source(
        address=headers.get(PEER, ""),
        zone=headers.get(ZONE, ""),
        user_agent=text(headers.get("User-Agent", "").encode(errors="surrogateescape")),
        device_id=headers.get(DEVICE) or None,
        request_id=headers.get(REQUEST_ID, ""),
    )
    host = request.host.rsplit(":", 1)[0].lower()
    session, user = _session(context, headers.get(SESSION, ""))
    return Arrival(source, host, headers.get(APP, ""), session, user, headers.get(ABSENCE, ""))


def _session(context: ControlContext, session_id: str) -> tuple[Session | None, User | None]:
    session = context.reader.session(session_id) if session_id else None
    now = context.clock()
    if session is None or session.ended_at is not None or session.operator or now >= session.expires_at:
        return None, None
    user = context.reader.user(session.user_id)
    if user is None or not may_sign_in(user, now):
        return None, None
    return session, user
