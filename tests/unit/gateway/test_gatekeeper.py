"""The gate with clock, journals and sockets: what it does when something around it fails, and that nothing slips by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from audit.journal import JournalUnhealthy
from gateway.edge.services import RecordNotKept
from gateway.gate.limits import Rate
from gateway.gate.request import Peer
from gateway.gate.verdict import Refuse, SignIn
from gateway.gatekeeper import Rates
from gateway.state.changes import Change
from policies.compile import compile_policy
from policies.reasons import Reason
from tests.support.edge import hello
from tests.support.gate_world import HOST, PORTAL, TOKEN, condition, head, policy, rule
from tests.support.real_gate import WIDE, RealGate, real_gate

Body = Callable[[RealGate], Awaitable[None]]
PEER = Peer("10.1.2.3", 1, "loopback", "http", "")
COOKIE = f"Cookie: __Host-sekisho-app={TOKEN}\r\n"


def run(folder: Path, body: Body, rates: Rates | None = None) -> None:
    async def main() -> None:
        async with real_gate(folder, hello, rates) as gate:
            gate.world.put("device", "d1", gate.world.view.devices["d1"])
            await body(gate)

    uvloop.run(main())


def get(path: str, *lines: str, host: str = HOST) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{''.join(lines)}Connection: close\r\n\r\n".encode()


@pytest.mark.promise("P1.internal-error-refuses")
def test_a_fault_inside_the_gate_refuses_and_is_recorded(tmp_path: Path) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("secret detail")

    async def body(gate: RealGate) -> None:
        gate.world.view.policy = Broken()  # type: ignore[assignment]
        answer = await gate.ask(get("/x", COOKIE, "Accept: text/html\r\n"))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"secret detail" not in answer
        assert gate.app.streams == []
        assert gate.gate.counters.internal_errors == 1
        assert "internal_error" in {record.get("sekisho.reason") for record in gate.records("worker-0.anonymous")}
        assert gate.gate.judge_again(head(peer=PEER)) == "internal_error"

    run(tmp_path, body)


@pytest.mark.promise("P1.unrecorded-is-refused")
def test_nothing_passes_that_cannot_be_recorded(tmp_path: Path) -> None:
    async def body(gate: RealGate) -> None:
        journal = gate.gate._trail.journal

        def full(*_: object) -> int:
            raise JournalUnhealthy("disk full")

        journal.append = journal.append_encoded = full  # type: ignore[method-assign,assignment]
        allow(gate)
        answer = await gate.ask(get("/x", COOKIE))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"journal_unhealthy" in answer
        assert gate.app.streams == []
        assert gate.gate.counters.refused_unhealthy == 1
        with pytest.raises(RecordNotKept):
            gate.gate.keep(gate.gate.judge(head(peer=PEER)), lambda error: None)

    run(tmp_path, body)


def allow(gate: RealGate) -> None:
    """Without certificates on this listener, let the policy ask for the zone only."""
    gate.world.view.set_policy(
        compile_policy(policy(rule("docs", when=(condition("app", "any_of", "docs"),)))), Change(1)
    )


def test_decision_and_completion_are_in_the_journal(tmp_path: Path) -> None:
    async def body(gate: RealGate) -> None:
        allow(gate)
        answer = await gate.ask(get("/list?q=geheim", COOKIE))
        assert answer.startswith(b"HTTP/1.1 200 ")
        await gate.kept()
        decided, completed = gate.records("worker-0")[1:3]
        assert (decided["event.action"], completed["event.action"]) == ("request.decided", "request.completed")
        assert decided["http.request.id"] == completed["http.request.id"]
        assert completed["http.response.status_code"] == 200
        assert TOKEN not in str(gate.records("worker-0"))
        assert "geheim" not in str(gate.records("worker-0"))
        assert gate.gate.use.take().keys() == {"s1"}

    run(tmp_path, body)


def test_an_unknown_token_is_asked_about_once(tmp_path: Path) -> None:
    async def body(gate: RealGate) -> None:
        cookie = f"Cookie: __Host-sekisho-app={'Z' * 43}\r\n"
        for _ in range(3):
            assert (await gate.ask(get("/", cookie))).startswith(b"HTTP/1.1 401 ")
        assert len(gate.asked) == 1
        for number in range(60):
            await gate.ask(get("/", f"Cookie: __Host-sekisho-app={number:043d}\r\n"))
        assert len(gate.asked) <= 40

    run(tmp_path, body)


def test_a_person_and_an_address_have_their_limits(tmp_path: Path) -> None:
    async def body(gate: RealGate) -> None:
        allow(gate)
        kinds = [type(gate.gate.judge(head(peer=PEER))).__name__ for _ in range(3)]
        assert kinds == ["Forward", "Forward", "Limited"]

    run(tmp_path / "user", body, Rates(WIDE, Rate(0.001, 2), WIDE))
    run(tmp_path / "session", body, Rates(WIDE, WIDE, Rate(0.001, 2)))
    run(tmp_path / "address", body, Rates(Rate(0.001, 2), WIDE, WIDE))


def test_live_exchanges_are_judged_again(tmp_path: Path) -> None:
    async def body(gate: RealGate) -> None:
        allow(gate)
        again = gate.gate.judge_again
        assert again(head(peer=PEER)) == ""
        assert again(head(host=PORTAL, cookie=None, peer=PEER)) == ""
        gate.world.lock("group", "soumu")
        assert again(head(peer=PEER)) == Reason.GROUP_LOCKED
        assert isinstance(gate.gate.judge(head(peer=PEER)), Refuse)
        assert isinstance(gate.gate.judge(head(cookie=None, peer=PEER)), SignIn)

    run(tmp_path, body)


def test_a_refusal_without_words_is_still_a_refusal(tmp_path: Path) -> None:
    async def body(gate: RealGate) -> None:
        gate.world.view.pages["refusal.csp"] = "壊れた"
        answer = await gate.ask(get("/x", "Sec-Fetch-Mode: navigate\r\n", host="nowhere.test"))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert gate.gate.counters.internal_errors == 1

    run(tmp_path, body)


def test_control_being_away_is_told(tmp_path: Path) -> None:
    async def body(gate: RealGate) -> None:
        answer = await gate.ask(get("/sign-in", "Accept: text/html\r\n", host=PORTAL))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert "一時的に利用できません".encode() in answer
        await gate.kept()
        completed = gate.records("worker-0.anonymous")[2]
        assert (completed["sekisho.reason"], completed["http.response.status_code"]) == ("control_unavailable", 503)

    run(tmp_path, body)


def test_handshakes_and_broken_heads_are_recorded(tmp_path: Path) -> None:
    async def body(gate: RealGate) -> None:
        gate.gate.handshake_failed(Peer("10.0.0.1", 1, "public", "https", "x"), "unknown_ca")
        answer = await gate.ask(b"GET /../etc HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        await gate.kept()
        records = gate.records("worker-0.anonymous")[1:-1]
        assert [record["event.action"] for record in records] == ["tls.failed", "request.decided"]
        assert records[1]["sekisho.reason"] == "path_not_canonical"
        assert "etc" not in str(records)

    run(tmp_path, body)


@pytest.mark.promise("P1.streams-are-bounded-per-session")
def test_a_session_with_too_many_streams_is_limited_on_record(tmp_path: Path) -> None:
    async def body(gate: RealGate) -> None:
        allow(gate)
        gate.gate.crowded = {"s1"}
        answer = await gate.ask(get("/x", COOKIE))
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert 10 <= int(answer.partition(b"\r\nRetry-After: ")[2].split(b"\r\n")[0]) <= 15
        assert gate.app.streams == []
        await gate.kept()
        (decided,) = gate.records("worker-0")[1:-1]
        assert (decided["sekisho.verdict"], decided["user.id"]) == ("limited", "u1")
        assert gate.gate.counters.as_mapping()["reached"] == {"streams_per_session": 1}
        gate.gate.crowded = {"other"}
        assert (await gate.ask(get("/x", COOKIE))).startswith(b"HTTP/1.1 200 ")

    run(tmp_path, body)


@pytest.mark.promise("P1.connections-are-bounded")
def test_connections_turned_away_are_recorded_then_only_counted(tmp_path: Path) -> None:
    async def main() -> None:
        async with real_gate(tmp_path, hello, budget=2) as gate:
            for _ in range(5):
                gate.gate.turned_away(PEER, "connections_per_address")
            gate.gate._trail.strangers.flush(gate.gate.moment().wall)
            await gate.kept()
            records = gate.records("worker-0.anonymous")[1:-1]
            assert [record["event.action"] for record in records] == ["connection.refused"] * 2 + ["request.coalesced"]
            assert (records[0]["source.ip"], records[0]["error.message"]) == ("10.1.2.3", "connections_per_address")
            assert (records[2]["sekisho.count"], records[2]["sekisho.reason"]) == (3, "connections_per_address")

    uvloop.run(main())
