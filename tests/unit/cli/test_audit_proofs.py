"""`sekisho audit …` on a real trail, offline: what each command proves, and what it says when it does not hold."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from audit.checkpoint import generate
from audit.event import Action, event
from audit.issued import IssuedLog, issued
from audit.originals import given_out
from cli.main import app
from tests.support.trails import Trail, decision

Run = Callable[..., Result]
REQUEST = "01JDX4V29K3M7QTB"


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """300 records of two workers, one of them completed, and a checkpoint at 200 kept elsewhere."""
    trail = Trail(tmp_path / "journal", tmp_path / "log", generate("log.example"))
    trail.write("worker-0", [decision(number) for number in range(119)])
    trail.write("worker-1", [decision(number) for number in range(120, 199)])
    assert trail.sign() == 200
    shutil.copy(trail.log / "checkpoint", tmp_path / "kept")
    wall = given_out(REQUEST)
    trail.write("worker-1", [
        event(Action.REQUEST_DECIDED, wall, {"http.request.id": REQUEST, "user.name": "sato"}),
        *(decision(number) for number in range(200, 297)),
        event(Action.REQUEST_COMPLETED, wall + 9, {"http.request.id": REQUEST}),
    ])  # fmt: skip
    assert trail.sign() == 300
    (tmp_path / "key.pub").write_text(trail.signer.verifier.encode())
    return trail


@pytest.fixture
def run(trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    places = {"--journal": "journal", "--log": "log", "--key": "key.pub"}
    takes = {"proof": places, "verify": places, "verify-proof": ["--key"], "consistency": ["--log", "--key"],
             "checkpoints": ["--log", "--key"]}  # fmt: skip

    def run(command: str, *arguments: str) -> Result:
        given = [word for name in takes[command] for word in (name, places[name])]
        environment = {"COLUMNS": "160", "XDG_STATE_HOME": str(tmp_path / "state")}
        return CliRunner().invoke(app, ["audit", command, *arguments, *given], env=environment)

    return run


@pytest.mark.promise("P5.offline-proof")
def test_a_records_proof_is_verified_with_the_key_alone(run: Run, tmp_path: Path) -> None:
    made = run("proof", "worker-0:1:17", "-O", "it.tlog-proof", "-o", "json")
    assert made.exit_code == 0, made.output
    (row,) = json.loads(made.stdout)
    assert (row["id"], row["file"], row["size"]) == ("worker-0:1:17", "it.tlog-proof", 300)
    shutil.rmtree(tmp_path / "journal")
    shutil.rmtree(tmp_path / "log")

    verified = run("verify-proof", "it.tlog-proof", "-o", "json")

    assert verified.exit_code == 0, verified.output
    (proven,) = json.loads(verified.stdout)
    assert (proven["id"], proven["index"], proven["signed_by"]) == ("worker-0:1:17", row["index"], "log.example")
    assert proven["record"]["http.request.id"] == f"R{15:015d}"  # the first record is the journal's own
    assert "証明 1 件は正しいです" in verified.stderr


def test_a_requests_proof_is_of_its_decision_and_its_completion(run: Run, tmp_path: Path) -> None:
    made = run("proof", "01JD-X4V2-9K3M-7QTB", "-O", "case.tlog-proof", "-o", "json")
    assert made.exit_code == 0, made.output
    rows = json.loads(made.stdout)
    assert [row["file"] for row in rows] == ["case.worker-1-2-2.tlog-proof", "case.worker-1-2-100.tlog-proof"]
    verified = run("verify-proof", *(row["file"] for row in rows), "-o", "json")
    assert [row["action"] for row in json.loads(verified.stdout)] == ["request.decided", "request.completed"]
    again = run("proof", "01JD-X4V2-9K3M-7QTB", "-O", "case.tlog-proof")
    assert again.exit_code == 6  # nothing is overwritten


def _tampered(text: str, how: str) -> str:
    lines = text.split("\n")
    if how == "record":
        line = base64.b64decode(lines[1].removeprefix("extra ")).replace(b'"sato"', b'"soto"')
        lines[1] = "extra " + base64.b64encode(line).decode()
    elif how == "index":
        lines[2] = "index 17"
    elif how == "path":
        lines[3], lines[4] = lines[4], lines[3]
    elif how == "shorter path":
        del lines[5]
    elif how == "size":
        lines[lines.index("300")] = "299"
    elif how == "spelling":
        lines[3] = lines[3][:-2] + chr(ord(lines[3][-2]) + 1) + "="
    elif how == "header":
        lines[0] = "c2sp.org/tlog-proof@v2"
    return "\n".join(lines)


@pytest.mark.promise("P5.offline-proof")
@pytest.mark.parametrize("how", ["record", "index", "path", "shorter path", "size", "spelling", "header"])
def test_a_changed_proof_does_not_hold(run: Run, tmp_path: Path, how: str) -> None:
    assert run("proof", "worker-0:1:17", "-O", "it.tlog-proof").exit_code == 0
    path = tmp_path / "it.tlog-proof"
    path.write_text(_tampered(path.read_text(), how))

    verified = run("verify-proof", "it.tlog-proof")

    assert verified.exit_code == 7, verified.output
    assert "it.tlog-proof: 証明が成り立ちません" in verified.stderr


def test_another_key_proves_nothing(run: Run, tmp_path: Path) -> None:
    assert run("proof", "worker-0:1:17", "-O", "it.tlog-proof").exit_code == 0
    (tmp_path / "key.pub").write_text(generate("log.example").verifier.encode())
    verified = run("verify-proof", "it.tlog-proof")
    assert verified.exit_code == 7
    assert "no signature by log.example" in verified.stderr


def test_what_cannot_be_proven_gets_no_proof(run: Run, trail: Trail, tmp_path: Path) -> None:
    tile = trail.log / "tile/0/000"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    damaged = run("proof", "worker-0:1:17", "-O", "it.tlog-proof")
    assert damaged.exit_code == 7
    assert not (tmp_path / "it.tlog-proof").exists()
    assert run("proof", "worker-0:9:17").exit_code == 3
    assert run("proof", "0000-0000-0000-0000").exit_code == 3


def test_an_edited_record_is_in_no_checkpoint(run: Run, trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.commands.record_proofs._WAIT", 0.0)
    segment = min((trail.journals / "worker-0").glob("*.jsonl"))
    segment.chmod(0o600)
    segment.write_bytes(segment.read_bytes().replace(b"R000000000000003", b"R000000000000099"))
    edited = run("proof", "worker-0:1:5")
    assert edited.exit_code == 1
    assert "worker-0:1:5 はどのチェックポイントにもまだ含まれていません" in edited.stderr


@pytest.mark.promise("P5.consistency")
def test_consistency_of_files_and_sizes(run: Run, trail: Trail, tmp_path: Path) -> None:
    shown = run("consistency", "kept", "-o", "json")
    assert shown.exit_code == 0, shown.output
    row = json.loads(shown.stdout)
    assert (row["old_size"], row["new_size"]) == (200, 300)
    assert row["path"]
    by_size = json.loads(run("consistency", "200", "300", "-o", "json").stdout)
    assert by_size == row
    assert run("consistency", "kept", "kept").exit_code == 0
    assert run("consistency", "301").exit_code == 2


@pytest.mark.promise("P5.consistency")
def test_a_rolled_back_or_forked_log_is_not_consistent(run: Run, trail: Trail, tmp_path: Path) -> None:
    shutil.copy(trail.log / "checkpoint", tmp_path / "later")
    back = run("consistency", "later", "kept")
    assert back.exit_code == 7
    assert "the log was rolled back" in back.stderr

    shutil.rmtree(trail.log)
    shutil.rmtree(trail.journals)
    trail.write("worker-0", [decision(number) for number in range(500, 900)])
    trail.sign()
    forked = run("consistency", "kept")
    assert forked.exit_code == 7, forked.output
    assert "kept は 最新 に続いていません" in forked.stderr


@pytest.mark.promise("P5.consistency")
def test_since_last_remembers_and_finds_a_roll_back(run: Run, trail: Trail, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    first = run("verify", "--since-last", "--memory", str(memory))
    assert first.exit_code == 0, first.output
    assert "今回を次回の起点" in first.stderr
    assert memory.stat().st_mode & 0o777 == 0o600
    whole = tmp_path / "whole"
    shutil.copytree(trail.log, whole / "log")
    shutil.copytree(trail.journals, whole / "journal")

    trail.write("worker-0", [decision(number) for number in range(900, 950)])
    trail.sign()
    second = run("verify", "--since-last", "--memory", str(memory))
    assert second.exit_code == 0, second.output
    assert "前回検証した 300 件はそのままで、51 件増えました" in second.stderr

    for name in ("log", "journal"):
        shutil.rmtree(tmp_path / name)
        shutil.copytree(whole / name, tmp_path / name)
    back = run("verify", "--since-last", "--memory", str(memory))
    assert back.exit_code == 7, back.output
    assert "rolled back" in back.stderr


def test_checkpoints_are_listed_newest_first(run: Run, trail: Trail, tmp_path: Path) -> None:
    kept = IssuedLog(trail.log)
    kept.keep((tmp_path / "kept").read_text(), 1_700_000_000.0)
    kept.keep("too soon", 1_700_000_599.0)
    kept.keep((trail.log / "checkpoint").read_text(), 1_700_000_600.0)
    rows = json.loads(run("checkpoints", "-o", "json").stdout)
    assert [(row["size"], row["signed_by"]) for row in rows] == [(300, ["log.example"]), (200, ["log.example"])]
    assert trail.signer.verifier.open(rows[1]["note"]).size == 200

    (day,) = (trail.log / "issued").iterdir()
    assert day.name == "2023-11-14.ndjson"
    day.write_bytes(day.read_bytes() + b'{"time": 17000')  # cut by a crash
    IssuedLog(trail.log).keep((tmp_path / "kept").read_text(), 1_700_001_000.0)
    assert [each.at for each in issued(trail.log)] == [1_700_000_000.0, 1_700_000_600.0, 1_700_001_000.0]

    day.write_text(day.read_text().replace("200\\n", "199\\n"))
    forged = run("checkpoints")
    assert forged.exit_code == 7
    assert "2023-11-15 07:13:20" in forged.stderr
