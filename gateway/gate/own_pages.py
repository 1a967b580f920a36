"""Requests for our own pages: passed to control with what the gate knows of the asker, and nothing it does not.

Control trusts `X-Sekisho-Session` and `X-Sekisho-Device`, so they are set only where a request to an app would get as
far as the policy: a session on another device, of a disabled person or under a lock is not told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.gate.credentials import app_token, digest_of, portal_token
from gateway.gate.locks import standing_lock
from gateway.gate.presence import Absent, app_session_of, device_of, portal_session_of
from gateway.gate.standing import lock_places
from gateway.gate.verdict import Unknown
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.gate.case import Case
    from gateway.gate.limits import Limits
    from gateway.gate.standing import Memo
    from gateway.gate.verdict import Verdict
    from gateway.state.records import Device, Session, User
    from gateway.state.view import View

PORTAL_AREA = "portal"
APP_AREA = "app"
_NO_POLICY_ZONE = "internet"


def judge_own_page(view: View, case: Case, limits: Limits, memo: Memo) -> Verdict:
    """Return `Local`, or `Unknown` where a token was shown that the view has not heard of yet."""
    peer = case.request.peer
    found = _session(view, case)
    if isinstance(found, str):
        if not limits.settled:
            return Unknown(case.request_id, found)
        found = None
    device, case.serial, _ = device_of(view, peer.certificate, case.moment.wall)
    user = None
    if found is not None:
        user = view.users.get(found.user_id)
        case.absence = _absence(view, found, user, device, case.moment.wall)
    if case.absence:
        found = user = None
    case.name(found, user, device)
    zone = _NO_POLICY_ZONE if view.policy is None else memo.zone(view.policy, peer.address)
    return case.local(PORTAL_AREA if case.app is None else APP_AREA, zone)


def _session(view: View, case: Case) -> Session | str | None:
    """Return the session that the request's cookie names, the digest (hex) of an unknown token, or None."""
    cookies = case.request.find.get(b"cookie")
    token = portal_token(cookies) if case.app is None else app_token(cookies)
    if token is None:
        return None
    token_digest = digest_of(token)
    found: Session | Absent
    if case.app is None:
        found = portal_session_of(view, token_digest, case.moment.wall)
    else:
        pair = app_session_of(view, token_digest, case.app, case.request.host, case.moment.wall)
        found = pair if isinstance(pair, Absent) else pair[1]
    if isinstance(found, Absent):
        case.name_ended(view, found)
        case.absence = found.reason if found.session_id else ""
        return None if found.known else token_digest.hex()
    return found


def _absence(view: View, session: Session, user: User | None, device: Device | None, wall: float) -> str:
    """Return the reason for which a living session does not count here; "" = it counts."""
    if user is None or user.disabled:
        return Reason.USER_DISABLED.value
    if user.contract_end is not None and user.contract_end <= wall:
        return Reason.CONTRACT_ENDED.value
    if session.device_id is not None and (device is None or device.id != session.device_id):
        return Reason.DEVICE_CHANGED.value
    if device is not None and device.owner and device.owner != user.login:
        return Reason.DEVICE_OWNER_MISMATCH.value
    lock = standing_lock(view, lock_places(session, user, device), wall) if view.locks else None
    return Reason(f"{lock.target}_locked").value if lock is not None else ""
