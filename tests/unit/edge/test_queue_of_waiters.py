"""How many may wait for an app: as many as have their turn in time."""

from __future__ import annotations

from gateway.edge.queue import Queue
from gateway.edge.services import UpstreamBounds
from tests.unit.edge.test_pool_waiting import Asker


def test_a_queue_takes_one_however_slow_it_was() -> None:
    """Else nothing would show that an app is fast again."""
    queue = Queue(UpstreamBounds(queue=100, queue_wait=10.0))
    queue.enter(Asker(), False, 0.0)
    queue.next(1000.0)
    assert queue.admits(1000.0)
    queue.enter(Asker(), False, 1000.0)
    assert not queue.admits(1000.0)
    for at in range(200):  # every 10 ms from then on
        queue.next(1000.0 + at / 100)
        queue.enter(Asker(), False, 1000.0 + at / 100)
    assert queue.admits(1002.0)


def test_a_queue_that_does_not_move_takes_no_more_than_its_app_can_have_turns() -> None:
    queue = Queue(UpstreamBounds(connections=10, queue=1000, queue_wait=10.0))
    for _ in range(50):
        assert queue.admits(0.0)
        queue.enter(Asker(), False, 0.0)
    assert queue.admits(1.5)  # ten at work: at most seven turns a second
    assert not queue.admits(1.7)


def test_a_queue_without_places_takes_nobody() -> None:
    assert not Queue(UpstreamBounds(queue=0)).admits(0.0)
