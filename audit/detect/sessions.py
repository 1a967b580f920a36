"""Sessions in two places at once, and sessions used after their end.

What normal work looks like, and why it does not fire: a person walks from the office network to a mobile one (the
address changes, once); a browser updates itself (the version changes, the product does not); a tab left open asks
again after sign-out or idleness (same browser, same network).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, Final, NamedTuple

import orjson

from audit.detect.signal import Kind, Seen, Severity, Signal, joins_of, named

SIMULTANEOUS: Final = 600.0  # seconds within which both places must be seen
RETURNS: Final = 4  # changes of network within that time: a walk is one, a flapping link two or three
KEPT: Final = 50_000  # sessions remembered
BY_OPERATOR: Final = frozenset({"session_revoked", "session_ended", "user_disabled"})
_ENDED: Final = BY_OPERATOR | {"signed_out", "session_idle", "session_expired", "session_replaced"}
_VERSION: Final = re.compile(r"[0-9][0-9._]*")
_AGENT: Final = 200
_PLACES: Final = 8  # networks and browsers remembered of one session


@lru_cache(maxsize=65_536)
def network_of(address: str) -> str:
    """Return the neighbourhood of an address (/16, IPv6 /32), "" where it is none."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    return str(ip_network((parsed, 16 if parsed.version == 4 else 32), strict=False))


@lru_cache(maxsize=4096)
def browser_of(agent: str) -> str:
    """Return a User-Agent without version numbers; what is very long is compared by its beginning."""
    return _VERSION.sub("", agent[:_AGENT])


class Place(NamedTuple):
    """Who passed, and from where: what a decision shares with others of the same session."""

    session: str
    network: str
    fields: dict[str, Any]


def passed_from(members: bytes) -> Place | None:
    """Return what these members of a decision's line (each with a comma behind it) say; None where it did not pass."""
    try:
        fields: dict[str, Any] = orjson.loads(b"{%b}" % members[:-1])
    except orjson.JSONDecodeError:
        return None
    session, user = fields.get("sekisho.session.id"), fields.get("user.id")
    passed = fields.get("event.outcome") == "success" and fields.get("sekisho.verdict") == "forward"
    if not (passed and session and user and isinstance(session, str) and isinstance(user, str)):
        return None
    if "user_agent.original" in fields or fields.get("sekisho.reason") == "device_changed":
        return None
    address = fields.get("source.ip")
    return Place(session, network_of(address) if isinstance(address, str) else "", fields)


class SessionPlaces:
    """Remembers where each session is used; finds the ones used in two places, or after their end."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def snapshot(self) -> Any:
        """Return the state as JSON values."""
        return list(self._sessions.items())

    def restore(self, saved: Any) -> None:
        """Go on from `snapshot`'s value."""
        self._sessions = OrderedDict((name, row) for name, row in saved)

    def take(self, seen: Seen) -> Iterator[Signal]:
        """Look at one record."""
        session = seen.text("sekisho.session.id")
        if not session:
            return
        match seen.record.get("event.action"):
            case "session.started":
                row = self._row(session)
                row["browser"] = browser_of(seen.text("user_agent.original"))
                row["browsers"] = [row["browser"]] if row["browser"] else []
                self._note_network(row, seen)
            case "session.ended":
                self._row(session)["ended"] = seen.at
            case "request.decided" if seen.record.get("sekisho.verdict") == "sign_in":
                yield from self._after_end(session, seen)
            case "request.decided" if seen.text("user.id"):
                yield from self._alive(session, seen)
            case _:
                return

    def passed(self, place: Place, at: float, name: str) -> bool:
        """Look at a request that passed, by its place alone; False where it is another than the one before.

        The same as `take`, which would find nothing: the browser is that of the sign-in, or its name would stand there.
        """
        row = self._sessions.get(place.session)
        if row is None:
            return False
        trail = row["trail"]
        if place.network and (not trail or trail[-1][0] != place.network):
            return False
        self._sessions.move_to_end(place.session)
        row["own"], row["own_id"] = at, name
        return True

    def _row(self, session: str) -> dict[str, Any]:
        row = self._sessions.get(session)
        if row is None:
            row = self._sessions[session] = {"networks": [], "browsers": [], "browser": "", "own": 0.0, "trail": []}
            if len(self._sessions) > KEPT:
                self._sessions.popitem(last=False)
        else:
            self._sessions.move_to_end(session)
        return row

    def _note_network(self, row: dict[str, Any], seen: Seen) -> bool:
        """Remember the network; return whether it is another than the record before came from."""
        network = network_of(seen.text("source.ip"))
        if not network:
            return False
        trail: list[list[Any]] = row["trail"]
        changed = bool(trail) and trail[-1][0] != network
        if changed or not trail:
            trail.append([network, seen.at, seen.id])
            del trail[: -(RETURNS + 1)]
            if network not in row["networks"]:
                row["networks"] = [*row["networks"], network][-_PLACES:]
        return changed

    def _alive(self, session: str, seen: Seen) -> Iterator[Signal]:
        row = self._row(session)
        if seen.record.get("sekisho.reason") == "device_changed":
            yield _finding(Kind.SESSION_ON_TWO_DEVICES, Severity.HIGH, session, seen, (seen.id,), _OTHER_DEVICE)
        if self._note_network(row, seen):
            yield from _two_networks(session, row["trail"], seen)
        yield from self._browser(session, row, seen)

    def _browser(self, session: str, row: dict[str, Any], seen: Seen) -> Iterator[Signal]:
        """The gate records the browser's name where it is not that of the sign-in, and on pages of our own."""
        agent = seen.text("user_agent.original")
        browser = browser_of(agent)
        if not browser or browser == row["browser"]:
            row["own"], row["own_id"] = seen.at, seen.id
            return
        if browser not in row["browsers"]:
            row["browsers"] = [*row["browsers"], browser][-_PLACES:]
        if row["browser"] and row["own"] and seen.at - row["own"] <= SIMULTANEOUS:
            words, evidence = _TWO_BROWSERS.format(agent=agent[:80]), (str(row["own_id"]), seen.id)
            yield _finding(Kind.SESSION_ON_TWO_BROWSERS, Severity.MEDIUM, session, seen, evidence, words)

    def _after_end(self, session: str, seen: Seen) -> Iterator[Signal]:
        reason = seen.text("sekisho.reason")
        if reason not in _ENDED:
            return
        row = self._sessions.get(session) or {"networks": [], "browsers": []}
        network, browser = network_of(seen.text("source.ip")), browser_of(seen.text("user_agent.original"))
        elsewhere = bool(row["networks"]) and network not in row["networks"]
        stranger = bool(row["browsers"]) and browser not in row["browsers"]
        if elsewhere or stranger or reason in BY_OPERATOR:
            where = "別の接続元" if elsewhere else "別のブラウザ" if stranger else "同じ接続元・同じブラウザ"
            yield _after_end(session, seen, where, Severity.HIGH if elsewhere or stranger else Severity.LOW)


def _two_networks(session: str, trail: list[list[Any]], seen: Seen) -> Iterator[Signal]:
    places = sorted({str(place[0]) for place in trail})
    if len(trail) <= RETURNS or len(places) >= RETURNS or seen.at - trail[0][1] > SIMULTANEOUS:
        return
    words = _TWO_NETWORKS.format(minutes=int(SIMULTANEOUS // 60), places="、".join(places))
    evidence = tuple(str(place[2]) for place in trail)
    del trail[:-1]
    yield _finding(Kind.SESSION_ON_TWO_ADDRESSES, Severity.HIGH, session, seen, evidence, words)


def _finding(kind: Kind, severity: Severity, session: str, seen: Seen, evidence: tuple[str, ...], words: str) -> Signal:
    message = f"{seen.text('user.name') or '不明'}: {words}"
    command = f"sekisho sessions revoke {session} --reason '事案の調査'"
    return Signal(
        kind, severity, f"session:{session}", seen.at, evidence, message, command, joins_of(seen), named(seen)
    )


def _after_end(session: str, seen: Seen, where: str, severity: Severity) -> Signal:
    """Such a record names whose session it was in `related.user` (id, login): nobody is signed in by it."""
    people = [str(each) for each in seen.record.get("related.user") or ()]
    reason = seen.text("sekisho.reason")
    words = _AFTER_END.format(reason=_END_WORDS.get(reason, reason), where=where)
    subject = f"session:{session}"
    if len(people) < 2:  # the account is gone
        command = f"sekisho events search sekisho.session.id={session}"
        return Signal(
            Kind.ENDED_SESSION_USED, severity, subject, seen.at, (seen.id,), words, command, (subject,), named(seen)
        )
    user_id, login = people[:2]
    command = f"sekisho locks add --user {login} --expires 1h --reason '終了したセッションの再使用'"
    return Signal(
        Kind.ENDED_SESSION_USED, severity, subject, seen.at, (seen.id,), f"{login}: {words}", command,
        (f"user:{user_id}", subject), named(seen) | {"user.id": user_id, "user.name": login},
    )  # fmt: skip


_OTHER_DEVICE: Final = (
    "サインインした端末とは別の端末から、同じセッションが使われました(通信は拒否済み)。"
    "セッションの情報が持ち出された可能性があります。"
)
_TWO_NETWORKS: Final = (
    "一つのセッションが {minutes} 分以内に離れた接続元から交互に使われました({places})。移動では説明できません。"
)
_TWO_BROWSERS: Final = "一つのセッションが、サインインしたブラウザとは別のプログラムからも使われました({agent})。"
_AFTER_END: Final = "終了したセッション({reason})が、{where}からもう一度使われました(通信は拒否済み)。"
_END_WORDS: Final = {
    "session_revoked": "管理者による終了", "session_ended": "終了", "user_disabled": "アカウントの無効化",
    "signed_out": "サインアウト", "session_idle": "無操作", "session_expired": "期限切れ",
    "session_replaced": "新しいサインイン",
}  # fmt: skip
