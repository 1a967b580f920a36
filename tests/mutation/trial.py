"""Run chosen tests in a child process of this one: once to learn which test runs which function, then once a mutant.

A child begins with the foreign libraries imported and the product not, so that a changed module costs no start-up.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import hypothesis
import pytest

OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp=.mutation")
HANGS = "--timeout=20"  # seconds for one test of a trial: a changed loop may never end
MEMORY = 3 << 30  # bytes a child may take: a changed loop may grow without end
OWN = frozenset({"gateway", "policies", "audit", "mdm_sim", "cli", "tests", "conftest"})

Function = tuple[str, int]  # a file below the root, the first line of a function


@dataclass(slots=True)
class Baseline:
    """What the tests do without any change."""

    passed: bool = False
    seconds: dict[str, float] = field(default_factory=dict)  # test -> its duration
    functions: dict[str, set[Function]] = field(default_factory=dict)  # test -> what it runs
    foreign: list[str] = field(default_factory=list)  # names of the libraries' modules


class Watch:
    """Notes for each test its duration and the functions it runs, also in threads that it starts."""

    def __init__(self, baseline: Baseline) -> None:
        self._baseline = baseline
        self._root = f"{Path.cwd()}{os.sep}"
        self._codes: set[object] = set()

    def _trace(self, frame: FrameType, event: str, argument: object) -> None:
        self._codes.add(frame.f_code)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch one test with its fixtures."""
        self._codes.clear()
        threading.settrace(self._trace)  # type: ignore[arg-type]
        sys.settrace(self._trace)  # type: ignore[arg-type]
        began = time.monotonic()
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            self._baseline.seconds[item.nodeid] = time.monotonic() - began
            self._baseline.functions[item.nodeid] = {
                (code.co_filename.removeprefix(self._root), code.co_firstlineno)  # type: ignore[attr-defined]
                for code in list(self._codes)
                if code.co_filename.startswith(self._root)  # type: ignore[attr-defined]
            }


class Chosen:
    """Keeps the chosen tests of those collected, in the order chosen."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._places = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drop the others."""
        kept = sorted(
            (item for item in items if item.nodeid in self._places), key=lambda item: self._places[item.nodeid]
        )
        items[:] = kept


def prepare() -> None:
    """Let random tests draw the same values in every child, remember nothing and never fail for slowness."""
    hypothesis.settings.register_profile(
        "mutation",
        database=None, derandomize=True, deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    )  # fmt: skip
    hypothesis.settings.load_profile("mutation")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def baseline(paths: Sequence[str]) -> Baseline:
    """Run all tests below `paths` unchanged, in a child; what was printed stays visible if one fails."""
    found = Path(".mutation-baseline")

    def run() -> int:
        result = Baseline()
        result.passed = pytest.main([*OPTIONS, *paths], plugins=[Watch(result)]) == pytest.ExitCode.OK
        result.foreign = [name for name in sys.modules if name.partition(".")[0] not in OWN]
        found.write_bytes(pickle.dumps(result))
        return 0

    in_child(run, 600, quiet=False)
    return pickle.loads(found.read_bytes()) if found.exists() else Baseline()  # noqa: S301  (our own child wrote it)


def all_pass(tests: Sequence[str], seconds: float) -> bool:
    """Whether the tests pass within the time; a child that dies or hangs has failed."""
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    return (
        in_child(lambda: int(pytest.main([*OPTIONS, HANGS, *files], plugins=[Chosen(tests)])), seconds)
        == pytest.ExitCode.OK
    )


def in_child(work: Callable[[], int], seconds: float, *, quiet: bool = True) -> int:
    """Return the exit code of `work` in a process group of its own; -1 if it ran out of time or was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            if quiet:
                silent = os.open(os.devnull, os.O_RDWR)
                for descriptor in (0, 1, 2):
                    os.dup2(silent, descriptor)
            code = work()
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    status: int | None = None
    while status is None and time.monotonic() < deadline:
        ended, raw = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(raw) if ended else None
        time.sleep(0 if ended else 0.005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
    return -1 if status is None else status
