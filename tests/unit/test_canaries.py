"""The search for secrets finds every one that is planted, in every spelling and kind of file, and nothing else."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import duckdb
import pytest
from backports import zstd

from tests.support import canaries as searching
from tests.support.canaries import Canaries
from tests.support.steward_process import ROOT

PLANTED = "Kagi-4711/+\"é'&=7f3a9c"


def knowing(*values: str) -> Canaries:
    made = Canaries()
    for value in values:
        made.learn(value, "planted")
    return made


SPELLED = {
    "raw": PLANTED, "JSON": json.dumps({"a": PLANTED}), "URL": f"/x?q={quote(PLANTED, safe='')}&y=1",
    "base64": base64.b64encode(f"user:{PLANTED}:rest".encode()).decode(),
    "base64, two further": base64.b64encode(f"user::{PLANTED}".encode()).decode(),
    "base64 for addresses": base64.urlsafe_b64encode(f"{PLANTED}!".encode()).decode(),
    "hex": PLANTED.encode().hex(), "HEX": PLANTED.encode().hex().upper(),
}  # fmt: skip


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
def test_every_spelling_is_found(tmp_path: Path, spelled: str) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "x.jsonl").write_text(f'{{"body":"{spelled}"}}\n')
    found = knowing(PLANTED).search(tmp_path)
    assert [each.what for each in found] == ["planted"]
    assert "x.jsonl" in found[0].where
    assert PLANTED not in str(found[0])


def test_what_is_compressed_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(zstd.compress(b"x" + PLANTED.encode()))
    with duckdb.connect() as database:
        database.execute("copy (select ? as line) to ? (format parquet)", [PLANTED, str(tmp_path / "b.parquet")])
    assert {Path(each.where).name for each in knowing(PLANTED).search(tmp_path)} == {"a.jsonl.zst", "b.parquet"}


def test_a_code_is_found_as_a_value_and_not_within_a_number(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"event.duration":734512,"id":"x734512"}')
    assert knowing("734512").search(tmp_path) == []
    for text in ('{"code":"734512"}', "/totp?code=734512&x", '{"code":734512}'):
        (tmp_path / "a").write_text(text)
        assert len(knowing("734512").search(tmp_path)) == 1


@pytest.mark.parametrize("name", ["state.db-wal", "gone.pem", "index.parquet", "000001-000000000001.active"])
def test_bug_a_file_that_a_living_process_took_away_meanwhile_failed_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The browser tests' installation lives on while each of their modules is searched."""
    (tmp_path / "stays").write_text(PLANTED)
    listed = searching.written
    monkeypatch.setattr(searching, "written", lambda folder: [(folder / name, (1, 1)), *listed(folder)])
    assert [Path(each.where).name for each in knowing(PLANTED).search(tmp_path)] == ["stays"]


def test_command_lines_and_what_was_said_are_searched(tmp_path: Path) -> None:
    secret = secrets.token_hex(16)
    canaries = knowing(secret)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)", secret])
    try:
        shown = Path(f"/proc/{sleeper.pid}/cmdline")
        while (
            secret.encode() not in shown.read_bytes()
        ):  # its parent goes on a moment before its arguments are in place
            time.sleep(0.01)
        canaries.processes()
    finally:
        sleeper.kill()
        sleeper.wait()
    assert [each.where for each in canaries.search(tmp_path)] == ["command lines"]


def test_keys_are_learned_from_the_files_that_hold_them_and_those_are_not_searched(tmp_path: Path) -> None:
    key = secrets.token_hex(32)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "sealing.key").write_text(key + "\n")
    (tmp_path / "keys" / "checkpoint.pub").write_text("A" * 40)
    canaries = Canaries()
    assert canaries.search(tmp_path) == []
    assert list(canaries.secrets) == [key]
    (tmp_path / "log.txt").write_text("A" * 40 + key)
    assert [each.what for each in canaries.search(tmp_path)] == ["key sealing.key"]
    (tmp_path / "log.txt").unlink()  # or this run itself would fail


def test_the_last_search_reads_only_what_was_written_to_since(tmp_path: Path) -> None:
    """It reads whole trails again otherwise, within the time limit of one test, which it once exceeded."""
    secret = secrets.token_hex(32)
    early, late = tmp_path / "early.txt", tmp_path / "late.txt"
    early.write_text("nothing")
    late.write_text("nothing yet")
    canaries = Canaries()
    canaries.learn(secret, "token")
    assert canaries.search(tmp_path) == []
    with late.open("a") as opened:
        opened.write(secret)
    assert [each.where for each in canaries.search(tmp_path, changed=True)] == [str(late)]
    assert canaries.searched == 3
    assert canaries.search(tmp_path, changed=True) == []
    late.unlink()  # or this run itself would fail


def test_a_file_that_its_writer_could_not_finish_is_searched_as_it_is(tmp_path: Path) -> None:
    secret = secrets.token_hex(32)
    canaries = Canaries()
    canaries.learn(secret, "token")
    halves = [tmp_path / "events-000000001.parquet", tmp_path / "000001.jsonl.zst"]
    for half in halves:
        half.write_bytes(b"PAR1" + secret.encode())
    assert {each.where for each in canaries.search(tmp_path)} == {str(half) for half in halves}
    for half in halves:
        half.unlink()  # or this run itself would fail


TEST = """
import secrets
def test_leaves(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"body":{"a":"%s"}}' % (LEFT))
def test_more():
    assert True
"""


@pytest.mark.promise("P5.no-secret-in-any-record")
@pytest.mark.parametrize("left", ["secrets.token_urlsafe(32).encode().hex()", "'nothing'"])
def test_a_run_that_leaves_a_secret_fails(tmp_path: Path, left: str) -> None:
    """The plugin itself, in a run of its own over a planted violation."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_planted.py").write_text(TEST.replace("LEFT", left))
    plugin = "from tests.support.canary_watch import install\ndef pytest_configure(config): install(config)\n"
    (tmp_path / "tests" / "conftest.py").write_text(plugin)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir",
               str(tmp_path), "--basetemp", str(tmp_path / "left"), str(tmp_path / "tests")]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    clean = left == "'nothing'"
    assert (done.returncode == 0) is clean, done.stdout + done.stderr
    assert ("secrets where none may stand" in done.stdout) is not clean
    (tmp_path / "left").rename(tmp_path / "node")  # the planted secret is not this run's own
