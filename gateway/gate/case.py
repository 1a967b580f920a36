"""One request being judged: how every verdict but "forward" is made, each with the record that is written first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.gate.decision_record import add_agent, add_decision, add_explanation, close_record, request_fields
from gateway.gate.retry_after import retry_after
from gateway.gate.standing import standing_fields
from gateway.gate.verdict import Limited, Local, Preflight, Refuse, SignIn, StepUp
from policies.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.gate.presence import Absent
    from gateway.gate.request import Moment, RequestHead
    from gateway.gate.standing import Standing
    from gateway.state.records import App, Device, Session, User
    from gateway.state.view import View
    from policies.decision import Decision, Explanation


class Case:
    """What is known so far of one request; fields are filled as the judge goes on.

    The defaults are the class's: most requests are allowed and fill few of them.
    """

    app: App | None = None
    standing: Standing | None = None  # who asks and from what, once that is in order
    serial: str = ""
    _session: Session | None = None
    _user: User | None = None
    _device: Device | None = None
    ended_session: str = ""  # of the token that was shown
    ended_user: tuple[str, ...] = ()  # id and login
    absence: str = ""  # why a token that was shown signs nobody in, for our own pages to say

    def __init__(self, request: RequestHead, moment: Moment, request_id: str, key: bytes) -> None:
        """`key` is for digests in records."""
        self.request = request
        self.moment = moment
        self.request_id = request_id
        self.key = key

    def name(self, session: Session | None, user: User | None, device: Device | None = None) -> None:
        """Note who asks, and from what, where there is no standing."""
        self._session, self._user, self._device = session, user, device

    @property
    def session(self) -> Session | None:
        """The session, as far as known."""
        return self._session if self.standing is None else self.standing.session

    @property
    def user(self) -> User | None:
        """The person, as far as known."""
        return self._user if self.standing is None else self.standing.user

    @property
    def device(self) -> Device | None:
        """The device, as far as known."""
        return self._device if self.standing is None else self.standing.device

    def name_ended(self, view: View, absent: Absent) -> None:
        """Note whose session the token that was shown belonged to: for the record only, nobody is signed in by it."""
        if absent.session_id:
            owner = view.users.get(absent.user_id)
            self.ended_session = absent.session_id
            self.ended_user = (absent.user_id,) if owner is None else (absent.user_id, owner.login)

    def record(self, verdict: str, reason: str) -> dict[str, Any]:
        """Return the record of this request with its verdict; the person is named as far as known."""
        record = request_fields(self.request, self.moment, self.request_id, self.app, self.key)
        if self.app is not None:
            record["sekisho.app.id"] = self.app.id
        if self.standing is not None:
            record.update(self.standing.named)
        elif self.session is not None and self.user is not None:
            record.update(standing_fields(None, self.session, self.user, self.device, self.app, self.serial))
        if self.ended_session and self.session is None:
            record["sekisho.session.id"] = self.ended_session
            record["related.user"] = list(self.ended_user)
        add_agent(record, self.request)
        return close_record(record, verdict, reason)

    def refuse(self, status: int, reason: Reason, message: str = "") -> Refuse:
        """Refuse without a policy decision."""
        record = self.record("refuse", reason.value)
        return Refuse(self.request_id, record, status, reason.value, message=message, app=self.app, user=self.user)

    def deny(
        self, decision: Decision, explanation: Explanation, zone: str, facts: Mapping[str, object]
    ) -> Refuse | StepUp:
        """Refuse as the policy says, or ask for a step-up where that alone would help."""
        need = explanation.step_up
        reason = decision.reason if need is None else Reason.STEP_UP_REQUIRED
        record = self.record("refuse" if need is None else "step_up", reason.value)
        add_decision(record, decision, explanation.policy, zone, facts)
        add_explanation(record, explanation)
        if need is not None and self.app is not None and self.user is not None:
            return StepUp(self.request_id, record, self.app, self.user, need, self.return_to)
        status = 503 if reason is Reason.INTERNAL_ERROR else 403
        return Refuse(
            self.request_id, record, status, reason.value, explanation=explanation, app=self.app, user=self.user
        )

    def sign_in(self, app: App, reason: str, message: str = "") -> SignIn:
        """Ask to sign in; `reason` tells why a session that was shown counts no more."""
        return SignIn(self.request_id, self.record("sign_in", reason), app, self.return_to, reason, message)

    def limited(self, wait: int) -> Limited:
        """Ask to come back in `wait` seconds, or somewhat later."""
        record = self.record("limited", Reason.RATE_LIMITED.value)
        told = record["sekisho.retry_after"] = retry_after(wait, self.request_id)
        return Limited(self.request_id, record, told)

    def local(self, area: str, zone: str) -> Local:
        """Pass to our own pages. Their queries carry one-time codes and are never recorded, not even as digests."""
        record = self.record("local", Reason.OWN_PAGE.value)
        record.pop("url.query", None)
        record["sekisho.area"] = area
        record["sekisho.zone"] = zone
        headers = [
            (b"X-Sekisho-Request-Id", self.request_id.encode()),
            (b"X-Sekisho-Area", area.encode()),
            (b"X-Sekisho-Peer", self.request.peer.address.encode()),
            (b"X-Sekisho-Zone", zone.encode()),
        ]
        if self.app is not None:
            headers.append((b"X-Sekisho-App", self.app.id.encode()))
        if self.device is not None:
            headers.append((b"X-Sekisho-Device", self.device.id.encode()))
        if self.session is not None:
            headers.append((b"X-Sekisho-Session", self.session.id.encode()))
        elif self.absence:
            headers.append((b"X-Sekisho-Absence", self.absence.encode()))
        return Local(self.request_id, record, tuple(headers))

    def preflight(self, headers: tuple[tuple[bytes, bytes], ...]) -> Preflight:
        """Answer a CORS preflight as the app's registration says."""
        return Preflight(self.request_id, self.record("preflight", Reason.PREFLIGHT.value), headers)

    @property
    def return_to(self) -> str:
        """The origin-form target, to come back to."""
        return self.request.target.decode("ascii", "backslashreplace")
