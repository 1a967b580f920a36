"""Where one app session stands: all that follows from its records alone, worked out once and kept while they last.

A standing is a memo, never a source: it counts only while the very records it was made from are the view's, so that a
changed user, session, device or app is seen by the next request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.gate.asked import Asked
from gateway.gate.facts import moments_of, recorded_form, standing_facts
from gateway.gate.revocation import certificate_refusal, counts_until
from gateway.state.records import LockTarget

if TYPE_CHECKING:
    from gateway.gate.instant import Footing, Instant
    from gateway.gate.passage import Passage
    from gateway.gate.request import ClientCertificate, RequestHead
    from gateway.state.records import App, AppSession, Device, Session, User
    from gateway.state.view import View
    from policies.compile import CompiledPolicy

JWT = "jwt"
REMOTE_USER = "remote-user"
_LONGEST_SHOWN = 1024  # bytes of a Cookie header that is remembered


class Standing:
    """One app session with its people and things, and what is the same for each of its requests."""

    __slots__ = (
        "_certificate", "_digest", "_generation", "agent", "app", "app_session", "asked", "claims", "device", "facts",
        "footing", "headers", "instant", "lock_places", "moments", "named", "passage", "recorded", "serial",
        "session", "until", "user",
    )  # fmt: skip

    def __init__(
        self, app_session: AppSession, session: Session, user: User, device: Device | None, asked: Asked, serial: str
    ) -> None:
        """`asked` is the app's, and names it; `serial` that of the client certificate shown, "" = none."""
        self.asked = asked
        self.app = app = asked.app
        self.app_session = app_session
        self.session = session
        self.user = user
        self.device = device
        self.agent = session.user_agent.encode(errors="surrogateescape")  # of the sign-in
        self.serial = serial
        self.facts = standing_facts(user, session, device, app)
        self.recorded = recorded_form(self.facts)
        self.moments = moments_of(session, device)
        self.named = standing_fields(app_session, session, user, device, app, serial)
        self.lock_places = lock_places(session, user, device)
        self.footing: Footing | None = None
        self.instant: Instant | None = None
        self.passage: Passage | None = None
        self._digest = b""
        self._generation = -1  # of the view in which the records were last found in order
        self._certificate: ClientCertificate | None = None
        self.until = 0.0  # wall time at which the first of these records runs out
        self.claims = claims_of(app_session, session, user, device, app) if JWT in app.presets else None
        self.headers = remote_user_headers(user) if REMOTE_USER in app.presets else ()

    def holds(
        self, app_session: AppSession, session: Session, user: User, device: Device | None, app: App, serial: str
    ) -> bool:
        """Whether this was made from exactly these records."""
        return (
            self.session is session
            and self.user is user
            and self.device is device
            and self.app is app
            and self.app_session is app_session
            and self.serial == serial
        )

    def vouch(self, view: View, digest: bytes, certificate: ClientCertificate | None) -> None:
        """Note that the gate found these records in order for this token and certificate, until one of them runs out.

        What may still change without another record, a lock or a revoked serial, is looked at for each request.
        """
        ends = [self.session.expires_at]
        if self.user.contract_end is not None:
            ends.append(self.user.contract_end)
        if certificate is not None:
            ends.append(counts_until(view, certificate))
        self._digest, self._certificate, self.until = digest, certificate, min(ends)

    def stands(self, view: View, request: RequestHead, app: App, wall: float) -> bool:
        """Whether the records are still the very ones that were found in order, for this host and certificate."""
        certificate = request.peer.certificate
        app_session, session = self.app_session, self.session
        if (
            self._generation == view.generation  # nothing has changed since
            and self.app is app
            and wall < self.until
            and self._certificate is certificate
            and app_session.host == request.host
        ):
            return True
        if (
            wall >= self.until
            or view.app_sessions.get(self._digest) is not app_session
            or view.sessions.get(session.id) is not session
            or view.users.get(session.user_id) is not self.user
            or self.app is not app
            or app_session.host != request.host
            or (self._certificate is not certificate and self._certificate != certificate)
        ):
            return False
        if certificate is not None and (
            certificate_refusal(view, certificate, wall) is not None
            or counts_until(view, certificate) < self.until  # a newer list that runs out sooner
            or view.devices_by_uuid.get(certificate.uuid) is not self.device
        ):
            return False
        self._generation = view.generation
        return True


def lock_places(session: Session, user: User, device: Device | None) -> tuple[tuple[str, str], ...]:
    """Return the (target, id) pairs under which a lock can hold this session, in the order they are looked at."""
    places = [(LockTarget.SESSION.value, session.id), (LockTarget.USER.value, user.id)]
    places += [(LockTarget.GROUP.value, group) for group in user.groups]
    if device is not None:
        places.append((LockTarget.DEVICE.value, device.id))
    return tuple(places)


def standing_fields(
    app_session: AppSession | None, session: Session, user: User, device: Device | None, app: App | None, serial: str
) -> dict[str, Any]:
    """Return the fields of a record that name the person, the session, the device and the app."""
    fields: dict[str, Any] = {
        "user.id": user.id,
        "user.name": user.login,
        "user.group.name": sorted(user.groups),
        "sekisho.session.id": session.id,
    }
    if app is not None:
        fields["sekisho.app.id"] = app.id
    if app_session is not None:
        fields["sekisho.app_session.id"] = app_session.id
    if device is not None:
        fields["device.id"] = device.id
    if serial:
        fields["sekisho.certificate.serial"] = serial
    return fields


def claims_of(app_session: AppSession, session: Session, user: User, device: Device | None, app: App) -> dict[str, Any]:
    """Return the assertion's claims (design §4) but for `iss`, `jti`, `iat` and `exp`, which the signer adds."""
    claims: dict[str, Any] = {
        "aud": [app.id, app_session.host],
        "sub": user.id,
        "email": user.email,
        "preferred_username": user.login,
        "name": user.name,
        "groups": sorted(user.groups),
        "amr": list(session.amr),
        "acr": session.acr,
        "sid": session.id,
        "sekisho": {"device_id": device.id if device else None, "device_state": device_state(device)},
    }
    return claims


def device_state(device: Device | None) -> str:
    """Return `unknown`, `compliant`, `in_grace` or `not_compliant`; what is not known is never compliant."""
    if device is None or device.compliant is None:
        return "unknown"
    if device.compliant:
        return "compliant"
    return "in_grace" if device.in_grace else "not_compliant"


def remote_user_headers(user: User) -> tuple[tuple[bytes, bytes], ...]:
    """Return `Remote-User`, `Remote-Groups`, `Remote-Email` for apps that read plain headers.

    Only printable ASCII without the list's comma can be carried safely: a group or address with anything else is left
    out (an app then sees less, never something else). A login that cannot be carried gives no headers at all.
    """
    if not _plain(user.login):
        return ()
    headers = [(b"Remote-User", user.login.encode("ascii"))]
    groups = [group for group in sorted(user.groups) if _plain(group)]
    if groups:
        headers.append((b"Remote-Groups", ",".join(groups).encode("ascii")))
    if _plain(user.email):
        headers.append((b"Remote-Email", user.email.encode("ascii")))
    return tuple(headers)


def _plain(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and "," not in text and text == text.strip()


class Memo:
    """What one worker has worked out already: standings by token and by Cookie header, zones by address; all bounded.

    `shown` saves looking for the token and hashing it: what a header means never changes, and a standing that is found
    by it still has to stand.
    """

    __slots__ = ("_asked", "_capacity", "_policy", "_zones", "shown", "standings")

    def __init__(self, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self.standings: dict[bytes, Standing] = {}
        self.shown: dict[bytes | None, Standing] = {}
        self._asked: dict[str, Asked] = {}
        self._zones: dict[str, str] = {}
        self._policy: CompiledPolicy | None = None

    def standing(
        self, digest: bytes, app_session: AppSession, session: Session, user: User, device: Device | None, app: App,
        serial: str,
    ) -> Standing:  # fmt: skip
        """Return the standing of these records, made anew when any of them is another value than before."""
        standing = self.standings.get(digest)
        if standing is not None and standing.holds(app_session, session, user, device, app, serial):
            return standing
        if len(self.standings) >= self._capacity:
            self.standings.clear()
        asked = self._asked.get(app.id)
        if asked is None or asked.app is not app:
            asked = self._asked[app.id] = Asked(app)
        standing = self.standings[digest] = Standing(app_session, session, user, device, asked, serial)
        return standing

    def show(self, cookies: bytes, standing: Standing) -> None:
        """Note to whom a Cookie header belongs; a long one is looked at each time."""
        if len(cookies) <= _LONGEST_SHOWN:
            if len(self.shown) >= self._capacity:
                self.shown.clear()
            self.shown[cookies] = standing

    def zone(self, policy: CompiledPolicy, address: str) -> str:
        """Return the zone that `policy` gives to an address."""
        if policy is not self._policy:
            self._policy = policy
            self._zones = {}
        zone = self._zones.get(address)
        if zone is None:
            if len(self._zones) >= self._capacity:
                self._zones.clear()
            zone = self._zones[address] = policy.zone_of(address)
        return zone
