"""Our cosignatures against another implementation: transparency-dev/formats, built from `tests/go/witness`.

It needs Go 1.25, which is newer than some distributions'; where Go is older the golden bytes that this implementation
made and checked (`tests/golden/audit`) show the same, in `tests/unit/audit/test_cosignatures.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from audit.checkpoint import Checkpoint, claimed, cosigned, generate, generate_cosigner, read_witness_key, with_line

SOURCE = Path(__file__).parents[1] / "go" / "witness"
OLDEST = (1, 25)
STATE = Checkpoint("log.example/関所", 68, bytes(range(32)))


@pytest.fixture(scope="session")
def go_witness(requires_go: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built from what `go.sum` pins and nothing newer."""
    said = subprocess.run([str(requires_go), "version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        pytest.skip(f"{said.strip()} is older than Go {OLDEST[0]}.{OLDEST[1]}: the golden bytes stand in")
    built = tmp_path_factory.mktemp("go") / "cosigned"
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    command = [str(requires_go), "build", "-o", str(built), "."]
    done = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


def go(program: Path, *words: str, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), *words], input=text, capture_output=True, text=True, check=False)


def test_go_opens_our_cosignature_and_tells_the_same_time(go_witness: Path) -> None:
    cosigner = generate_cosigner("prefecture.example/証人")
    note = with_line(generate(STATE.origin).sign(STATE), cosigner.cosign(STATE, 1_679_315_147))
    key = cosigner.verifier.encode()
    assert go(go_witness, "check", key, text=note).stdout == "1679315147\n"
    assert go(go_witness, "check", key, text=note.replace("\n68\n", "\n69\n")).returncode == 1
    assert go(go_witness, "check", generate_cosigner(cosigner.name).verifier.encode(), text=note).returncode == 1


def test_a_note_that_go_cosigned_opens_here(go_witness: Path) -> None:
    done = go(go_witness, "sign", "go.example/witness", text=STATE.body())
    key, _, note = done.stdout.partition("\n")
    witness = read_witness_key(key)
    assert witness.encode() == key
    assert claimed(note) == STATE
    assert cosigned(note, witness) > 1_700_000_000
