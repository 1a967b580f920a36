"""A command typed wrongly: what came, what was expected and an example, in the person's language, with status 2."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.exit_codes import ExitCode
from cli.main import app

ROOT = Path(__file__).parents[3]
ENGLISH = re.compile(r"(?i)\b(no such|missing|invalid|error|usage|try|requires|unexpected|should)\b")


@pytest.mark.parametrize(
    ("arguments", "told", "lines"),
    [
        ("sessions revoke --usr x", "--usr というオプションはありません。",
         ["近いもの: --user", "--user この職員のすべて"]),
        ("whoami --nothing-like-it", "--nothing-like-it というオプションはありません。", ["使えるもの: --config、"]),
        ("sessions revok", "revok というコマンドはありません。", ["近いもの: revoke", "例: sekisho sessions revoke"]),
        ("zzz", "zzz というコマンドはありません。", ["使えるもの: init、serve、"]),
        ("-o json", "コマンドがありません。", ["使えるもの: init、serve、"]),
        ("policy explain", "引数 decision がありません。",
         ["正しい形: 受付番号", "例: sekisho policy explain 受付番号"]),
        ("sessions revoke --all", "--reason がありません。", ["正しい形: 理由 (記録に残ります)", "--reason 理由"]),
        ("apps ls -o tabel", "--output の値が正しくありません。",
         ["指定: tabel", "正しい形: table、json、ndjson、yaml、csv", "例: sekisho apps ls --output table"]),
        ("apps ls --limit x", "--limit の値が正しくありません。", ["指定: x", "正しい形: 整数", "--limit 10"]),
        ("events search --since", "--since の値がありません。", ["例: sekisho events search --since"]),
        ("sessions revoke --yes=1", "--yes に値は付けられません。",
         ["例: sekisho sessions revoke --reason 理由 --yes"]),
        ("apps ls extra", "余分な引数があります: extra", ["正しい形: 引数なし", "例: sekisho apps ls"]),
    ],
)  # fmt: skip
def test_what_came_what_was_expected_and_an_example(arguments: str, told: str, lines: list[str]) -> None:
    result = CliRunner().invoke(app, arguments.split(), prog_name="sekisho")
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    first, *rest = result.stderr.splitlines()
    assert told in first
    for line in lines:
        assert any(line in one for one in rest), (line, rest)
    assert ENGLISH.search(result.stderr) is None, result.stderr


@pytest.mark.parametrize(
    "arguments", [["--lang", "en", "apps", "ls", "--limit", "x"], ["apps", "ls", "--lang=en", "-z"]]
)
def test_english_where_it_is_asked_for_before_and_after_the_verb(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "cli", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ})
    assert (result.returncode, result.stdout) == (ExitCode.USAGE, "")
    assert "example: sekisho apps ls" in result.stderr
    assert result.stderr.isascii()


@pytest.mark.parametrize(
    "arguments", [["-h"], ["policy", "-h"], ["es", "dead-letters", "-h"], ["sessions", "revoke", "-h"]]
)
def test_the_headings_of_help_are_words(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments, prog_name="sekisho", env={"COLUMNS": "100"})
    assert result.exit_code == ExitCode.DONE
    for heading in ("使い方: sekisho", "─ オプション ─", "この説明を表示して終わる"):
        assert heading in result.output
    assert (
        re.search(r"Usage|Options|Arguments|Commands|OPTIONS|Show this|\[required\]|\[default", result.output) is None
    )


def test_a_noun_alone_shows_its_verbs_and_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["policy"], prog_name="sekisho")
    assert result.exit_code == ExitCode.USAGE
    assert "使い方: sekisho policy" in result.output


@pytest.mark.parametrize(
    ("term", "near"), [("user=sato", "user.name"), ("usr.name=sato", "user.name"), ("zzz=1", "zzz")], ids=str
)
def test_a_field_that_no_record_has_is_said_not_searched(term: str, near: str) -> None:
    result = CliRunner().invoke(app, ["events", "search", term])
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert "という項目は記録にありません" in result.stderr
    assert near in result.stderr


def test_a_version_is_named_by_its_hash() -> None:
    result = CliRunner().invoke(app, ["policy", "show", "today"])
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert "today" in result.stderr
