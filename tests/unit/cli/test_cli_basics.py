"""The command line by itself: statuses, harmless cells, times, and what a person without a server is told."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.exit_codes import ExitCode
from cli.main import app
from cli.moments import parse_moment, parse_span
from cli.render.cells import spreadsheet, unsafe, visible
from cli.render.documents import as_csv, as_json, as_yaml

HOSTILE = "a\x1b[2J\u202eb\x9b"


def test_exit_codes_are_the_documented_ones() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0, "FAILED": 1, "USAGE": 2, "NOT_FOUND": 3, "SIGN_IN_NEEDED": 4, "NOT_ALLOWED": 5, "CONFLICT": 6,
        "INTEGRITY": 7, "FINDINGS": 8, "UNREACHABLE": 9, "INTERRUPTED": 130,
    }  # fmt: skip


@pytest.mark.parametrize("document", [as_json([HOSTILE]), as_yaml([HOSTILE]), visible(HOSTILE)])
def test_no_output_drives_a_terminal(document: str) -> None:
    assert not unsafe(document)


def test_json_stays_the_same_value() -> None:
    assert json.loads(as_json({"a": HOSTILE})) == {"a": HOSTILE}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_formulas_become_text_and_numbers_stay_numbers(text: str) -> None:
    assert spreadsheet(text) == "'" + text
    assert spreadsheet(-1) == "-1"


def test_csv_has_bom_crlf_and_reads_back() -> None:
    document = as_csv([{"a": "鈴木, 花子", "b": 1}], [])
    assert document.startswith("\ufeff")
    assert document.endswith("\r\n")
    assert list(csv.reader(io.StringIO(document[1:]))) == [["a", "b"], ["鈴木, 花子", "1"]]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("令和8年11月22日", "2026-11-22T00:00:00+09:00"),
        ("令和元年5月1日 9時30分", "2019-05-01T09:30:00+09:00"),
        ("R8.11.22", "2026-11-22T00:00:00+09:00"),
        ("2026-11-22T09:00:00Z", "2026-11-22T09:00:00+00:00"),
        ("2026-11-22", "2026-11-22T00:00:00+09:00"),
    ],
)
def test_moments_as_people_type_them(typed: str, expected: str) -> None:
    assert parse_moment(typed, 0.0) == datetime.fromisoformat(expected).timestamp()


def test_spans() -> None:
    assert parse_span("1d12h") == 129600.0
    assert parse_moment("24h", 100000.0) == 13600.0
    with pytest.raises(ValueError, match="24h"):
        parse_moment("the day before", 0.0)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("今日", "2026-03-04T00:00+09:00"),
        ("today", "2026-03-04T00:00+09:00"),
        ("昨日", "2026-03-03T00:00+09:00"),
        ("今週", "2026-03-02T00:00+09:00"),
        ("今月", "2026-03-01T00:00+09:00"),
        ("今年度", "2025-04-01T00:00+09:00"),
        ("fiscal", "2025-04-01T00:00+09:00"),
    ],
)
def test_named_periods_begin_in_japan(typed: str, expected: str) -> None:
    early = datetime.fromisoformat("2026-03-03T15:30+00:00").timestamp()  # Wednesday in Japan, Tuesday in UTC
    assert parse_moment(typed, early) == datetime.fromisoformat(expected).timestamp()


def test_a_fiscal_year_begins_on_the_first_of_april() -> None:
    april = datetime.fromisoformat("2026-04-01T00:00+09:00").timestamp()
    assert parse_moment("今年度", april) == april


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["users", "ls"], ExitCode.SIGN_IN_NEEDED),
        (["sessions", "revoke", "--all"], ExitCode.USAGE),
        (["sessions", "revoke", "--all", "--reason", " "], ExitCode.USAGE),
        (["users", "ls", "-c", "/nowhere/sekisho.toml"], ExitCode.USAGE),
        (["login", "--user", "x", "--password-file", "/dev/null"], ExitCode.FAILED),
    ],
)
def test_statuses_without_a_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], status: ExitCode
) -> None:
    monkeypatch.setenv("SEKISHO_ADMIN_SOCKET", str(tmp_path / "admin.sock"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, arguments).exit_code == status


def test_an_absent_server_is_status_9_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("x\n")
    done = subprocess.run(
        [sys.executable, "-m", "cli", "login", "--user", "x", "--password-file", str(tmp_path / "pw")],
        env={"SEKISHO_ADMIN_SOCKET": str(tmp_path / "admin.sock"), "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (ExitCode.UNREACHABLE, "")
    assert "sekisho serve" in done.stderr
