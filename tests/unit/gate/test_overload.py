"""A worker that is late refuses a share of what is asked of the apps, early and on record, and its own pages never."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from gateway.edge.client_socket import ClientSocket
from gateway.edge.timeouts import PERIOD, Sweeper
from gateway.gate.overload import Overload
from tests.support.edge import hello, read_head, running
from tests.support.gate_world import HOST, PORTAL, TOKEN
from tests.support.real_gate import RealGate, real_gate
from tests.unit.gateway.test_gatekeeper import allow


def after(lateness: list[float], busy: float = 0.9) -> int:
    overload = Overload(0.1)
    for late in lateness:
        overload.swept(late, busy)
    return overload.share


@pytest.mark.promise("P4.overload-is-refused-early")
def test_a_share_is_refused_while_sweeps_are_late() -> None:
    assert after([0.05] * 100) == 0
    assert after([0.0, 5.0, 5.0, 0.0, 5.0, 5.0, 0.0]) == 0  # single pauses
    assert after([0.2] * 100, busy=0.1) == 0  # somebody else has the CPU
    assert after([0.2] * 3) == 2
    assert after([0.2, 0.2, 0.2, 0.07, 0.2]) == 4
    assert after([0.2] * 100) == 15  # one of sixteen is always served
    assert after([0.2] * 100 + [0.07] * 100) == 15  # in between: as it is
    assert after([0.2] * 100 + [0.01] * 14) == 1
    assert after([0.2] * 100 + [0.01] * 15) == 0


def test_the_way_back_takes_a_sweep_for_each_part() -> None:
    overload = Overload(0.1)
    assert overload.recovery(PERIOD) == 0.0
    for _ in range(5):
        overload.swept(0.5, 0.9)
    assert overload.share == 6
    assert overload.recovery(PERIOD) == 6 * (PERIOD + 0.5)  # as late as the last one was
    overload.swept(0.0, 0.9)
    for left in range(5, 0, -1):
        assert overload.recovery(PERIOD) == left * PERIOD
        overload.swept(0.0, 0.9)
    assert overload.share == overload.recovery(PERIOD) == 0


def test_refusals_are_spread_evenly() -> None:
    for share in range(16):
        overload = Overload(0.1)
        overload.share = share
        refused = [overload.refuses() for _ in range(1600)]
        assert sum(refused) == 100 * share
        assert all(abs(sum(refused[at : at + 16]) - share) <= 1 for at in range(1500))


def test_the_sweeper_knows_how_late_it_is() -> None:
    async def main() -> float:
        now = 0.0
        sweeper = Sweeper(lambda: now, lambda: now / 2)
        seen = asyncio.Event()
        sweeper.every(0.0, seen.set)
        sweeper.start(asyncio.get_running_loop())
        now = PERIOD + 0.4
        await asyncio.wait_for(seen.wait(), 30)
        late = sweeper.late
        assert sweeper.busy == pytest.approx(0.5)
        seen.clear()
        now += PERIOD
        await asyncio.wait_for(seen.wait(), 30)
        assert sweeper.late == pytest.approx(0.0)
        sweeper.stop()
        return late

    assert uvloop.run(main()) == pytest.approx(0.4)


@pytest.mark.promise("P4.overload-is-refused-early")
def test_an_overloaded_worker_refuses_on_record_and_serves_the_rest(tmp_path: Path) -> None:
    """Four of five get 503 with Retry-After and a 受付番号, on a connection that stays; the rest reach the app."""
    asked = (
        f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nCookie: __Host-sekisho-app={TOKEN}\r\nConnection: close\r\n\r\n".encode()
    )

    async def run(gate: RealGate) -> None:
        allow(gate)
        gate.gate.overload.share = 12
        answers = [await gate.ask(asked) for _ in range(32)]
        refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 503 ")]
        assert len(refused) == 24
        assert all(b"overloaded" in answer for answer in refused)
        waits = {int(answer.partition(b"\r\nRetry-After: ")[2].split(b"\r\n")[0]) for answer in refused}
        assert waits <= {3, 4, 5}  # twelve sweeps of a quarter of a second, if each is on time
        assert len(waits) > 1
        await gate.kept()
        recorded = [each.get("sekisho.reason") for each in gate.records("worker-0.anonymous")]
        assert recorded.count("overloaded") == 24
        forwarded = [each for each in gate.records("worker-0") if each["event.action"] == "request.decided"]
        assert len(forwarded) == sum(stream.data.count(b"GET /x ") for stream in gate.app.streams) == 8
        assert gate.gate.counters.reached == {"overload_lag": 24}

    async def main() -> None:
        async with real_gate(tmp_path, hello) as gate:
            await run(gate)

    uvloop.run(main())


def test_our_own_pages_keep_their_room(tmp_path: Path) -> None:
    async def main() -> None:
        async with real_gate(tmp_path, hello) as gate:
            gate.gate.overload.share = 15
            for host, path in ((PORTAL, "/sign-in"), (HOST, "/.sekisho/callback")):
                for _ in range(16):
                    asked = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                    assert b"overloaded" not in await gate.ask(asked.encode())
            assert not gate.gate.counters.reached

    uvloop.run(main())


def test_who_was_told_to_wait_is_not_read_for_a_moment(tmp_path: Path) -> None:
    """Else each refusal would bring the next request, and refusing would cost all that serving does."""
    asked = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nAccept: application/json\r\n\r\n".encode()

    async def main() -> None:
        async with real_gate(tmp_path, hello) as gate:
            gate.gate.overload.share = 15
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            refused = 0
            begun = asyncio.get_running_loop().time()
            while refused < 2:
                writer.write(asked)
                head = await asyncio.wait_for(read_head(reader), 30)
                length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                if head.startswith(b"HTTP/1.1 503 "):
                    refused += 1
                    if refused == 1:
                        begun = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - begun > 0.9
            writer.close()

    uvloop.run(main())


def test_a_rest_does_not_undo_what_somebody_else_holds() -> None:
    """An app that does not keep up, too, stops reading from the client: the end of a rest must not go on with it."""

    async def main() -> list[bool]:
        async with running(hello) as edge:
            client = ClientSocket(edge.services)
            client.rest()
            held = [client.held]
            client.hold(True)
            client._rested()
            held.append(client.held)
            client.rest()
            client._rested()
            return [*held, client.held]

    assert uvloop.run(main()) == [True, True, False]
