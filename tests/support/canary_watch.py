"""The search for secrets after each module of tests (`tests.support.canaries`), as a plugin of the test run."""

from __future__ import annotations

import logging
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support import canary_sources
from tests.support.canaries import Canaries

CANARIES = Canaries()


class _Logged(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Keep what the test process logs."""
        CANARIES.say("log of the test process", self.format(record).encode(errors="backslashreplace"))


class CanaryWatch:
    """Searches at the end of each module, and blames its last test."""

    def __init__(self, canaries: Canaries) -> None:
        self._canaries = canaries
        self._searched: set[Path] = set()  # folders of tests that are over

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """After the module's own fixtures are gone, so that everything is written."""
        result = yield
        if nextitem is None or nextitem.path != item.path:
            base = item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # no public way
            folders = {each for each in base.iterdir() if each.is_dir() and not each.is_symlink()}
            new = folders if nextitem is None else folders - self._searched
            self._searched |= folders
            # At the end everything once more, as far as it was written to since: it must not take a test's time limit.
            found = self._canaries.search(*sorted(new), changed=True)
            self._canaries.said.clear()
            if found:
                raise AssertionError("secrets where none may stand:\n" + "\n".join(str(each) for each in found[:20]))
        return result

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how much was looked for, and in how much."""
        canaries = self._canaries
        if canaries.secrets:
            terminalreporter.write_line(f"secrets looked for: {len(canaries.secrets)} in {canaries.searched} files")


def install(config: pytest.Config) -> None:
    """Watch this run from now on."""
    canary_sources.watch(CANARIES)
    logging.getLogger().addHandler(_Logged(logging.INFO))
    config.pluginmanager.register(CanaryWatch(CANARIES), "canaries")
