"""Tests that start a whole installation run one file after another, also when several processes share the tests.

Two stacks at once on a small machine starve each other, and what is measured in seconds then fails. The wait lies
outside of every test's time limit. So that nobody waits long, one process gets all of them and the others the rest.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from pathlib import Path
from typing import IO

import pytest
from xdist.scheduler import LoadFileScheduling

LOCK = Path(__file__).parents[2] / ".cache" / "one-stack.lock"
FOLDERS = frozenset({"system", "browser"})


def starts_a_stack(item: pytest.Item | None) -> bool:
    """Whether the test lies in a folder of tests over whole installations, or is marked as one."""
    return item is not None and (item.path.parent.name in FOLDERS or item.get_closest_marker("one_stack") is not None)


class StacksApart(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Files to processes, all those of whole installations to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "stacks" if Path(path).parent.name in FOLDERS else path


class OneStack:
    """The place of the one stack: taken before the first test of a file, given back after its last."""

    def __init__(self) -> None:
        self._held: IO[str] | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Wait for the place around every test of such a file."""
        if starts_a_stack(item) and self._held is None:
            LOCK.parent.mkdir(parents=True, exist_ok=True)
            self._held = LOCK.open("w")
            fcntl.flock(self._held, fcntl.LOCK_EX)
        result = yield
        if self._held is not None and (nextitem is None or nextitem.path != item.path):
            self._held.close()
            self._held = None
        return result
