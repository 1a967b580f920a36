"""A revocation that comes between a decision and its record: the request is not live yet, and must not go through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.gate.request import RequestHead
from gateway.gate.verdict import Refuse, Verdict
from tests.support.edge import hello, running

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
Done = Callable[[BaseException | None], None]


def revoked(request: RequestHead) -> Verdict:
    return Refuse("REQ", {}, 403, "session_revoked")


class Records(list[Done]):
    """Records that wait to be kept."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = asyncio.Event()

    def append(self, done: Done) -> None:
        super().append(done)
        self.waiting.set()

    async def one(self) -> Done:
        await asyncio.wait_for(self.waiting.wait(), 30)
        return self.pop()


@pytest.mark.promise("P3.not-between-decision-and-record")
async def test_request_revoked_while_its_record_is_kept_never_reaches_the_app() -> None:
    async with running(hello) as edge:
        records = Records()
        edge.gatekeeper.hold_records = records
        reader, writer = await edge.connect()
        writer.write(GET)
        kept = await records.one()
        edge.gatekeeper.refuse = revoked
        assert edge.services.live.rejudge(edge.services.live.all(), lambda _: "session_revoked") == {}
        kept(None)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 30)
        assert edge.app.streams == []
        ((_, outcome),) = edge.gatekeeper.outcomes
        assert outcome.reason == "session_revoked"
        writer.close()


async def test_request_that_is_still_allowed_after_a_change_goes_through() -> None:
    async with running(hello) as edge:
        records = Records()
        edge.gatekeeper.hold_records = records
        reader, writer = await edge.connect()
        writer.write(GET)
        kept = await records.one()
        edge.services.live.rejudge((), lambda _: "session_revoked")
        kept(None)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
