"""Each detector as a table: what it is there for fires, what looks like it in normal work does not."""

from __future__ import annotations

from typing import Any

import pytest

from audit.detect.refusals import ADDRESS_LIMIT, SIGN_IN_LIMIT, STRANGER_PATHS, USER_LIMIT, Refusals
from audit.detect.sessions import BY_OPERATOR, SessionPlaces
from audit.detect.signal import Kind, Seen, Severity, Signal

T0 = 1_790_000_000.0
EDGE = "Mozilla/5.0 (Windows NT 10.0) Edg/154.0.1"
EDGE_NEXT = "Mozilla/5.0 (Windows NT 10.0) Edg/155.0.2"
CURL = "curl/8.5.0"


def run(detector: SessionPlaces | Refusals, *records: dict[str, Any]) -> list[Signal]:
    signals: list[Signal] = []
    for number, record in enumerate(records):
        at = record.pop("at", T0 + number)
        signals += detector.take(Seen(record, f"worker-0:1:{number}", at))
    return signals


def started(**more: Any) -> dict[str, Any]:
    return {
        "event.action": "session.started", "sekisho.session.id": "s1", "user.id": "u1", "user.name": "sato",
        "source.ip": "10.1.2.3", "user_agent.original": EDGE, **more,
    }  # fmt: skip


def passed(**more: Any) -> dict[str, Any]:
    return {
        "event.action": "request.decided", "sekisho.verdict": "forward", "event.outcome": "success",
        "sekisho.session.id": "s1", "user.id": "u1", "user.name": "sato", "source.ip": "10.1.2.3", **more,
    }  # fmt: skip


def after_end(reason: str, **more: Any) -> dict[str, Any]:
    return {
        "event.action": "request.decided", "sekisho.verdict": "sign_in", "event.outcome": "failure",
        "sekisho.reason": reason, "sekisho.session.id": "s1", "related.user": ["u1", "sato"], "source.ip": "10.1.2.3",
        "user_agent.original": EDGE, **more,
    }  # fmt: skip


def refused(reason: str, path: str, **more: Any) -> dict[str, Any]:
    return {
        "event.action": "request.decided", "sekisho.verdict": "refuse", "event.outcome": "failure",
        "sekisho.reason": reason, "url.domain": "tax.example", "url.path": path, "source.ip": "203.0.113.9",
        "user_agent.original": EDGE, **more,
    }  # fmt: skip


def cut_off(reason: str, **more: Any) -> dict[str, Any]:
    """The end of a connection that was open: nobody asked for anything."""
    return {
        "event.action": "request.completed", "event.outcome": "failure", "sekisho.reason": reason,
        "sekisho.session.id": "s1", "user.id": "u1", "user.name": "sato", "source.ip": "10.1.2.3", **more,
    }  # fmt: skip


FAR = {"source.ip": "203.0.113.9"}
SESSIONS: list[tuple[str, list[dict[str, Any]], list[Kind]]] = [
    ("on the device of the sign-in", [started(), passed(), passed()], []),
    ("on another device", [started(), passed(**{"sekisho.reason": "device_changed", "sekisho.verdict": "refuse"})],
     [Kind.SESSION_ON_TWO_DEVICES]),
    ("from office to mobile, once", [started(), passed(), passed(**FAR), passed(**FAR)], []),
    ("there and back again", [started(), passed(**FAR), passed(), passed()], []),
    ("from two networks in turn", [started(), *(passed(**FAR) if n % 2 else passed() for n in range(6))],
     [Kind.SESSION_ON_TWO_ADDRESSES]),
    ("from two networks in turn, over hours",
     [started(), *(passed(**(FAR if n % 2 else {}), at=T0 + 400 * n) for n in range(6))], []),
    ("neighbouring addresses", [started(), *(passed(**{"source.ip": f"10.1.{n}.1"}) for n in range(9))], []),
    ("by curl as well", [started(), passed(), passed(**{"user_agent.original": CURL})],
     [Kind.SESSION_ON_TWO_BROWSERS]),
    ("by the same browser, updated", [started(), passed(), passed(**{"user_agent.original": EDGE_NEXT})], []),
    ("by curl hours after the browser's last request",
     [started(), passed(), passed(**{"user_agent.original": CURL}, at=T0 + 7200)], []),
    ("after sign-out, a tab left open", [started(), passed(), after_end("signed_out")], []),
    ("after idleness, a tab left open", [started(), after_end("session_idle")], []),
    ("after sign-out, from elsewhere", [started(), after_end("signed_out", **FAR)], [Kind.ENDED_SESSION_USED]),
    ("after expiry, by curl", [started(), after_end("session_expired", **{"user_agent.original": CURL})],
     [Kind.ENDED_SESSION_USED]),
    ("after revocation, anyhow", [started(), after_end("session_revoked")], [Kind.ENDED_SESSION_USED]),
    ("of nobody", [after_end("sign_in_required")], []),
    *((f"open when it was cut: {reason}", [started(), passed(), cut_off(reason), cut_off(reason, **FAR)], [])
      for reason in sorted(BY_OPERATOR | {"contract_ended", "device_changed", "session_expired"})),
]  # fmt: skip


@pytest.mark.parametrize(("records", "found"), [row[1:] for row in SESSIONS], ids=[row[0] for row in SESSIONS])
def test_sessions(records: list[dict[str, Any]], found: list[Kind]) -> None:
    assert [signal.kind for signal in run(SessionPlaces(), *records)] == found


def sign_in(**more: Any) -> dict[str, Any]:
    return {
        "event.action": "auth.password", "event.outcome": "failure", "sekisho.reason": "credentials_wrong",
        "source.ip": "203.0.113.9", "sekisho.account.digest": "d", **more,
    }  # fmt: skip


DISABLED = {"user.id": "u9", "user.name": "ito", "sekisho.reason": "user_disabled"}
BY_SATO = {"user.id": "u1", "user.name": "sato"}
REFUSALS: list[tuple[str, list[dict[str, Any]], list[Kind]]] = [
    ("a person tries many places", [refused("denied_by_rule", f"/{n}", **BY_SATO) for n in range(USER_LIMIT)],
     [Kind.REFUSALS_OF_USER]),
    ("one place asked again and again", [refused("denied_by_rule", "/poll", **BY_SATO) for _ in range(3 * USER_LIMIT)],
     []),
    ("one below the limit", [refused("denied_by_rule", f"/{n}", **BY_SATO) for n in range(USER_LIMIT - 1)], []),
    ("spread over an hour",
     [refused("denied_by_rule", f"/{n}", **BY_SATO, at=T0 + 60 * n) for n in range(2 * USER_LIMIT)], []),
    ("two people each below the limit",
     [refused("denied_by_rule", f"/{n}", **{"user.id": f"u{n % 2}", "user.name": "x"}) for n in range(USER_LIMIT)], []),
    ("malformed requests", [refused("malformed_request", "") for _ in range(ADDRESS_LIMIT)],
     [Kind.REFUSALS_OF_ADDRESS]),
    ("counted together",
     [{"event.action": "request.coalesced", "event.outcome": "failure", "sekisho.reason": "unknown_host",
       "source.ip": "203.0.113.9", "sekisho.count": 5000}], [Kind.REFUSALS_OF_ADDRESS]),
    ("a city hall opens its browsers", [refused("sign_in_required", f"/{n % 8}") for n in range(2000)], []),
    ("many paths without signing in", [refused("sign_in_required", f"/{n}") for n in range(STRANGER_PATHS)],
     [Kind.REFUSALS_OF_ADDRESS]),
    ("a program that is not signed in",
     [refused("sign_in_required", "/", **{"user_agent.original": CURL}) for _ in range(ADDRESS_LIMIT)],
     [Kind.REFUSALS_OF_ADDRESS]),
    ("passwords tried", [sign_in(**{"sekisho.account.digest": f"d{n}"}) for n in range(SIGN_IN_LIMIT)],
     [Kind.SIGN_IN_FAILURES_OF_ADDRESS]),
    ("a bad morning", [sign_in() for _ in range(SIGN_IN_LIMIT - 1)], []),
    ("a disabled account", [sign_in(**DISABLED)], [Kind.DISABLED_ACCOUNT_TRIED]),
    ("a contract that ended", [refused("contract_ended", "/", **BY_SATO)], [Kind.DISABLED_ACCOUNT_TRIED]),
    *((f"a connection cut: {reason}", [cut_off(reason, **{"url.path": f"/{n}"}) for n in range(USER_LIMIT)], [])
      for reason in ("user_disabled", "contract_ended", "user_locked", "denied_by_rule", "malformed_request")),
    ("a disabled account's sessions ended",
     [{"event.action": "session.ended", "sekisho.session.id": "s1", **DISABLED}], []),
    ("allowed", [passed() for _ in range(100)], []),
]  # fmt: skip


@pytest.mark.parametrize(("records", "found"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refusals(records: list[dict[str, Any]], found: list[Kind]) -> None:
    spaced = [{"at": T0 + 0.02 * number, **record} for number, record in enumerate(records)]
    assert [signal.kind for signal in run(Refusals(), *spaced)] == found


def test_a_signal_names_its_evidence_and_one_thing_to_do() -> None:
    (signal,) = run(SessionPlaces(), started(), after_end("session_revoked", **FAR))
    assert signal.severity is Severity.HIGH
    assert signal.evidence == ("worker-0:1:1",)
    assert signal.command.startswith("sekisho locks add --user sato ")
    assert "別の接続元" in signal.message
    assert set(signal.joins) == {"user:u1", "session:s1"}
    assert signal.fields["user.id"] == "u1"


@pytest.mark.parametrize("cut", range(1, USER_LIMIT))
def test_a_burst_over_a_restart_is_still_one(cut: int) -> None:
    records = [refused("denied_by_rule", f"/{n}", **BY_SATO, at=T0 + n / 10) for n in range(USER_LIMIT)]
    first, second = Refusals(), Refusals()
    assert run(first, *records[:cut]) == []
    second.restore(first.snapshot())
    assert [signal.kind for signal in run(second, *records[cut:])] == [Kind.REFUSALS_OF_USER]


def test_where_a_session_was_used_survives_a_restart() -> None:
    first, second = SessionPlaces(), SessionPlaces()
    run(first, started(), passed())
    second.restore(first.snapshot())
    assert [s.kind for s in run(second, after_end("signed_out"), after_end("signed_out", **FAR))] == [
        Kind.ENDED_SESSION_USED
    ]
