"""A store with a few people, sessions and an app."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.state import migration, store
from gateway.state.arguments import Arguments
from gateway.state.command import Outcome, Rules, Surroundings
from gateway.state.commands import COMMANDS
from gateway.state.sealing import Sealing
from gateway.state.tables import FeedChange

NOW = 1_800_000_000.0
RULES = Rules(absolute=32_400, idle=1800, concurrent=3, code_lifetime=30, wait_after=5)


class World:
    """Runs commands as the steward does, and keeps what the feed would tell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sealing = Sealing([bytes(range(32))])
        migration.create(path)
        self.store = store.Store(path, self.sealing)
        self.reader = store.Reader(path, self.sealing)
        self.now = NOW
        self.told: list[FeedChange] = []

    def run(self, op: str, **args: Any) -> Outcome:
        with self.store.transaction(op, self.now) as tx:
            outcome = COMMANDS[op].run(tx, Arguments(args), Surroundings(self.now, RULES))
        self.told += tx.changed
        return outcome


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "s.db")
    yield made
    made.reader.close()
    made.store.close()


Call = Callable[[World], Mapping[str, Any]]
