"""Which promise clauses a run has shown.

`tests/promises.toml` lists every clause that is built. A test marked `@pytest.mark.promise("P2.some-clause")` shows it
by passing; one failing test of a clause takes it back. A run over the whole suite (`make test`, or CI=true) fails when
a listed clause was not shown or a marker names a clause that is not listed; a long run (`make torture`) answers in the
same way for the clauses that only it can show.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

LIST = Path(__file__).parents[1] / "promises.toml"
PROPERTY = "promise"
SHOWN_BY = ("test", "tour", "bench", "torture")


@dataclass(frozen=True, slots=True)
class Clause:
    """One sentence that the product keeps."""

    id: str
    text: str
    shown_by: str  # test | tour | bench | torture


def load_clauses(path: Path = LIST) -> dict[str, Clause]:
    """Read the list; raises ValueError for a clause that is listed twice or shown by nothing known."""
    clauses: dict[str, Clause] = {}
    for row in tomllib.loads(path.read_text(encoding="utf-8"))["clause"]:
        clause = Clause(**row)
        if clause.id in clauses or clause.shown_by not in SHOWN_BY or not clause.text:
            raise ValueError(f"{path.name}: {clause.id}: listed twice, or without text or a known shown_by")
        clauses[clause.id] = clause
    return clauses


def clauses_of(item: pytest.Item) -> tuple[str, ...]:
    """Return the clauses that a test shows when it passes."""
    return tuple(str(argument) for marker in item.iter_markers("promise") for argument in marker.args)


class Promises:
    """Collects what was shown; under xdist the process that collects reports from the others decides."""

    def __init__(self, clauses: dict[str, Clause], strict: bool, shown_by: str = "test") -> None:
        """`strict`: the run fails for a clause that it should show; `shown_by`: which kind of run it is."""
        self._clauses = clauses
        self._strict = strict
        self._wanted = {clause.id for clause in clauses.values() if clause.shown_by == shown_by}
        self._shown: set[str] = set()
        self._broken: set[str] = set()
        self._unlisted: set[str] = set()

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note the clauses on each item, so that its reports carry them to whoever collects them."""
        for item in items:
            item.user_properties.extend((PROPERTY, clause) for clause in clauses_of(item))

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one test's outcome for its clauses."""
        named = {str(value) for name, value in report.user_properties if name == PROPERTY}
        self._unlisted |= named - self._clauses.keys()
        if report.failed:
            self._broken |= named
        elif report.when == "call" and report.passed:
            self._shown |= named

    @property
    def missing(self) -> list[str]:
        """The clauses that this kind of run is to show and this run did not."""
        return sorted(self._wanted - (self._shown - self._broken))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a whole run that left a listed clause unshown, or named an unlisted one."""
        collects = not hasattr(session.config, "workerinput")
        if collects and self._strict and (self.missing or self._unlisted) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what is missing; a run of a part of the suite only counts."""
        listed = len(self._wanted)
        if self._unlisted:
            _write(terminalreporter, "clauses that tests/promises.toml does not list", sorted(self._unlisted))
        if self._strict and self.missing:
            texts = [f"{name}: {self._clauses[name].text}" for name in self.missing]
            _write(terminalreporter, "listed promise clauses that this run did not show", texts)
        terminalreporter.write_line(f"promise clauses shown: {listed - len(self.missing)} of {listed}")


def is_whole_run(config: pytest.Config) -> bool:
    """Tell whether the run answers for every clause."""
    return os.environ.get("CI") == "true" or bool(config.getoption("--whole"))


def _write(reporter: pytest.TerminalReporter, title: str, lines: Iterable[str]) -> None:
    reporter.section(title, sep="-")
    for line in lines:
        reporter.write_line(line)
