"""A gate that raises although it promised not to: a 503 with a record, and nothing for the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from gateway.gate.verdict import Refuse
from tests.support.edge import Edge, hello, running

GET = b"GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n"


def broken(*arguments: Any) -> Any:
    """A method with a defect."""
    raise KeyError(arguments)


def asked(prepare: Callable[[Edge], None]) -> tuple[bytes, Edge]:
    """What a client gets, and what was kept."""

    async def main() -> tuple[bytes, Edge]:
        async with running(hello) as edge:
            prepare(edge)
            return await edge.ask(GET), edge

    return uvloop.run(main())


@pytest.mark.promise("P1.failing-gate-refuses")
@pytest.mark.parametrize(("method", "records"), [("judge", 1), ("identity", 1), ("answer", 1), ("unkept", 0)])
def test_a_raising_gate_refuses(method: str, records: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever question it fails on, the client is told 503 and the app sees nothing."""

    def prepare(edge: Edge) -> None:
        keeper = edge.gatekeeper
        monkeypatch.setattr(keeper, method, broken)
        if method == "answer":
            monkeypatch.setattr(keeper, "judge", lambda request: Refuse("REQ", {}, 403, "unmet_conditions"))
        keeper.healthy = method != "unkept"

    answer, edge = asked(prepare)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert len(edge.gatekeeper.records) == records
    assert not any(stream.data for stream in edge.app.streams)
