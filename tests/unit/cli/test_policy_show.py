"""`sekisho policy show` against the real admin API: the text alone on standard output, whose it is beside it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from aiohttp import web
from typer.testing import CliRunner, Result

from audit.journal import Journal
from cli.exit_codes import ExitCode
from cli.main import app
from cli.place import Place
from gateway.admin.server import build_admin_app
from gateway.identity.context import ControlContext
from gateway.settings import Settings
from gateway.state import store
from gateway.state.records import Approval, PolicyVersion
from gateway.state.sealing import Sealing
from gateway.state.steward_client import StewardClient
from tests.support.filled_installation import SETTINGS, fill
from tests.support.running_city import POLICY
from tests.support.steward_process import session, user

NOW = time.time()
OLDER = "ab" * 32
ACTIVE = "cd" * 32
RECORDS = [
    replace(user(1), roles=("audit",)),
    session("op", user(1).id, token_hash=hashlib.sha256(b"op").hexdigest(), operator=True, created_at=NOW,
            last_used_at=NOW, mfa_at=NOW, expires_at=NOW + 30_000, idle_limit=30_000.0),
    PolicyVersion(OLDER, "最初の版", "version: 1\n# 旧\n", "init", NOW - 60, "retired", "init"),
    PolicyVersion(ACTIVE, "今の版", POLICY, "nakamura", NOW - 30, "active", "yamamoto"),
    Approval("a1", "policy", ACTIVE, "{}", "nakamura", NOW - 30, NOW + 60, "yamamoto", NOW - 10, True),
]  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two versions, made once: each test works on a copy."""
    folder = tmp_path_factory.mktemp("filled")
    fill(folder, RECORDS, NOW)
    return folder


@pytest.fixture
def environment(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation's folder, known to the command line, with a token in its place."""
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("SEKISHO_ADMIN_SOCKET", str(tmp_path / "run" / "admin.sock"))
    for name in ("journal", "run"):
        (tmp_path / name).mkdir()
    token = Place(None).token_file()
    token.parent.mkdir(parents=True, mode=0o700)
    token.touch(mode=0o600)
    token.write_text("op")
    return tmp_path


def ask(root: Path, *arguments: str) -> Result:
    """Run one command while the admin API answers."""

    async def main() -> Result:
        journal = Journal(root / "journal", "control", segment_bytes=1 << 20, segment_age=60.0, stall_limit=30)
        journal.open(asyncio.get_running_loop())
        reader = store.Reader(root / "sekisho.db", Sealing.load(root / "sealing.key"))
        context: Any = SimpleNamespace(
            settings=Settings.parse(SETTINGS, root / "sekisho.toml"), reader=reader, journal=journal, clock=time.time,
            steward=StewardClient(root / "run" / "nobody.sock", deadline=1.0), posture=None, alerts=None,
        )  # fmt: skip
        runner = web.AppRunner(build_admin_app(cast("ControlContext", context)))
        await runner.setup()
        await web.UnixSite(runner, str(root / "run" / "admin.sock")).start()
        try:
            return await asyncio.to_thread(CliRunner().invoke, app, ["policy", "show", *arguments])
        finally:
            await runner.cleanup()
            journal.close(2.0)
            reader.close()

    return asyncio.run(main())


def test_the_active_text_alone_goes_to_standard_output(environment: Path) -> None:
    shown = ask(environment)
    assert (shown.exit_code, shown.stdout) == (ExitCode.DONE, POLICY)
    for told in (ACTIVE[:12], "今の版", "nakamura", "yamamoto"):
        assert told in shown.stderr


def test_an_older_version_is_named_by_the_beginning_of_its_hash(environment: Path) -> None:
    shown = ask(environment, OLDER[:6])
    assert (shown.exit_code, shown.stdout) == (ExitCode.DONE, "version: 1\n# 旧\n")


def test_programs_get_every_field(environment: Path) -> None:
    shown = ask(environment, "-o", "json")
    row = json.loads(shown.stdout)
    assert (row["hash"], row["created_by"], row["approved_by"]) == (ACTIVE, "nakamura", "yamamoto")
    assert row["source"] == POLICY
    assert (row["created_at"], row["approved_at"]) == (pytest.approx(NOW - 30), pytest.approx(NOW - 10))


def test_yaml_holds_the_text_line_by_line(environment: Path) -> None:
    shown = ask(environment, "-o", "yaml").stdout
    assert "    description: 税務課は文書管理を利用できる\n" in shown
    assert yaml.safe_load(shown)["source"] == POLICY


def test_a_version_that_is_not_there_is_not_found(environment: Path) -> None:
    shown = ask(environment, "123456")
    assert (shown.exit_code, shown.stdout) == (ExitCode.NOT_FOUND, "")
