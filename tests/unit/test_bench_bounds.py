"""What `make bench` makes of its figures: ratios within rounds, one table of bounds, and the exit status."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bodies, bounds, fanout, holding, latency, nginx, run, workers
from benchmarks.bounds import BOUNDS, PATH, Bound, Judged, judged, table, verdict
from benchmarks.measure import Cost, LoadFault, Spread, beside, read, tree
from benchmarks.parts import PARTS, Part
from tests.support.promises import load_clauses

GOALS = {  # issue 5 §6: (part, keys) → what must not be exceeded, or be reached
    (PATH, "ratios", "bare / nginx", "median"): ("at most", 2.2),
    (PATH, "ratios", "written / nginx", "median"): ("at most", 3.3),
    (PATH, "ratios", "compiled / nginx", "median"): ("at most", 3.0),
    (PATH, "ratios", "written, everything / nginx", "median"): ("at most", 4.5),
    (PATH, "ratios", "compiled, everything / nginx", "median"): ("at most", 4.5),
    (PATH, "ratios", "synced / written", "median"): ("at most", 1.1),
    ("bodies", "download", "ratio", "median"): ("at least", 0.9),
    ("bodies", "upload", "ratio", "median"): ("at least", 0.9),
    ("holding", "gateway", "kept"): ("at most", 3.5),
    ("holding", "gateway", "socket"): ("at most", 7.0),
    ("many", "sessions", "median"): ("at most", 1.05),
}
WHO = ("gateway", "nginx", "go", "go tuned")


def spread(value: float) -> dict[str, float]:
    return {"median": value, "low": value, "high": value, "least": value}


def whole_run() -> dict[str, Any]:
    """A run in which every candidate costs the same, by the parts' own arithmetic."""
    same = dict.fromkeys(WHO, 7.0)
    row = dict.fromkeys((*run.NAMES,), Cost(10.0, 100.0))
    by_way = {"ours": 2.0, "nginx": 2.0, "tuned": 2.0, "go": 2.0, "go tuned": 2.0}
    kib = {who: {"kept": 3.0, "socket": 6.0} for who in WHO}
    percentiles = {who: {"p50": 1.0, "p99": 2.0, "p99.9": 3.0} for who in WHO}
    one = {who: Cost(7.0, 100.0) for who in WHO}
    return {
        PATH: {"ratios": run.ratios([row, row])},
        "secured": {way: beside([same]) for way in ("kept", "new", "resumed")},
        "workers": workers.summary({1: [one], 2: [one]}, [0.4]),
        "fanout": {"cpu": beside([same]), "memory": beside([same])},
        "bodies": bodies.summary({way: [by_way] for way in ("download", "upload")}),
        "latency": latency.summary({str(rate): [percentiles] for rate in latency.RATES}),
        "many": {"sessions": spread(1.0), "rules": spread(1.0)},
        "holding": holding.summary(kib),
        "revocation": {"worst": {"p99": 60.0}},
        "keeping": {"ratio": spread(4.0)},
        "proving": {"ratio": spread(2.0)},
        "searching": {"p95_ms": 300.0},
        "shipping": {"rate": {"ratio": spread(1.2)}, "lag": {"p95": 0.9, "recovered": True, "burst_seconds": 12.0}},
    }


def test_the_issues_numbers_stand_in_the_table() -> None:
    found = {
        (bound.part, *bound.at): ("at least" if bound.least else "at most", bound.limit)
        for bound in BOUNDS
        if (bound.part, *bound.at) in GOALS
    }
    assert found == GOALS


def test_every_part_has_its_name_once_and_every_bound_its_part() -> None:
    names = [PATH, *(part.name for part in PARTS)]
    assert len(names) == len(set(names))
    assert {bound.part for bound in BOUNDS} <= set(names)


def test_every_clause_that_the_bench_shows_has_a_bound() -> None:
    clauses = {name for name, clause in load_clauses().items() if clause.shown_by == "bench"}
    assert {bound.promise for bound in BOUNDS} == clauses


def test_every_bound_finds_its_figure_in_what_the_parts_tell() -> None:
    held = judged(whole_run())
    assert [row.bound for row in held] == list(BOUNDS)
    assert [row.bound.what for row in held if row.figure is None] == []
    assert verdict(held, {}) == (0, "")


def test_a_figure_beyond_its_bound_is_named_with_it() -> None:
    results = whole_run()
    results[PATH]["ratios"]["written / nginx"]["median"] = 3.4561
    results["bodies"]["upload"]["ratio"]["median"] = 0.82
    status, told = verdict(judged(results), {})
    assert status == 1
    assert told.splitlines() == [
        "P4.request-path-ratio: full chain, written, beside nginx: 3.46 ×, bound ≤ 3.3 ×",
        "P4.large-bodies: 1 MiB bodies, upload: bytes a CPU second, beside nginx: 0.82 ×, bound ≥ 0.9 ×",
    ]


def test_what_was_not_measured_is_never_taken_for_holding() -> None:
    results = whole_run()
    del results[PATH]["ratios"]["compiled / nginx"]
    status, told = verdict(judged(results), {})
    assert (status, told) == (
        3, "P4.compiled-ratio: full chain, written, compiled, beside nginx: not measured, bound ≤ 3 ×"
    )  # fmt: skip
    results[PATH]["ratios"]["bare / nginx"]["median"] = 2.3
    assert verdict(judged(results), {})[0] == 1


@pytest.mark.parametrize(
    ("figure", "least", "holds"),
    [
        (3.3, False, True), (math.nextafter(3.3, 4), False, False), (3.2, False, True),
        (3.3, True, True), (math.nextafter(3.3, 3), True, False), (3.4, True, True),
        (math.nan, False, False), (math.nan, True, False), (math.inf, False, False),
    ],
)  # fmt: skip
def test_a_bound_holds_at_itself_and_not_beyond(figure: float, least: bool, holds: bool) -> None:
    row = Judged(Bound(PATH, "something", ("figure",), 3.3, least=least), figure)
    assert row.holds is holds
    assert ("DOES NOT HOLD" in table([row])) is not holds


def test_rounding_never_hides_that_a_bound_does_not_hold() -> None:
    assert Judged(Bound(PATH, "something", (), 3.3), 3.3004).shown == "3.3004 ×"
    assert Judged(Bound(PATH, "something", (), 3.3), 3.2996).shown == "3.30 ×"


def test_ratios_are_taken_within_a_round() -> None:
    told = beside([{"gateway": 10.0, "go": 10.0}, {"gateway": 30.0, "go": 20.0}, {"gateway": 60.0, "go": 30.0}])
    assert told["ratio"]["go"]["median"] == 1.5
    assert told["cost"] == {"gateway": 30.0, "go": 20.0}
    rows = [{"nginx": Cost(micros, 1.0), "written": Cost(micros * 3, 1.0)} for micros in (10.0, 20.0, 40.0)]
    assert run.ratios(rows)["written / nginx"] == spread(3.0)
    assert Spread.of([4.0, 1.0, 2.0, 3.0]) == Spread(2.5, 1.75, 3.25, 1.0)


def test_two_workers_are_held_against_one_of_the_same_round() -> None:
    rows = {1: [{"gateway": Cost(100.0, 1000.0)}], 2: [{"gateway": Cost(110.0, 1500.0)}]}
    told = workers.summary(rows, [0.3])
    assert told["gain"]["gateway"]["median"] == 1.5
    assert told["more"]["gateway"]["median"] == pytest.approx(1.1)


def test_a_servers_workers_are_waited_for_before_they_are_added_up() -> None:
    late = "import subprocess, time; time.sleep(0.3); subprocess.run(['cat'])"
    with subprocess.Popen([sys.executable, "-c", late], stdin=subprocess.PIPE) as process:
        workers_found = nginx.serving(process)
        assert workers_found == tree(process.pid) - {process.pid} != set()


def test_the_apps_own_latency_is_taken_off() -> None:
    told = fanout.added({"gateway": [{"50%": 204.0, "99%": 212.0}]}, [{"50%": 201.0, "99%": 202.0}])
    assert told == {"gateway": {"50%": 3.0, "99%": 10.0}}


WRK = """Running 3s test @ http://127.0.0.1:80/
  16 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.20ms    1.00ms  21.55ms   93.41%
  Latency Distribution
     50%  950.00us
     75%    2.75ms
     90%    4.00ms
     99%    1.20s
  60021 requests in 3.00s, 70.12MB read
"""


def test_wrk_is_read() -> None:
    answered = read(WRK)
    assert answered.requests == 60021
    assert answered.latency == pytest.approx({"50%": 0.95, "75%": 2.75, "90%": 4.0, "99%": 1200.0})
    read(WRK + "  Socket errors: connect 0, read 3, write 0, timeout 0\n")


@pytest.mark.parametrize(
    "fault",
    [
        "  Non-2xx or 3xx responses: 4\n",
        "  Socket errors: connect 7, read 0, write 0, timeout 0\n",
        "  Socket errors: connect 0, read 0, write 2, timeout 0\n",
        "  Socket errors: connect 0, read 0, write 0, timeout 1\n",
    ],
)
def test_a_load_that_met_faults_is_no_measurement(fault: str) -> None:
    with pytest.raises(LoadFault):
        read(WRK + fault)


@pytest.mark.parametrize(("ratio", "status"), [(2.9, 0), (3.31, 1)])
def test_the_exit_status_follows_from_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, ratio: float, status: int
) -> None:
    results = whole_run()
    results[PATH]["ratios"]["written / nginx"]["median"] = ratio
    monkeypatch.setattr(
        run, "measured", lambda asked: {**results, "took": dict.fromkeys(asked.parts, 60.0), "failed": {}}
    )
    monkeypatch.setattr(run, "machine", dict)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "latest.json")
    monkeypatch.setattr(sys, "argv", ["benchmarks.run"])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == status
    said = capsys.readouterr()
    assert ("3.31 ×, bound ≤ 3.3 ×" in said.err) is bool(status)
    assert said.out.startswith("about ")
    assert json.loads((tmp_path / "latest.json").read_text())["took"][PATH] == 60.0
    monkeypatch.setattr(sys, "argv", ["benchmarks.run", "--quick"])
    (tmp_path / "latest.json").write_text('{"took": {}}')
    with pytest.raises(SystemExit):
        run.main()
    assert (tmp_path / "latest.json").read_text() == '{"took": {}}', "a quick run is none for the record"


def test_a_part_that_fails_is_named_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(quick: bool) -> dict[str, Any]:
        raise LoadFault(f"503, quick: {quick}")

    broken = Part("broken", "fails", (), (), (1, 1), str)
    whole = Part("whole", "does not", (), (), (1, 1), str)
    monkeypatch.setattr(Part, "measure", lambda self, quick: answer(quick) if self is broken else {"figure": 1})
    monkeypatch.setattr(run, "PARTS", (broken, whole))
    told = run.measured(argparse.Namespace(parts=["broken", "whole"], quick=True))
    assert told["failed"] == {"broken": "503, quick: True"}
    assert (told["broken"], told["whole"]) == ({}, {"figure": 1})
    assert verdict([], told["failed"]) == (1, "broken: failed: 503, quick: True")


def test_the_plan_goes_by_the_recorded_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "latest.json").write_text('{"took": {"path": 600.0}}')
    monkeypatch.setattr(run, "RESULTS", tmp_path / "latest.json")
    assert run.plan([PATH, "keeping"], quick=False) == "about 10 min: path 10 min, keeping 15 s"
    assert run.plan(["keeping"], quick=True) == "about 5 s: keeping 5 s"


def test_a_whole_run_is_planned_within_25_minutes() -> None:
    assert sum(run.expected([PATH, *(part.name for part in PARTS)], {}, quick=False).values()) <= 25 * 60


def test_the_list_tells_every_part_and_bound() -> None:
    told = run.listed()
    assert all(f"{part.name}: {part.about}" in told for part in PARTS)
    assert all(bound.what in told for bound in bounds.BOUNDS)
