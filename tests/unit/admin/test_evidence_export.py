"""`sekisho audit bundle` against a real admin API: what goes out is recorded first, and kept only when it is whole."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.bundle import verify_bundle
from audit.checkpoint import generate
from audit.event import check
from audit.journal import Journal, JournalUnhealthy
from audit.query import Query
from audit.receipt import Receipt, sign_receipt, verify_receipt
from audit.search import search
from cli.place import state_file
from gateway.admin.server import build_admin_app
from gateway.identity.context import ControlContext
from gateway.settings import Settings
from gateway.state import schema, store
from gateway.state.records import PolicyVersion
from gateway.state.sealing import Sealing
from gateway.state.steward_client import StewardClient
from tests.support.filled_installation import SETTINGS, fill
from tests.support.trails import Trail, decision
from tests.unit.admin.test_admin_matrix import NOW, RECORDS

SOURCE = "version: 1\n"
START = 1_700_000_000.0
RECEIPT_KEY = Ed25519PrivateKey.generate()
HASH = hashlib.sha256(SOURCE.encode()).hexdigest()
PERIOD = ("--period", "2023-11-14T22:13:20Z", "2023-11-14T22:15:00Z")  # 100 s


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ControlContext]:
    """Control's context over 200 decisions that a checkpoint covers."""
    settings = Settings.parse(SETTINGS, tmp_path / "sekisho.toml")
    for folder in (settings.paths.state, settings.paths.run, settings.paths.keys):
        folder.mkdir(parents=True, exist_ok=True)
    policy = PolicyVersion(HASH, "試験", SOURCE, "u-ciso", NOW, "active", "u-ciso")
    fill(settings.paths.state, [*RECORDS, policy], NOW)
    trail = Trail(settings.paths.journal, settings.paths.log, generate("log.example"))
    named = {"sekisho.policy.hash": HASH}
    trail.write("worker-0", [decision(number, named) for number in range(200)])
    trail.sign()
    (settings.paths.keys / "checkpoint.pub").write_text(trail.signer.verifier.encode())
    sealing = Sealing.load(settings.paths.state / "sealing.key")
    writer = store.Store(settings.paths.state / "sekisho.db", sealing)
    with writer.transaction("test", NOW) as transaction:
        for at in (START - 10, START + 10, START + 1000):
            receipt = Receipt("session.end", f"r{at:.0f}", "u-ciso", "離席", (), at, (), {}, (), at, "")
            text = sign_receipt(receipt, RECEIPT_KEY)
            transaction.put_row(schema.receipts, {"id": receipt.id, "at": at, "text": text})
    writer.close()
    reader = store.Reader(settings.paths.state / "sekisho.db", sealing)
    journal = Journal(settings.paths.journal, "control", segment_bytes=1 << 20, segment_age=60.0, stall_limit=30)
    steward = StewardClient(tmp_path / "nobody.sock", deadline=1.0)
    yield cast("ControlContext", SimpleNamespace(
        settings=settings, reader=reader, steward=steward, journal=journal, clock=time.time, posture=None, alerts=None,
    ))  # fmt: skip
    reader.close()


def run(context: ControlContext, folder: Path, *commands: Sequence[str]) -> list[subprocess.CompletedProcess[str]]:
    """Run `sekisho audit bundle …` for each, as the auditor, against the API on its socket."""
    socket = context.settings.paths.admin_socket
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state-home"), "SEKISHO_ADMIN_SOCKET": str(socket),
                   "COLUMNS": "160"}  # fmt: skip
    before, os.environ["XDG_STATE_HOME"] = os.environ.get("XDG_STATE_HOME"), environment["XDG_STATE_HOME"]
    token = state_file("token", socket)
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before
    token.parent.mkdir(parents=True)
    token.touch(mode=0o600)
    token.write_text("audit\n")

    async def serve() -> list[subprocess.CompletedProcess[str]]:
        context.journal.open(asyncio.get_running_loop())
        runner = web.AppRunner(build_admin_app(context))
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        try:
            return [await asyncio.to_thread(
                subprocess.run, [sys.executable, "-m", "cli", "audit", "bundle", *command], env=environment,
                capture_output=True, text=True, check=False, timeout=60,
            ) for command in commands]  # fmt: skip
        finally:
            await runner.cleanup()
            context.journal.close(2.0)

    return asyncio.run(serve())


def recorded(context: ControlContext, action: str) -> list[dict[str, Any]]:
    return list(search(context.settings.paths.journal, Query(actions=frozenset({action}), newest_first=False)))


@pytest.mark.promise("P5.export-is-recorded")
def test_a_bundle_goes_out_recorded_and_verifies(context: ControlContext, tmp_path: Path) -> None:
    why = ("--reason", "住民からの照会", "--ticket", "R8-17")
    folder, zipped = tmp_path / "out", tmp_path / "out.zip"
    plan, made, again, packed = run(
        context, tmp_path, ("-O", str(folder), *PERIOD, *why, "--dry-run", "-o", "json"),
        ("-O", str(folder), *PERIOD, *why, "-o", "json"), ("-O", str(folder), *PERIOD, *why),
        ("-O", str(zipped), *PERIOD, *why, "--user", "sato", "-o", "json"),
    )  # fmt: skip

    assert json.loads(plan.stdout) == {"records": 100, "uncovered": 0}, plan.stderr
    assert made.returncode == 0, made.stderr
    row = json.loads(made.stdout)
    assert (row["records"], row["uncovered"], row["policies_missing"]) == (100, 0, [])
    key = str(context.settings.paths.keys / "checkpoint.pub")
    assert verify_bundle.main([str(folder), "--key", key, "--digest", row["digest"]]) == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["made_by"], manifest["reason"], manifest["ticket"]) == ("u-audit", "住民からの照会", "R8-17")
    assert (folder / f"policies/{HASH}.yaml").read_text() == SOURCE
    (receipt,) = (folder / "receipts").iterdir()
    assert verify_receipt(receipt.read_text(), RECEIPT_KEY.public_key()).durable_at == START + 10
    assert again.returncode == 6
    assert "既にあります" in again.stderr
    assert packed.returncode == 0, packed.stderr
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out", "out.zip"]

    first, second = recorded(context, "trail.exported")
    assert check({name: value for name, value in first.items() if name != "event.id"}) == []
    assert (first["user.name"], first["sekisho.count"], first["sekisho.justification"]) == (
        "u-audit", 100, "住民からの照会",
    )  # fmt: skip
    assert first["sekisho.export.digest"] == row["digest"]
    assert second["sekisho.export.selection"]["filters"] == {"user.name": "sato"}
    asked = [each for each in recorded(context, "admin.requested") if each["sekisho.admin.command"] == "events.bundle"]
    assert len(asked) == 3  # what exists already is refused before the server is asked
    assert all(each["sekisho.justification"] == "住民からの照会" for each in asked)


@pytest.mark.promise("P5.export-is-recorded")
def test_nothing_is_kept_where_the_export_cannot_be_recorded(
    context: ControlContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = context.journal.record

    async def record(fields: dict[str, Any]) -> Any:
        if fields["event.action"] == "trail.exported":
            raise JournalUnhealthy("the disk is full")
        return await real(fields)

    monkeypatch.setattr(context.journal, "record", record)
    (refused,) = run(context, tmp_path, ("-O", str(tmp_path / "out"), *PERIOD, "--reason", "照会"))

    assert refused.returncode == 1
    assert "証拠一式は完成していません" in refused.stderr
    assert list(tmp_path.glob("*out*")) == []


def test_what_is_not_as_written_is_not_handed_out(context: ControlContext, tmp_path: Path) -> None:
    segment = sorted((context.settings.paths.journal / "worker-0").glob("*.jsonl"))[2]
    segment.chmod(0o600)
    segment.write_bytes(segment.read_bytes().replace(b'"allowed"', b'"alloved"', 1))
    edited, nowhere, nothing = run(
        context, tmp_path, ("-O", str(tmp_path / "out"), *PERIOD, "--reason", "照会"),
        ("-O", str(tmp_path / "out"), "--case", "C-1", "--reason", "照会"),
        ("-O", str(tmp_path / "out"), "--reason", "照会"),
    )  # fmt: skip

    assert edited.returncode == 7, edited.stderr
    assert "worker-0:1:" in edited.stderr
    assert nowhere.returncode == 3
    assert nothing.returncode == 2
    assert list(tmp_path.glob("*out*")) == []
