"""Who is there: the session behind a token, and the device behind a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.gate.revocation import certificate_refusal
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.gate.request import ClientCertificate
    from gateway.state.records import App, AppSession, Device, Session
    from gateway.state.view import Ended, View


@dataclass(frozen=True, slots=True)
class Absent:
    """No session that counts. `known` is False where the view has never heard of the token."""

    reason: str
    message: str = ""
    known: bool = True
    session_id: str = ""  # the session that is over, where the token was one of ours
    user_id: str = ""


_NOT_OURS = Absent(Reason.SIGN_IN_REQUIRED)
_NEVER_SEEN = Absent(Reason.SIGN_IN_REQUIRED, known=False)


def app_session_of(
    view: View, token_digest: bytes, app: App, host: str, wall: float
) -> tuple[AppSession, Session] | Absent:
    """Return the app session of a token and its parent, if both count on exactly this app and host."""
    app_session = view.app_sessions.get(token_digest)
    if app_session is None:
        return _ended(view, token_digest)
    if app_session.app_id != app.id or app_session.host != host:
        return _NOT_OURS
    session = view.sessions.get(app_session.session_id)
    if session is None:
        end = view.ended.get(app_session.session_id)
        return _NOT_OURS if end is None else _of(end)
    if session.operator or session.ended_at is not None:
        return _NOT_OURS
    return _expired(session) if session.expires_at <= wall else (app_session, session)


def portal_session_of(view: View, token_digest: bytes, wall: float) -> Session | Absent:
    """Return the browser session of a portal token."""
    session_id = view.portal_tokens.get(token_digest)
    if session_id is None:
        return _ended(view, token_digest)
    session = view.sessions.get(session_id)
    if session is None or session.operator or session.ended_at is not None:
        return _NOT_OURS
    return _expired(session) if session.expires_at <= wall else session


def _ended(view: View, token_digest: bytes) -> Absent:
    end = view.ended_by_token(token_digest)
    return _NEVER_SEEN if end is None else _of(end)


def _of(end: Ended) -> Absent:
    return Absent(end.reason, end.message, session_id=end.session_id, user_id=end.user_id)


def _expired(session: Session) -> Absent:
    return Absent(Reason.SESSION_EXPIRED, session_id=session.id, user_id=session.user_id)


def device_of(
    view: View, certificate: ClientCertificate | None, wall: float
) -> tuple[Device | None, str, Reason | None]:
    """Return the device of a client certificate, its serial ("" = none shown) and why it is refused, if it is.

    A certificate that ran out while its connection lived, is refused, or names no device of the MDM gives no device.
    """
    if certificate is None:
        return None, "", None
    refusal = certificate_refusal(view, certificate, wall)
    if refusal is not None or certificate.not_after <= wall:
        return None, certificate.serial, refusal
    return view.devices_by_uuid.get(certificate.uuid), certificate.serial, None
