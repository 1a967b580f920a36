"""What lives on is told of while it lives: progress records of tunnels and long transfers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import uvloop

from audit.documents import Folder
from audit.event import whole
from audit.journal import JournalUnhealthy
from gateway.edge.services import Outcome
from gateway.gate.verdict import Local
from tests.support.gate_world import HOST, PORTAL, head
from tests.support.real_gate import RealGate, real_gate
from tests.unit.edge.test_live import echo, masked
from tests.unit.gateway.test_gatekeeper import allow
from tests.unit.gateway.test_websocket_origins import upgrade


async def told(gate: RealGate, times: int) -> None:
    """Tell of all that lives, as a worker does each time its interval has passed."""
    gate.live.settle()
    for exchange in gate.live.untold(time.monotonic() + 301.0 * times, 300.0):
        gate.gate.progressed(exchange.verdict, exchange.outcome())
    await gate.kept()


@pytest.mark.promise("P2.progress-on-record")
def test_an_open_tunnel_tells_how_far_it_is(tmp_path: Path) -> None:
    """Who, what, bytes and frames so far under the request's id; its copy is a document of its own."""

    async def main() -> None:
        async with real_gate(tmp_path, echo) as gate:
            allow(gate)
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(upgrade(path="/people/7"))
            await reader.readuntil(b"\r\n\r\n")
            for frame in range(1, 3):
                writer.write(masked(b"hello"))
                await reader.readexactly(7)
                await told(gate, frame)
                records = [whole(record) for record in gate.records("worker-0")]
                decided = next(record for record in records if record["event.action"] == "request.decided")
                progress = [record for record in records if record["event.action"] == "tunnel.progress"]
                latest = progress[-1]
                assert len(progress) == frame
                assert latest["http.request.id"] == decided["http.request.id"]
                assert (latest["user.id"], latest["sekisho.app.id"], latest["url.domain"]) == ("u1", "docs", HOST)
                assert latest["url.path"] == decided["url.path"] != "/people/7"
                assert (latest["sekisho.frames.in"], latest["sekisho.frames.out"]) == (frame, frame)
                assert latest["http.request.body.bytes"] == 11 * frame
                assert latest["http.response.body.bytes"] == 7 * frame
                assert latest["event.dataset"] == "sekisho.access"
                made = Folder().take(latest, time.time())
                name = f"{latest['http.request.id']}.p{latest['epoch']}:{latest['seq']}"
                assert [document.id for document in made] == [name]
            writer.close()

    uvloop.run(main())


def test_progress_that_cannot_be_recorded_is_counted(tmp_path: Path) -> None:
    """The tunnel goes on: it was allowed on record, and what it carried is told when it ends."""

    async def main() -> None:
        async with real_gate(tmp_path, echo) as gate:
            allow(gate)
            verdict = gate.gate.judge(head(peer=head().peer))
            own = gate.gate.judge(head(host=PORTAL, cookie=None))
            outcome = Outcome(200, "", False, 1, 2, 3.0, None)

            def full(*_: object) -> int:
                raise JournalUnhealthy("disk full")

            gate.gate._trail.journal.append_encoded = full  # type: ignore[method-assign]
            assert isinstance(own, Local)
            gate.gate.progressed(own, outcome)  # our own pages last for a moment and have none
            assert gate.gate.counters.completions_lost == 0
            gate.gate.progressed(verdict, outcome)  # type: ignore[arg-type]
            assert gate.gate.counters.completions_lost == 1

    uvloop.run(main())
