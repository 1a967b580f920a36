"""Our checkpoints, tiles and proofs against another implementation of the same formats: Go's sumdb/note and sumdb/tlog.

The program stands in `tests/go`; it shares nothing with ours but the files that it is given.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.checkpoint import Checkpoint, CheckpointInvalid, generate, read_verifier
from audit.tiles import Tiles
from cli.main import app
from tests.support.trails import Trail, decision

SOURCE = Path(__file__).parents[1] / "go"
SIZES = (1, 255, 256, 257, 600, 701)


@pytest.fixture(scope="session")
def agree(requires_go: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built from what `go.sum` pins and nothing newer."""
    built = tmp_path_factory.mktemp("go") / "agree"
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    command = [str(requires_go), "build", "-o", str(built), "."]
    done = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Trail:
    """A log that was signed at each of `SIZES`."""
    folder = tmp_path_factory.mktemp("trail")
    trail = Trail(folder / "journal", folder / "log", generate("log.example/関所"))
    size = 0
    for number, wanted in enumerate(SIZES):
        events = [decision(each) for each in range(size, wanted - 1)]
        trail.write(f"worker-{number}", events) if events else trail.write("control", [])
        size = trail.sign()
    assert size == SIZES[-1]
    (folder / "key.pub").write_text(trail.signer.verifier.encode())
    return trail


def ours(trail: Trail, folder: Path, command: str, *arguments: str) -> str:
    places = ["--log", str(trail.log), "--key", str(trail.log.parent / "key.pub")]
    if command == "proof":
        places += ["--journal", str(trail.journals)]
    result = CliRunner().invoke(app, ["audit", command, *arguments, *places, "-o", "json"])
    assert result.exit_code == 0, result.output
    return result.stdout


def checked(agree: Path, trail: Trail, claims: Path, log: Path | None = None) -> subprocess.CompletedProcess[str]:
    key = trail.log.parent / "key.pub"
    command = [str(agree), "check", str(key), str(log or trail.log), str(claims)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def claimed(trail: Trail, folder: Path, records: Sequence[str]) -> Path:
    """Proofs by the command line, as it hands them out."""
    proofs = []
    for record in records:
        path = folder / (record.replace(":", "-") + ".tlog-proof")
        ours(trail, folder, "proof", record, "-O", str(path))
        proofs.append(str(path))
    steps = [(old, new) for new in SIZES for old in (1, 2, 255, 256, 300, 512, 700, new) if old <= new]
    consistency = [json.loads(ours(trail, folder, "consistency", str(old), str(new))) for old, new in steps]
    path = folder / "claims.json"
    path.write_text(json.dumps({"proofs": proofs, "consistency": consistency}))
    return path


@pytest.mark.promise("P5.other-implementation-agrees")
def test_go_agrees_with_checkpoint_tiles_and_proofs(agree: Path, trail: Trail, tmp_path: Path) -> None:
    records = ["control:1:1", "worker-1:1:1", "worker-1:1:254", "worker-4:1:343", "worker-5:1:101", "worker-5:1:7"]
    claims = claimed(trail, tmp_path, records)

    done = checked(agree, trail, claims)

    assert done.returncode == 0, done.stderr
    listed = json.loads(claims.read_text())
    assert json.loads(done.stdout) == {
        "size": SIZES[-1], "proofs": len(records), "consistency": len(listed["consistency"]),
    }  # fmt: skip
    assert len(listed["consistency"]) > 25


def test_go_disagrees_with_what_was_changed(agree: Path, trail: Trail, tmp_path: Path) -> None:
    claims = claimed(trail, tmp_path, ["worker-4:1:3"])
    log = tmp_path / "log"
    shutil.copytree(trail.log, log)
    entries = log / "tile/entries/001"
    entries.write_bytes(entries.read_bytes()[:-1] + b"\0")
    assert "leaf 511: the tile has another hash than the entry" in checked(agree, trail, claims, log).stderr

    said = json.loads(claims.read_text())
    said["consistency"][-2]["path"][0] = said["consistency"][-2]["path"][1]
    (tmp_path / "other.json").write_text(json.dumps(said))
    assert "path: got" in checked(agree, trail, tmp_path / "other.json").stderr

    (tmp_path / "strange.pub").write_text(generate("log.example/関所").verifier.encode())
    strange = subprocess.run(
        [str(agree), "check", str(tmp_path / "strange.pub"), str(trail.log), str(claims)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "note has no verifiable signatures" in strange.stderr


@pytest.mark.promise("P5.other-implementation-agrees")
def test_a_note_that_go_signed_opens_here(agree: Path, trail: Trail) -> None:
    state = Checkpoint("go.example/log", 257, Tiles(trail.log, SIZES[-1]).root(0, 257))
    done = subprocess.run(
        [str(agree), "sign", "go.example/log"], input=state.body(), capture_output=True, text=True, check=True
    )
    key, _, note = done.stdout.partition("\n")
    verifier = read_verifier(key)
    assert verifier.encode() == key
    assert verifier.open(note) == state
    with pytest.raises(CheckpointInvalid):
        verifier.open(note.replace("257", "258"))
