"""What every test run shares: promise clauses, real parts, corpora, and no network beyond this machine."""

from __future__ import annotations

import pytest

from tests.support import loopback_only
from tests.support.one_stack import OneStack
from tests.support.promises import Promises, is_whole_run, load_clauses

pytest_plugins = ["tests.support.real_parts"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--whole`, with which the run answers for every promise clause that tests show."""
    parser.addoption("--whole", action="store_true", help="fail when a listed promise clause was not shown")


def pytest_configure(config: pytest.Config) -> None:
    """Start watching."""
    loopback_only.install()
    config.pluginmanager.register(OneStack(), "one-stack")
    config.pluginmanager.register(Promises(load_clauses(), is_whole_run(config)), "promises")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was absent and therefore not tested."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason in sorted({str(report.longrepr[-1]) for report in skipped if isinstance(report.longrepr, tuple | list)}):
        terminalreporter.write_line(f"NOT TESTED: {reason}")
