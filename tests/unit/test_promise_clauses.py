"""The run's own honesty: a clause counts as shown only if its tests passed, also when they run in other processes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest

from tests.support import loopback_only
from tests.support.promises import PROPERTY, Clause, Promises, load_clauses

When = Literal["setup", "call", "teardown"]

pytest_plugins = ["pytester"]

CONFTEST = """
from tests.support.promises import Clause, Promises

CLAUSES = [Clause("P1.a", "first", "test"), Clause("P1.b", "second", "test"), Clause("P9.t", "tour's", "tour")]

def pytest_configure(config):
    config.addinivalue_line("markers", "promise(clause)")
    config.pluginmanager.register(Promises({clause.id: clause for clause in CLAUSES}, strict=True), "promises")
"""
SHOWS_BOTH = """
import pytest

@pytest.mark.promise("P1.a")
@pytest.mark.promise("P1.b")
def test_both():
    assert True
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\n")
    return pytester


def report(
    *clauses: str, outcome: Literal["passed", "failed", "skipped"] = "passed", when: When = "call"
) -> pytest.TestReport:
    properties: list[tuple[str, object]] = [(PROPERTY, clause) for clause in clauses]
    return pytest.TestReport(
        "test_x.py::test_x", ("test_x.py", 1, "test_x"), {}, outcome, None, when, user_properties=properties
    )


@pytest.mark.parametrize(
    ("reports", "missing"),
    [
        ([report("P1.a", "P1.b")], []),
        ([report("P1.a")], ["P1.b"]),
        ([report("P1.a", "P1.b", when="setup")], ["P1.a", "P1.b"]),
        ([report("P1.a", "P1.b", outcome="skipped")], ["P1.a", "P1.b"]),
        ([report("P1.a", "P1.b"), report("P1.b", outcome="failed")], ["P1.b"]),
        ([report("P1.b", outcome="failed", when="teardown"), report("P1.a", "P1.b")], ["P1.b"]),
        ([report("P9.t")], ["P1.a", "P1.b"]),
        ([], ["P1.a", "P1.b"]),
    ],
)
def test_a_clause_is_shown_by_tests_that_passed_only(reports: list[pytest.TestReport], missing: list[str]) -> None:
    clauses = [Clause("P1.a", "first", "test"), Clause("P1.b", "second", "test"), Clause("P9.t", "tour's", "tour")]
    promises = Promises({clause.id: clause for clause in clauses}, strict=True)
    for one in reports:
        promises.pytest_runtest_logreport(one)
    assert promises.missing == missing


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("", "promise clauses shown: 2 of 2"),
        ('@pytest.mark.promise("P1.b")', "P1.b: second"),
        ('"P1.a"', "P1.z"),
    ],
)
def test_a_run_in_several_processes_fails_for_a_clause(suite: pytest.Pytester, change: str, says: str) -> None:
    suite.makepyfile(SHOWS_BOTH.replace(change, '"P1.z"' if change == '"P1.a"' else "") if change else SHOWS_BOTH)
    result = suite.runpytest_inprocess("-n", "1", "-p", "no:hypothesispytest", "-p", "no:pytest_timeout")
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if change else pytest.ExitCode.OK)
    result.stdout.fnmatch_lines([says])


def test_a_long_run_answers_for_its_own_clauses() -> None:
    clauses = [Clause("P1.a", "first", "test"), Clause("P9.l", "long run's", "torture")]
    promises = Promises({clause.id: clause for clause in clauses}, strict=True, shown_by="torture")
    assert promises.missing == ["P9.l"]
    promises.pytest_runtest_logreport(report("P9.l"))
    assert promises.missing == []


def test_a_long_run_prints_its_figures_part_by_part(suite: pytest.Pytester) -> None:
    suite.makeconftest(
        "import pytest\nfrom tests.support.figures import Figures, saying\n"
        "@pytest.fixture\ndef figure(request):\n    return saying(request.node)\n"
        'def pytest_configure(config):\n    config.pluginmanager.register(Figures(printed=True), "figures")\n'
    )
    suite.makepyfile(
        test_flood='def test_it(figure):\n    figure("10 requests")\n', test_matrix="def test_it():\n    assert False\n"
    )
    result = suite.runpytest_inprocess("-n", "1", "-p", "no:hypothesispytest", "-p", "no:pytest_timeout")
    result.stdout.fnmatch_lines_random(["test_flood: 1 passed, 0 s", "    10 requests", "test_matrix: 1 failed, 0 s"])


@pytest.mark.parametrize("field", ['shown_by = "hope"', 'text = ""'])
def test_a_list_that_says_nothing_is_refused(tmp_path: Path, field: str) -> None:
    good = 'id = "P1.a"\ntext = "x"\nshown_by = "test"\n'
    name = field.partition(" = ")[0]
    path = tmp_path / "promises.toml"
    path.write_text("[[clause]]\n" + re.sub(rf"^{name} = .*$", field, good, flags=re.MULTILINE))
    with pytest.raises(ValueError, match=r"P1\.a"):
        load_clauses(path)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("0.0.0.0", True), ("localhost", True), (None, True),
        ("portal.sekisho.localhost", True), (b"127.0.0.1", True), ("192.0.2.1", False), ("::ffff:192.0.2.1", False),
        ("example.com", False), (b"example.com", False), ("localhost.example.com", False), ("10.0.0.1", False),
    ],
)  # fmt: skip
def test_only_this_machine_is_local(host: object, local: bool) -> None:
    assert loopback_only.is_local(host) is local
