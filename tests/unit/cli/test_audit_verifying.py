"""`sekisho audit verify` of a part of the trail, and of the index: what it proves, says, and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from audit.checkpoint import generate
from audit.index.writer import IndexWriter
from audit.segment import segments
from cli.main import app
from cli.place import Place
from tests.support.trails import Trail, decision

Run = Callable[..., Result]


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """300 records of one worker from 2023-11-14T22:13:20Z on, one a second, all covered."""
    trail = Trail(tmp_path / "journal", tmp_path / "log", generate("log.example"))
    trail.write("worker-0", [decision(number) for number in range(299)], clock=lambda: 1_700_000_000.0)
    assert trail.sign() == 300
    (tmp_path / "key.pub").write_text(trail.signer.verifier.encode())
    return trail


@pytest.fixture
def run(trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(Place, "settings", lambda _place: SimpleNamespace(auditor_state=tmp_path / "state"))
    given = ["--journal", str(trail.journals), "--log", str(trail.log), "--key", str(tmp_path / "key.pub")]

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["audit", "verify", *given, *arguments], env={"COLUMNS": "160"})

    return run


def edit(trail: Trail, request: int) -> tuple[str, int]:
    for item in segments(trail.journals / "worker-0"):
        lines = item.path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines):
            if b'"R%015d"' % request in line:
                item.path.chmod(0o600)
                lines[number] = line.replace(b"sato", b"kato")
                item.path.write_bytes(b"".join(lines))
                return item.path.name, number + 1
    raise AssertionError("no such record")


def test_a_part_is_proved_by_sizes_and_by_times_and_says_so(run: Run, trail: Trail) -> None:
    part = run("--from", "100", "--to", "200", "--jobs", "1", "-o", "json")
    assert part.exit_code == 0, part.output
    assert "100 件目の後から 200 件目まで" in part.stderr
    assert json.loads(part.stdout)[0]["records"] < 300
    times = run("--since", "2023-11-14T22:15:00Z", "--until", "2023-11-14T22:16:00Z")
    assert times.exit_code == 0, times.output
    assert "101 件目の後から 161 件目まで" in times.stderr
    assert "件目の後から" not in run().stderr
    name, line = edit(trail, 150)
    assert run("--to", "100").exit_code == 0
    found = run("--from", "100", "--to", "200")
    assert found.exit_code == 7
    assert f"worker-0/{name}:{line}: " in found.stderr


def test_what_the_log_does_not_have_and_what_is_no_time_are_refused(run: Run) -> None:
    for arguments, told in ((("--to", "999"), "span: got 0 to 999"), (("--since", "x"), "--since: "),
                            (("--from", "7", "--to", "6"), "span: got 7 to 6")):  # fmt: skip
        refused = run(*arguments)
        assert refused.exit_code == 2, refused.output
        assert told in refused.stderr


def test_the_index_is_compared_when_it_is_asked_for(run: Run, trail: Trail, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "index"
    writer = IndexWriter(trail.journals, folder)
    while writer.poll(0.0):
        continue
    writer.flush()
    agreed = run("--index")
    assert agreed.exit_code == 0, agreed.output
    assert "索引の 300 件" in agreed.stderr
    (folder / "events-000000001.parquet").unlink()
    assert run().exit_code == 0
    lacking = run("--index")
    assert lacking.exit_code == 7
    assert "index/events-000000001.parquet" in lacking.stderr
