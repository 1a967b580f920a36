"""Try changes of functions in a process that has collected the tests: only the functions' code is exchanged.

Nothing is imported anew, so a trial costs what its tests cost. What a test then notices counts. What no test notices
may still show itself while the module is imported, so the caller tries it again with the changed file in place.
"""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.trial import HANGS, OPTIONS, in_child


@dataclass(frozen=True, slots=True)
class Attempt:
    """One change of one file, the tests that may notice in their order, and the time they have."""

    file: Path
    mutant: Mutant
    tests: Sequence[str]
    seconds: float


def noticed_by_swapping(attempts: Sequence[Attempt], paths: Sequence[str], seconds: float) -> set[int]:
    """Return the places of those attempts that a test notices, within a time for all of them."""
    found = Path(".mutation-swapped")
    loop = Swapping(attempts, found)
    in_child(lambda: int(pytest.main([*OPTIONS, HANGS, *paths], plugins=[loop])), seconds)
    places: set[int] = pickle.loads(found.read_bytes()) if found.exists() else set()  # noqa: S301  (our own child's)
    found.unlink(missing_ok=True)
    return places


class Swapping:
    """Instead of running the collected tests once, runs for each attempt what concerns it, in a child of its own."""

    def __init__(self, attempts: Sequence[Attempt], found: Path) -> None:
        self._attempts = attempts
        self._found = found

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try every attempt and write down after each what was noticed so far."""
        items = {item.nodeid: item for item in session.items}
        noticed: set[int] = set()
        for place, attempt in enumerate(self._attempts):
            chosen = [items[test] for test in attempt.tests if test in items]
            if in_child(lambda: _run(session, chosen, attempt), attempt.seconds) != 0:  # noqa: B023  (called at once)
                noticed.add(place)
            self._found.write_bytes(pickle.dumps(noticed))
        return True


def _run(session: pytest.Session, items: Sequence[pytest.Item], attempt: Attempt) -> int:
    """Exchange the code and run until the first failure; 0 if nothing failed."""
    _swap(attempt)
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def _swap(attempt: Attempt) -> None:
    """Give every function of the file its changed code, closures included."""
    name = str(attempt.file.resolve())
    changed = {(code.co_firstlineno, code.co_qualname): code for code in _codes(attempt.mutant.code(name))}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename == name:
            code = changed.get((thing.__code__.co_firstlineno, thing.__code__.co_qualname))
            if code is not None and code.co_freevars == thing.__code__.co_freevars:
                thing.__code__ = code


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
