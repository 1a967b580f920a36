"""How a live exchange is found again: by what it was forwarded with, and by the certificate that it came with."""

from __future__ import annotations

import pytest

from gateway.edge.live import LiveExchanges
from gateway.edge.services import Outcome
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Forward
from tests.support.gate_world import DEVICE, PEER, World, head


class _Exchange:
    def __init__(self, request: RequestHead, verdict: Forward) -> None:
        self.request = request
        self.verdict = verdict
        self.started = 0.0
        self.request_bytes = 0

    def outcome(self) -> Outcome:
        raise AssertionError("nobody asks")

    def conclude(self, reason: str) -> None:
        raise AssertionError(reason)

    def cut(self, reason: str) -> None:
        raise AssertionError(reason)


def _exchange() -> _Exchange:
    request = head()
    verdict = World().judge(request)
    assert isinstance(verdict, Forward)
    return _Exchange(request, verdict)


@pytest.mark.parametrize("settled", [False, True])
def test_found_by_everything_it_rests_on(settled: bool) -> None:
    live, exchange = LiveExchanges(), _exchange()
    live.add(exchange)
    if settled:
        live.settle()

    assert PEER.certificate is not None
    for index, name in (
        ("session", "s1"), ("user", "u1"), ("app", "docs"), ("device", DEVICE.id),
        ("certificate", PEER.certificate.uuid),
    ):  # fmt: skip
        assert live.find(index, name) == [exchange], index
        assert live.find(index, "other") == []
    live.remove(exchange)
    assert len(live) == 0
    assert live.find("certificate", PEER.certificate.uuid) == []


@pytest.mark.parametrize("count", [0, 1, 29, 30, 31, 100])
def test_shares_together_are_all_that_is_settled_each_once(count: int) -> None:
    live, exchanges = LiveExchanges(), [_exchange() for _ in range(count)]
    for exchange in exchanges:
        live.add(exchange)
    live.settle()

    shares = [each for turn in range(7, 37) for each in live.share(turn, 30)]

    assert sorted(map(id, shares)) == sorted(map(id, exchanges))


def test_what_lives_on_is_told_of_each_time_a_few_at_once() -> None:
    live, exchanges = LiveExchanges(), [_exchange() for _ in range(250)]
    for number, exchange in enumerate(exchanges):
        exchange.started = number / 1000
        live.add(exchange)
    assert live.untold(1000.0, 300.0) == []  # what is young may end at once
    live.settle()
    live.remove(exchanges[0])

    assert live.untold(300.0, 300.0) == []
    assert live.untold(310.0, 300.0) == exchanges[1:201]
    assert live.untold(311.0, 300.0) == exchanges[201:]
    assert live.untold(312.0, 300.0) == []
    live.remove(exchanges[1])
    assert live.untold(610.0, 300.0) == exchanges[2:201]
    for exchange in exchanges:
        live.remove(exchange)
    assert live.untold(1e9, 300.0) == []
