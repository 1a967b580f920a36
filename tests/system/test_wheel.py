"""The wheel, not the checkout: it holds what runs, and its base works without the server's libraries."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from audit.auditor import Auditor
from audit.checkpoint import generate
from tests.unit.audit.test_shipper import write_journal

ROOT = Path(__file__).parents[2]
PACKAGES = {"gateway", "policies", "audit", "mdm_sim", "cli"}
SERVER_ONLY = (
    "alembic", "argon2", "duckdb", "elasticsearch", "httptools", "jinja2", "pyotp", "segno", "sqlalchemy", "uvloop",
    "webauthn",
)  # fmt: skip

BLOCKED_START = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import cli
assert cli.__file__.startswith({target!r}), cli.__file__
from {module} import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(unpacked: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        started(unpacked, "cli.main", *arguments),
        cwd=cwd, env=environment(unpacked), capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def started(unpacked: Path, module: str, *arguments: str) -> list[str]:
    """Return the command that runs `main` of a module where the server's libraries are absent."""
    start = BLOCKED_START.format(names=set(SERVER_ONLY), target=str(unpacked), module=module)
    return [sys.executable, "-c", start, *arguments]


def environment(unpacked: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(unpacked), "SEKISHO_CONFIG": "", "COLUMNS": "100"}


def test_the_wheel_holds_the_five_packages_with_their_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    tracked = subprocess.run(
        ["git", "ls-files", *sorted(PACKAGES)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert set(tracked.stdout.split()) <= set(names)


def test_the_base_shows_its_help_without_the_server(unpacked: Path, tmp_path: Path) -> None:
    shown = run(unpacked, "--help", cwd=tmp_path)

    assert shown.returncode == 0, shown.stderr
    assert "receipts" in shown.stdout


def test_the_base_verifies_a_trail_without_the_server(unpacked: Path, tmp_path: Path) -> None:
    write_journal(tmp_path / "journal", 40)
    signer = generate("portal.example.jp/log")
    (tmp_path / "checkpoint.pub").write_text(signer.verifier.encode())
    auditor = Auditor(tmp_path / "journal", tmp_path / "log", signer)
    auditor.poll()
    auditor.commit()
    auditor.close()
    places = ("--journal", "journal", "--log", "log", "--key", "checkpoint.pub")

    whole = run(unpacked, "audit", "verify", *places, cwd=tmp_path)
    made = run(unpacked, "audit", "proof", "worker-0:1:20", "-O", "it.tlog-proof", *places, cwd=tmp_path)
    proven = run(unpacked, "audit", "verify-proof", "it.tlog-proof", "--key", "checkpoint.pub", cwd=tmp_path)
    (segment,) = (tmp_path / "journal" / "worker-0").iterdir()
    segment.write_bytes(segment.read_bytes().replace(b'"s17"', b'"s71"'))
    edited = run(unpacked, "audit", "verify", *places, cwd=tmp_path)

    assert whole.returncode == 0, whole.stderr
    assert made.returncode == 0, made.stderr
    assert proven.returncode == 0, proven.stderr
    assert edited.returncode == 7, edited.stdout
    assert "worker-0" in edited.stderr + edited.stdout


def test_the_base_checks_a_policy_without_the_server(unpacked: Path, tmp_path: Path) -> None:
    policy = unpacked / "policies" / "bundled" / "starter.yaml"

    shown = run(unpacked, "policy", "test", "-f", str(policy), cwd=tmp_path)

    assert shown.returncode == 0, shown.stderr + shown.stdout


def test_the_base_is_a_witness_without_the_server(unpacked: Path, tmp_path: Path) -> None:
    made = run(unpacked, "witness", "keygen", "--name", "w.example", "--key", "w.key", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    log = generate("portal.example.jp/log").verifier.encode()
    places = ("--listen", "127.0.0.1:0", "--state", "state", "--key", "w.key", "--log", log)
    command = started(unpacked, "audit.witness.server", *places)
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(unpacked), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on 127.0.0.1:")
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
