"""A million events on their way to a real Elasticsearch, with random kills of auditor and server, and rollovers.

Nothing lost, nothing twice, nothing changed, by a checker that shares no code with what ships (`copy_checker`).
`SEKISHO_TORTURE_EVENTS` is another number of events, `SEKISHO_TORTURE_SEED` repeats a run's choices.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.tour.elasticsearch import Node, build
from tests.support.busy_journal import BusyWorker
from tests.support.copy_checker import ask, compare, expected
from tests.support.real_parts import program
from tests.support.shipping_auditor import ShippingAuditor

EVENTS = int(os.environ.get("SEKISHO_TORTURE_EVENTS", "1000000"))
BACKLOG = 60_000  # records: there is always something under way
LOT = 5000
WITHIN = 7200.0  # seconds
STREAMS = ("access", "session")
pytestmark = [pytest.mark.timeout(2 * WITHIN), pytest.mark.one_stack]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A server of its own, which is killed."""
    for name in ("java", "mvn", "unzip"):
        program(name)
    build(print)
    running = Node(tmp_path / "node")
    running.folder.mkdir()
    running.start()
    running.await_ready()
    yield running
    running.kill()


class Run:
    """Writers that grow, an auditor that ships, and what befalls them."""

    def __init__(self, node: Node, folder: Path, rng: random.Random) -> None:
        self.node, self.rng, self.befallen = node, rng, Counter[str]()
        self.auditor = ShippingAuditor(folder / "auditor", node, "torture")
        self.auditor.start()
        self.writers = [BusyWorker(self.auditor.journals, f"worker-{number}") for number in range(2)]
        self._server_away_until = 0.0

    @property
    def written(self) -> int:
        """Records of the workers."""
        return sum(writer.records for writer in self.writers)

    @property
    def stored(self) -> int:
        """Records behind which the cursor is."""
        return sum(self.auditor.stored(writer.writer) for writer in self.writers)

    def grow(self) -> None:
        """Keep the backlog up until all is written."""
        while self.written < EVENTS and self.written - self.stored < BACKLOG:
            self.rng.choice(self.writers).write(min(LOT, EVENTS - self.written), time.time())

    def befall(self) -> None:
        """Do one thing to them."""
        what = self.rng.choices(("auditor killed", "server killed", "rolled over", "both killed"), (6, 2, 4, 1))[0]
        self.befallen[what] += 1
        match what:
            case "rolled over":
                ask(self.node, "POST", f"/logs-sekisho.{self.rng.choice(STREAMS)}-torture/_rollover")
                return
            case "auditor killed":
                self.auditor.kill(signal.SIGKILL)
            case "server killed":
                self._bounce()
                return
            case _:
                self.auditor.kill(signal.SIGKILL)
                self._bounce()
        if self.rng.random() < 0.5:  # a rollover while nobody looks: ids would be taken again
            ask(self.node, "POST", "/logs-sekisho.access-torture/_rollover")
            self.befallen["rolled over"] += 1
        self.auditor.start()

    def _bounce(self) -> None:
        self.node.kill()
        time.sleep(self.rng.uniform(0.0, 3.0))
        self.node.start()
        self.node.await_ready()


@pytest.mark.promise("P6.million-events")
def test_a_million_events_with_random_kills(node: Node, tmp_path: Path, figure: Callable[[str], None]) -> None:
    seed = int(os.environ.get("SEKISHO_TORTURE_SEED", time.time_ns() % 1_000_000))
    run = Run(node, tmp_path, random.Random(seed))  # noqa: S311 (repeats a run)
    begun = time.monotonic()
    run.grow()
    next_at, reached = begun + 10, 0
    while run.stored < EVENTS - 100:  # what is open is not stored yet
        assert time.monotonic() - begun < WITHIN, run.auditor.status()
        run.grow()
        if time.monotonic() >= next_at and run.stored > reached:
            run.befall()
            reached = run.stored + run.rng.randrange(EVENTS // 40)
            next_at = time.monotonic() + run.rng.uniform(2.0, 10.0)
        time.sleep(0.2)
    for writer in run.writers:
        writer.finish(time.time())
    quiet(run)
    seconds = time.monotonic() - begun
    run.auditor.kill(signal.SIGKILL)

    wanted = expected(run.auditor.journals)
    difference = compare(node, "torture", wanted)
    figure(
        f"{wanted.records} records, {difference.documents} documents in {len(difference.indices)} backing indices, "
        f"{seconds:.0f} s, seed {seed}; {dict(run.befallen)}"
    )
    assert str(difference) == ""
    assert run.befallen["auditor killed"] >= 2
    assert run.befallen["server killed"] + run.befallen["both killed"] >= 1
    assert len(difference.indices) > 4
    assert not wanted.open
    letters = run.auditor.state / "elastic" / "dead-letters.ndjson"
    assert not letters.exists(), letters.read_text()[:2000]
    figure("0 lost, 0 twice, 0 foreign, 0 changed")


def quiet(run: Run) -> None:
    """Wait until everything is stored, the auditor's own records too, and nothing more is written."""
    until = time.monotonic() + 300
    still = 0
    while still < 20:
        assert time.monotonic() < until, run.auditor.status()
        status = run.auditor.status()
        good = status.get("lag_records") == 0 and not status["checkpoints_waiting"] and not status["fault"]
        still = still + 1 if good else 0
        time.sleep(0.5)
