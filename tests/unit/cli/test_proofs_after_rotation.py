"""`sekisho audit verify-proof` when the log's key was given up for another between the proof and its check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from audit.checkpoint import generate, read_signer
from audit.proof import Proof
from cli.main import app
from tests.support.key_rotations import key_of, rotate, run_auditor
from tests.support.trails import Trail, decision

Run = Callable[..., Result]


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path / "journal", tmp_path / "log", generate("log.example"))


@pytest.fixture
def run(trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A log whose key changed twice; `early` is the proof of a record of before, `late` of one of after."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["audit", command, *arguments], env={"COLUMNS": "160"})

    def prove(name: str, event: str) -> None:
        places = ("--journal", str(trail.journals), "--log", str(trail.log), "--key", "present.pub")
        made = run("proof", event, "-O", name, *places)
        assert made.exit_code == 0, made.output

    key = key_of(trail, tmp_path)
    for name in ("first.pub", "present.pub"):
        Path(name).write_text(trail.signer.verifier.encode())
    prove("early", "worker-0:1:2")
    rotate(trail, key)
    rotate(trail, key)
    trail.write("worker-0", [decision(at) for at in range(5, 9)])
    run_auditor(trail, key)
    Path("present.pub").write_text(read_signer(key.read_text()).verifier.encode())
    prove("late", "worker-0:2:2")
    return run


def handovers(trail: Trail) -> list[str]:
    return [word for path in sorted((trail.log / "rotations").iterdir()) for word in ("--handover", str(path))]


@pytest.mark.promise("P5.offline-proof")
def test_the_first_key_leads_to_a_later_proof_with_the_handovers_in_any_order(run: Run, trail: Trail) -> None:
    given = handovers(trail)
    for order in (given, given[2:] + given[:2], given + given):
        for proof in ("early", "late"):
            verified = run("verify-proof", proof, "--key", "first.pub", *order)
            assert verified.exit_code == 0, verified.output


@pytest.mark.parametrize(("key", "proof"), [("first.pub", "late"), ("present.pub", "early")])
def test_without_them_the_fault_is_the_key_and_not_the_record(run: Run, key: str, proof: str) -> None:
    verified = run("verify-proof", proof, "--key", key)
    assert verified.exit_code == 7
    assert "知っている鍵の署名がありません" in verified.stderr
    assert "--handover" in verified.stderr
    assert "証明が成り立ちません" not in verified.stderr


def test_a_key_that_was_given_up_proves_nothing_to_who_holds_its_successor(run: Run, trail: Trail) -> None:
    """Whoever stole it could sign a larger tree and show the public record of the rotation in it."""
    assert run("verify-proof", "early", "--key", "present.pub", *handovers(trail)).exit_code == 7


def test_a_false_signature_of_a_known_key_is_told_as_that(run: Run, trail: Trail, tmp_path: Path) -> None:
    lines = (tmp_path / "early").read_text().split("\n")
    root = lines.index("", 3) + 3
    lines[root] = "A" * 43 + "="
    (tmp_path / "early").write_text("\n".join(lines))
    verified = run("verify-proof", "early", "--key", "first.pub", *handovers(trail))
    assert verified.exit_code == 7
    assert "証明が成り立ちません" in verified.stderr


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"{}", b'{"event.action":1}'])
def test_a_handover_of_any_shape_is_refused_in_words(run: Run, tmp_path: Path, body: bytes) -> None:
    line = b'{"salt":"' + b"0" * 32 + b'","body":' + body + b"}\n"
    text = Proof(line, 0, (), "x\n1\nAA==\n\n").encode()
    (tmp_path / "odd").write_text(text)
    verified = run("verify-proof", "late", "--key", "first.pub", "--handover", "odd")
    assert verified.exit_code == 7, verified.exception
    assert "鍵の引き継ぎが正しくありません" in verified.stderr


def test_half_of_the_way_is_not_enough(run: Run, trail: Trail) -> None:
    assert run("verify-proof", "late", "--key", "first.pub", *handovers(trail)[:2]).exit_code == 7


def test_a_handover_that_was_changed_leads_nowhere(run: Run, trail: Trail, tmp_path: Path) -> None:
    path = min((trail.log / "rotations").iterdir())
    index = int(path.read_text().split("\n")[2].removeprefix("index "))
    path.write_text(path.read_text().replace(f"index {index}", f"index {index - 1}"))
    verified = run("verify-proof", "late", "--key", "first.pub", *handovers(trail))
    assert verified.exit_code == 7
    assert "鍵の引き継ぎが正しくありません" in verified.stderr
