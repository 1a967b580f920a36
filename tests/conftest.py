"""What every test run shares: promise clauses, real parts, corpora, and no network beyond this machine."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
import pytest

from tests.support import canary_watch, loopback_only
from tests.support.figures import Figures, saying
from tests.support.one_stack import OneStack, StacksApart
from tests.support.promises import Promises, is_whole_run, load_clauses

pytest_plugins = ["tests.support.real_parts"]
# Time is measured by benchmarks: on a busy machine any example may take long. What `make test` draws is the same in
# each run, so that no change is refused for what chance finds in another; `make torture` and `make fuzz` draw anew.
_UNTIMED = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("anew", _UNTIMED)
hypothesis.settings.register_profile("repeated", _UNTIMED, derandomize=True, database=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--whole` (answer for every promise clause), `--torture` (the long runs), `--minutes` (of fuzzing)."""
    parser.addoption("--whole", action="store_true", help="fail when a listed promise clause was not shown")
    parser.addoption("--torture", action="store_true", help="run tests/torture, and the long form of other tests")
    parser.addoption("--minutes", type=float, default=0.0, help="draw new inputs so long in each test of tests/fuzz")


def pytest_configure(config: pytest.Config) -> None:
    """Start watching."""
    loopback_only.install()
    canary_watch.install(config)
    torture = bool(config.getoption("--torture"))
    hypothesis.settings.load_profile("anew" if torture else "repeated")
    config.pluginmanager.register(OneStack(), "one-stack")
    config.pluginmanager.register(Figures(printed=torture or config.getoption("--minutes") > 0), "figures")
    shown_by = "torture" if torture else "test"
    config.pluginmanager.register(Promises(load_clauses(), is_whole_run(config), shown_by), "promises")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> StacksApart:
    """Let one process have everything that starts a whole installation."""
    return StacksApart(config, log)


@pytest.fixture(scope="session")
def torture(pytestconfig: pytest.Config) -> bool:
    """Whether this is a long run (`make torture`), in which a test may take its longer form."""
    return bool(pytestconfig.getoption("--torture"))


@pytest.fixture(scope="session")
def minutes(pytestconfig: pytest.Config) -> float:
    """How long to go on drawing new inputs (`make fuzz`); 0 = only the fixed ones."""
    return float(pytestconfig.getoption("--minutes"))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say one measured figure, as a sentence with its unit; the summary of a long run prints it."""
    return saying(request.node)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was absent and therefore not tested."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason in sorted({str(report.longrepr[-1]) for report in skipped if isinstance(report.longrepr, tuple | list)}):
        terminalreporter.write_line(f"NOT TESTED: {reason}")
