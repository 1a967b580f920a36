"""What a worker knows: tables in memory, looked up on every request, changed by the feed only.

Keys of tokens are the 32 raw bytes of their SHA-256. Sessions that ended leave the tables and stay, bounded, in
`ended`, so that a refusal can say why. `now` gives the time for expiry: it never runs back (design §5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from sys import intern
from typing import TYPE_CHECKING, Any

from gateway.state.changes import Change, RowChange
from gateway.state.records import App, AppSession, AppState, Device, Lock, LockTarget, RevocationList, Session, User
from gateway.state.serials import bucket_of, holds, packed

if TYPE_CHECKING:
    from policies.compile import CompiledPolicy

ENDED_KEPT = 10_000  # sessions; older ends are refused as plain "sign in"


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a session is over, kept until its absolute limit so that the person can be told."""

    session_id: str
    user_id: str
    reason: str  # policies.reasons.Reason
    message: str  # of the person who ended it, "" = none
    ended_at: float
    expires_at: float
    tokens: tuple[bytes, ...]


class View:
    """The tables of one worker. Read freely; only `gateway.state.feed` calls `apply`, `adopt` and `beat`."""

    __slots__ = (
        "_appliers",
        "_locks_by_id",
        "app_sessions",
        "apps",
        "beat_mono",
        "beat_wall",
        "checkpoint",
        "clock_jumped",
        "devices",
        "devices_by_uuid",
        "ended",
        "ended_tokens",
        "generation",
        "hosts",
        "locks",
        "pages",
        "policy",
        "portal_tokens",
        "revision",
        "revocation_lists",
        "revoked_buckets",
        "revoked_serials",
        "sessions",
        "sessions_by_device",
        "sessions_by_user",
        "tokens_by_session",
        "users",
    )

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.sessions: dict[str, Session] = {}
        self.app_sessions: dict[bytes, AppSession] = {}
        self.portal_tokens: dict[bytes, str] = {}
        self.devices: dict[str, Device] = {}
        self.devices_by_uuid: dict[str, Device] = {}
        self.apps: dict[str, App] = {}
        self.hosts: dict[str, App] = {}  # active apps only
        self.locks: dict[tuple[str, str], tuple[Lock, ...]] = {}
        self.policy: CompiledPolicy | None = None
        self.pages: dict[str, str] = {}
        self.revoked_serials: frozenset[str] = frozenset()  # by operators: `AUTHORITY:SERIAL`, or of any issuer
        self.revocation_lists: dict[str, RevocationList] = {}  # by authority
        self.revoked_buckets: dict[str, bytes] = {}  # what is on them (`gateway.state.serials`)
        self.ended: dict[str, Ended] = {}
        self.ended_tokens: dict[bytes, str] = {}
        self.sessions_by_user: dict[str, tuple[str, ...]] = {}
        self.sessions_by_device: dict[str, tuple[str, ...]] = {}
        self.tokens_by_session: dict[str, tuple[bytes, ...]] = {}  # app session tokens
        self.revision: int = 0
        self.generation: int = 0  # how often anything but the heartbeat changed
        self.beat_mono: float = 0.0  # monotonic seconds of the last heartbeat, 0 = none yet
        self.beat_wall: float = 0.0  # the steward's time at that heartbeat
        self.clock_jumped: bool = False  # True: refuse until an operator accepts the time
        self.checkpoint: str = ""  # latest signed tree head
        self._locks_by_id: dict[str, Lock] = {}
        self._appliers: dict[str, Callable[[str, dict[str, Any] | None, Change], None]] = {
            "user": self._user,
            "session": self._session,
            "app_session": self._app_session,
            "device": self._device,
            "crl": self._crl,
            "revoked": self._revoked,
            "app": self._app,
            "lock": self._lock,
            "page": self._page,
        }

    # -- reading ----------------------------------------------------------------------------------------------------

    def now(self, mono: float) -> float:
        """Seconds since the epoch for expiry: the steward's time carried on by the monotonic clock; never runs back."""
        passed = mono - self.beat_mono
        return self.beat_wall + passed if passed > 0.0 else self.beat_wall

    def age(self, mono: float) -> float:
        """Seconds since the last heartbeat; infinite before the first."""
        return mono - self.beat_mono if self.beat_mono else float("inf")

    def ended_by_token(self, digest: bytes) -> Ended | None:
        """Why the session of this portal or app token is over; None when the token never was one of ours."""
        session_id = self.ended_tokens.get(digest)
        return None if session_id is None else self.ended.get(session_id)

    def is_revoked(self, authority: str, serial: str) -> bool:
        """Whether this authority's certificate is revoked: by an operator, or by the authority's own list.

        `authority` is "" where it is not one of those that are known; raises ValueError for what is no serial number.
        """
        operators = self.revoked_serials
        if operators and (serial in operators or f"{authority}:{serial}" in operators):
            return True
        if not self.revoked_buckets:
            return False
        number = packed(serial)
        bucket = self.revoked_buckets.get(bucket_of(authority, number))
        return bucket is not None and holds(bucket, number)

    # -- changing (the feed only) ---------------------------------------------------------------------------------

    def beat(self, wall: float, mono: float, checkpoint: str, clock_jumped: bool) -> None:
        """Take one heartbeat: `mono` is the machine's CLOCK_MONOTONIC as it was sent, `wall` the steward's time."""
        self.beat_wall = max(wall, self.now(mono)) if self.beat_mono else wall
        self.beat_mono = mono
        self.checkpoint = checkpoint
        self.clock_jumped = clock_jumped

    def apply(self, changes: Iterable[RowChange], into: Change) -> Change:
        """Apply row changes in order and note in `into` what they touched. Unknown tables raise KeyError.

        `policy` rows are compiled beforehand by the caller and set with `set_policy`.
        """
        self.generation += 1
        for table, key, row in changes:
            self._appliers[table](key, row, into)
        return into

    def set_policy(self, policy: CompiledPolicy, into: Change) -> None:
        """Swap the compiled policy: one assignment."""
        self.generation += 1
        self.policy = policy
        into.policy = True

    def adopt(self, fresh: View, into: Change) -> None:
        """Become `fresh` (a complete snapshot), noting which sessions are gone. Heartbeat fields stay."""
        for session_id in self.sessions.keys() - fresh.sessions.keys():
            end = fresh.ended.get(session_id)
            into.ended[session_id] = end.reason if end else "session_ended"
        self.generation += 1
        keep = {"generation", "beat_mono", "beat_wall", "clock_jumped", "checkpoint", "_appliers"}
        for name in self.__slots__:
            if name not in keep:
                setattr(self, name, getattr(fresh, name))
        fresh._appliers.clear()  # bound methods: without them nothing keeps the emptied view and its tables alive
        into.everything = True

    # -- one table each ---------------------------------------------------------------------------------------------

    def _user(self, key: str, row: dict[str, Any] | None, into: Change) -> None:
        into.users.add(key)
        if row is None:
            self.users.pop(key, None)
        else:
            self.users[key] = User.from_row(row)

    def _session(self, key: str, row: dict[str, Any] | None, into: Change) -> None:
        into.sessions.add(key)
        old = self.sessions.pop(key, None)
        if old is not None:
            self.portal_tokens.pop(bytes.fromhex(old.token_hash), None)
            _unlink(self.sessions_by_user, old.user_id, key)
            _unlink(self.sessions_by_device, old.device_id or "", key)
        if row is None:
            self._drop_app_sessions(key)
            self.forget(key)
            if old is not None:
                into.ended[key] = "session_ended"
            return
        session = _lean(Session.from_row(row))
        if session.ended_at is not None:
            self._end(session, session.ended_at, into)
            return
        self.sessions[session.id] = session
        self.portal_tokens[bytes.fromhex(session.token_hash)] = session.id
        _link(self.sessions_by_user, session.user_id, session.id)
        if session.device_id:
            _link(self.sessions_by_device, session.device_id, session.id)

    def _drop_app_sessions(self, session_id: str) -> tuple[bytes, ...]:
        tokens = self.tokens_by_session.pop(session_id, ())
        for token in tokens:
            self.app_sessions.pop(token, None)
        return tokens

    def _end(self, session: Session, ended_at: float, into: Change) -> None:
        into.ended[session.id] = session.end_reason
        tokens = (bytes.fromhex(session.token_hash), *self._drop_app_sessions(session.id))
        end = Ended(
            session.id, session.user_id, session.end_reason, session.end_message, ended_at, session.expires_at, tokens
        )
        self.ended[session.id] = end
        for token in tokens:
            self.ended_tokens[token] = session.id
        while len(self.ended) > ENDED_KEPT:
            self.forget(next(iter(self.ended)))

    def forget(self, session_id: str) -> None:
        """Drop one ended session: it is past its absolute limit, or the oldest of too many."""
        end = self.ended.pop(session_id, None)
        for token in end.tokens if end else ():
            self.ended_tokens.pop(token, None)

    def _app_session(self, key: str, row: dict[str, Any] | None, into: Change) -> None:
        token = bytes.fromhex(key)
        old = self.app_sessions.pop(token, None)
        if old is not None:
            into.sessions.add(old.session_id)
            kept = tuple(t for t in self.tokens_by_session.get(old.session_id, ()) if t != token)
            self.tokens_by_session[old.session_id] = kept
        if row is None:
            return
        app_session = AppSession.from_row(row)
        into.sessions.add(app_session.session_id)
        owner = self.sessions.get(app_session.session_id)
        end = self.ended.get(app_session.session_id)
        if owner is None:
            if end is not None:  # a snapshot tells of ended sessions and then of their app sessions
                self.ended_tokens[token] = end.session_id
                self.ended[end.session_id] = replace(end, tokens=(*end.tokens, token))
            return
        self.app_sessions[token] = AppSession(
            app_session.id, owner.id, intern(app_session.app_id), intern(app_session.host), "", app_session.created_at
        )
        self.tokens_by_session[owner.id] = (*self.tokens_by_session.get(owner.id, ()), token)

    def _device(self, key: str, row: dict[str, Any] | None, into: Change) -> None:
        old = self.devices.pop(key, None)
        if old is not None:
            self.devices_by_uuid.pop(old.uuid, None)
        if row is not None:
            device = Device.from_row(row)
            self.devices[key] = device
            self.devices_by_uuid[device.uuid] = device
        else:
            device = None
        if old is None or device is None or replace(old, read_at=device.read_at, seen_at=device.seen_at) != device:
            into.devices.add(key)  # a fresher reading of the same facts is nothing to judge again for
        if (old.revoked_serials if old else ()) != (device.revoked_serials if device else ()):
            self.revoked_serials = frozenset(s for d in self.devices.values() for s in d.revoked_serials)

    def _crl(self, key: str, row: dict[str, Any] | None, _into: Change) -> None:
        if row is None:
            self.revocation_lists.pop(key, None)
        else:
            self.revocation_lists[key] = RevocationList.from_row(row)

    def _revoked(self, key: str, row: dict[str, Any] | None, into: Change) -> None:
        into.revoked.add(key)
        if row is None:
            self.revoked_buckets.pop(key, None)
        else:
            self.revoked_buckets[key] = bytes.fromhex(row["serials"])

    def _app(self, key: str, row: dict[str, Any] | None, into: Change) -> None:
        into.apps.add(key)
        old = self.apps.pop(key, None)
        for host in old.hosts if old else ():
            if self.hosts.get(host) is old:
                del self.hosts[host]
        if row is None:
            return
        app = App.from_row(row)
        self.apps[key] = app
        if app.state == AppState.ACTIVE:
            for host in app.hosts:
                self.hosts[host] = app

    def _lock(self, key: str, row: dict[str, Any] | None, into: Change) -> None:
        into.locks = True
        old = self._locks_by_id.pop(key, None)
        lock = Lock.from_row(row) if row is not None else None
        for each in (old, lock):
            if each is not None:
                _touched(into, each).add(each.target_id)
        if old is not None:
            place = (old.target, old.target_id)
            left = tuple(other for other in self.locks.get(place, ()) if other.id != key)
            if left:
                self.locks[place] = left
            else:
                self.locks.pop(place, None)
        if lock is not None:
            self._locks_by_id[key] = lock
            place = (lock.target, lock.target_id)
            self.locks[place] = (*self.locks.get(place, ()), lock)

    def _page(self, key: str, row: dict[str, Any] | None, into: Change) -> None:
        into.pages = True
        if row is None:
            self.pages.pop(key, None)
        else:
            self.pages[key] = row["body"]


def _lean(session: Session) -> Session:
    """Share the strings that many sessions have in common: a view holds tens of thousands (≤ 1 KiB each)."""
    return Session(
        session.id,
        intern(session.user_id),
        session.token_hash,
        tuple(intern(a) for a in session.amr),
        intern(session.acr),
        intern(session.mfa_method),
        session.mfa_at,
        session.created_at,
        session.expires_at,
        session.idle_limit,
        session.last_used_at,
        session.device_id,
        session.source_ip,
        intern(session.user_agent),
        session.operator,
        session.ended_at,
        session.end_reason,
        session.end_message,
    )


def _touched(into: Change, lock: Lock) -> set[str]:
    return {
        LockTarget.USER: into.users,
        LockTarget.DEVICE: into.devices,
        LockTarget.SESSION: into.sessions,
        LockTarget.GROUP: into.groups,
        LockTarget.APP: into.apps,
    }[LockTarget(lock.target)]


def _link(index: dict[str, tuple[str, ...]], key: str, value: str) -> None:
    index[key] = (*index.get(key, ()), value)


def _unlink(index: dict[str, tuple[str, ...]], key: str, value: str) -> None:
    left = tuple(other for other in index.get(key, ()) if other != value)
    if left:
        index[key] = left
    else:
        index.pop(key, None)
