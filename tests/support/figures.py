"""What the parts of a long run measured: one line a part at the end of the run, with its outcome, time and figures.

A test says a figure with the fixture `figure`; figures travel with the test's report, so that they also arrive from
tests that ran in another process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROPERTY = "figure"


@dataclass(slots=True)
class Part:
    """One file of tests."""

    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    figures: list[str] = field(default_factory=list)


class Figures:
    """Collects outcomes, seconds and figures of every part; prints them where the run asked for them."""

    def __init__(self, printed: bool) -> None:
        self._printed = printed
        self.parts: dict[str, Part] = {}

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one phase of one test."""
        part = self.parts.setdefault(Path(report.nodeid.partition("::")[0]).stem, Part())
        part.seconds += report.duration
        if report.when == "call" or not report.passed:
            part.outcomes[report.outcome] = part.outcomes.get(report.outcome, 0) + 1
        if report.when == "call":
            part.figures += [str(value) for name, value in report.user_properties if name == PROPERTY]

    def lines(self) -> list[str]:
        """Return what is to be printed, parts in the order in which they ran."""
        found: list[str] = []
        for name, part in self.parts.items():
            outcome = ", ".join(f"{count} {what}" for what, count in sorted(part.outcomes.items()))
            found.append(f"{name}: {outcome}, {part.seconds:.0f} s")
            found += [f"    {figure}" for figure in part.figures]
        return found

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print a line per part and one per figure."""
        if self._printed:
            terminalreporter.section("parts", sep="-")
            for line in self.lines():
                terminalreporter.write_line(line)


def saying(node: pytest.Item) -> Callable[[str], None]:
    """Return what a test says its figures with; the fixture `figure` of tests/conftest.py."""

    def say(text: str) -> None:
        node.user_properties.append((PROPERTY, text))

    return say
