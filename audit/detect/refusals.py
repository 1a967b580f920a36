"""Bursts of refusals, of one person or one address, and attempts on disabled accounts.

Thresholds, and why normal work stays below:
- a person: `USER_LIMIT` refusals by policy within a minute on at least `USER_PATHS` paths. A page of an app asks for at
  most some twenty things at once; a script that repeats one refused call is a broken app, not a search for a way in.
- an address: `ADDRESS_LIMIT` requests a minute that no browser sends (malformed, unknown host, forbidden method): an
  office behind one address makes none. Not being signed in is no such refusal: at half past eight a whole city hall
  opens its browsers behind one address. It counts where the client is no browser, or where it asks one host for
  `STRANGER_PATHS` different paths within the minute: people come by a few links, programs that search come by lists.
- sign-in: `SIGN_IN_LIMIT` failures from one address within five minutes: some forty people mistype at the same time
  only where a password list is being tried.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from audit.detect.signal import Kind, Seen, Severity, Signal, joins_of, named

MINUTE: Final = 60.0
FIVE_MINUTES: Final = 300.0
USER_LIMIT: Final = 30
USER_PATHS: Final = 5
ADDRESS_LIMIT: Final = 30
STRANGER_PATHS: Final = 30
SIGN_IN_LIMIT: Final = 40
KEPT: Final = 20_000  # persons or addresses counted at once
_EVIDENCE: Final = 10

BY_POLICY: Final = frozenset({
    "denied_by_rule", "unmet_conditions", "no_applicable_rule", "device_unknown", "device_certificate_revoked",
    "device_owner_mismatch", "user_locked", "device_locked", "session_locked", "group_locked", "app_locked",
    "cross_site", "method_not_allowed",
})  # fmt: skip
NO_BROWSER: Final = frozenset({
    "malformed_request", "path_not_canonical", "header_not_allowed", "method_not_allowed", "unknown_host",
    "misdirected", "too_large", "rate_limited",
})  # fmt: skip
_DISABLED: Final = {"user_disabled": "無効化されたアカウント", "contract_ended": "契約の終わったアカウント"}


@dataclass(slots=True)
class _Hit:
    at: float
    count: int
    id: str
    what: str


class Burst:
    """Counts hits by key within a window; when the limit is reached it says so and begins anew."""

    def __init__(self, window: float, limit: int) -> None:
        self._window = window
        self._limit = limit
        self._keys: OrderedDict[str, deque[_Hit]] = OrderedDict()

    def hit(self, key: str, seen: Seen, count: int, what: str, kinds: int = 1) -> list[_Hit]:
        """Count; return the hits once there are `limit` of at least `kinds` sorts, else nothing."""
        hits = self._keys.setdefault(key, deque(maxlen=self._limit))
        self._keys.move_to_end(key)
        if len(self._keys) > KEPT:
            self._keys.popitem(last=False)
        hits.append(_Hit(seen.at, count, seen.id, what))
        while hits[0].at <= seen.at - self._window:
            hits.popleft()
        if sum(each.count for each in hits) < self._limit or len({each.what for each in hits}) < kinds:
            return []
        del self._keys[key]
        return list(hits)

    def snapshot(self) -> Any:
        """Return the state as JSON values."""
        return [(key, [(hit.at, hit.count, hit.id, hit.what) for hit in hits]) for key, hits in self._keys.items()]

    def restore(self, saved: Any) -> None:
        """Go on from `snapshot`'s value."""
        self._keys = OrderedDict((key, deque((_Hit(*row) for row in rows), self._limit)) for key, rows in saved)


class Refusals:
    """Finds bursts of refusals and attempts on accounts that are no longer in use."""

    def __init__(self) -> None:
        self._users = Burst(MINUTE, USER_LIMIT)
        self._addresses = Burst(MINUTE, ADDRESS_LIMIT)
        self._strangers = Burst(MINUTE, STRANGER_PATHS)
        self._sign_ins = Burst(FIVE_MINUTES, SIGN_IN_LIMIT)

    def snapshot(self) -> Any:
        """Return the state as JSON values."""
        return [burst.snapshot() for burst in self._bursts()]

    def restore(self, saved: Any) -> None:
        """Go on from `snapshot`'s value."""
        for burst, state in zip(self._bursts(), saved, strict=True):
            burst.restore(state)

    def take(self, seen: Seen) -> Iterator[Signal]:
        """Look at one record."""
        action, reason = seen.text("event.action"), seen.text("sekisho.reason")
        if seen.record.get("event.outcome") != "failure" or not reason:
            return
        signing_in = action.startswith("auth.")
        if not signing_in and action not in ("request.decided", "request.coalesced"):
            return  # such as a connection that was open and is cut: it ends with a reason, and nobody tried anything
        if reason in _DISABLED and seen.text("user.id"):
            yield _disabled(seen, reason)
        yield from self._sign_in(seen) if signing_in else self._request(seen, reason)

    def _bursts(self) -> tuple[Burst, ...]:
        return self._users, self._addresses, self._strangers, self._sign_ins

    def _request(self, seen: Seen, reason: str) -> Iterator[Signal]:
        count = seen.record.get("sekisho.count", 1)
        user, address = seen.text("user.id"), seen.text("source.ip")
        if user and reason in BY_POLICY:
            path = seen.text("url.domain") + seen.text("url.path")
            if hits := self._users.hit(user, seen, 1, path, USER_PATHS):
                yield _of_user(seen, hits)
        if not address:
            return
        program = reason == "sign_in_required" and _is_program(seen)
        if (reason in NO_BROWSER or program) and (hits := self._addresses.hit(address, seen, count, reason)):
            yield _of_address(seen, hits, Severity.MEDIUM)
        if reason == "sign_in_required" and not program and seen.text("url.path"):
            key = f"{address} {seen.text('url.domain')}"
            if hits := self._strangers.hit(key, seen, 1, seen.text("url.path"), STRANGER_PATHS):
                yield _of_address(seen, hits, Severity.MEDIUM)

    def _sign_in(self, seen: Seen) -> Iterator[Signal]:
        address = seen.text("source.ip")
        account = seen.text("user.id") or seen.text("sekisho.account.digest")
        if address and (hits := self._sign_ins.hit(address, seen, 1, account)):
            accounts = len({hit.what for hit in hits})
            words = (
                f"{address}: {int(FIVE_MINUTES // 60)} 分以内に {len(hits)} 回サインインに失敗しました"
                f"({accounts} アカウント)。パスワードの総当たりの可能性があります。"
            )
            yield _at_address(Kind.SIGN_IN_FAILURES_OF_ADDRESS, Severity.HIGH, seen, hits, words)


def _is_program(seen: Seen) -> bool:
    """Whether the client names itself as something else than a browser. All browsers begin as Mozilla did."""
    agent = seen.text("user_agent.original")
    return bool(agent) and not agent.startswith("Mozilla/")


def _disabled(seen: Seen, reason: str) -> Signal:
    who, login = _DISABLED[reason], seen.text("user.name")
    words = f"{login}: {who}の利用が試みられました(拒否済み)。本人か、情報を知る第三者かを確かめてください。"
    command = f"sekisho events search --user {login} --since 7d"
    subject = f"user:{seen.text('user.id')}"
    return Signal(
        Kind.DISABLED_ACCOUNT_TRIED,
        Severity.MEDIUM,
        subject,
        seen.at,
        (seen.id,),
        words,
        command,
        joins_of(seen),
        named(seen),
    )


def _of_user(seen: Seen, hits: list[_Hit]) -> Signal:
    login, paths = seen.text("user.name"), len({hit.what for hit in hits})
    words = (
        f"{login}: 1 分以内に {len(hits)} 回、許可されていない通信が拒否されました({paths} か所)。"
        "利用できない業務を探している可能性があります。"
    )
    command = f"sekisho sessions revoke --user {login} --reason '拒否の集中'"
    subject = f"user:{seen.text('user.id')}"
    return Signal(
        Kind.REFUSALS_OF_USER, Severity.MEDIUM, subject, seen.at, _evidence(hits), words, command, joins_of(seen),
        named(seen),
    )  # fmt: skip


def _of_address(seen: Seen, hits: list[_Hit], severity: Severity) -> Signal:
    total = sum(hit.count for hit in hits)
    reasons = "、".join(sorted({hit.what for hit in hits if "/" not in hit.what})) or "未サインインで多数のパス"
    address = seen.text("source.ip")
    words = f"{address}: 1 分以内に {total} 回以上の通信が拒否されました({reasons})。探索の可能性があります。"
    return _at_address(Kind.REFUSALS_OF_ADDRESS, severity, seen, hits, words)


def _at_address(kind: Kind, severity: Severity, seen: Seen, hits: list[_Hit], words: str) -> Signal:
    address = seen.text("source.ip")
    command = f"sekisho events search source.ip={address} --outcome failure --since 1h"
    key = f"address:{address}"
    return Signal(kind, severity, key, seen.at, _evidence(hits), words, command, (key,), {"source.ip": address})


def _evidence(hits: list[_Hit]) -> tuple[str, ...]:
    return tuple(hit.id for hit in hits[-_EVIDENCE:])
