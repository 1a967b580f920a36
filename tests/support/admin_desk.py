"""The admin API over a real store, a real journal file and the real guard; the steward's commands run in process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aiohttp.test_utils import TestClient, TestServer

from audit.journal import Journal
from audit.query import Query
from audit.search import search
from gateway.admin.server import build_admin_app
from gateway.identity.context import ControlContext
from gateway.identity.digests import KeyedDigests
from gateway.settings import Settings
from gateway.state import store
from gateway.state.arguments import Arguments
from gateway.state.command import Rules, Surroundings
from gateway.state.commands import COMMANDS
from gateway.state.sealing import Sealing
from tests.support.filled_installation import SETTINGS, fill

_RULES = Rules(absolute=32_400, idle=1800, concurrent=3, code_lifetime=30, wait_after=5)


class DeskSteward:
    """Carries out commands as the steward's transactions do; keeps what they would record."""

    def __init__(self, state: store.Store, now: Any) -> None:
        self._state = state
        self._now = now
        self.records: list[dict[str, Any]] = []

    async def call(self, op: str, **args: Any) -> dict[str, Any]:
        """Run one command; raises CommandRefused."""
        if op == "session.used":
            return {}
        with self._state.transaction(op, self._now()) as tx:
            outcome = COMMANDS[op].run(tx, Arguments(args), Surroundings(self._now(), _RULES))
        self.records += outcome.records
        if outcome.refusal is not None:
            raise outcome.refusal
        return outcome.result


class AdminDesk:
    """One admin API. `late` is how far its clock is ahead, in seconds."""

    def __init__(self, folder: Path, records: Iterable[Any]) -> None:
        for name in ("state", "journal", "log", "run", "keys"):
            (folder / name).mkdir()
        fill(folder, records, time.time())
        (folder / "sealing.key").rename(folder / "keys" / "sealing.key")
        for file in folder.glob("sekisho.db*"):
            file.rename(folder / "state" / file.name)
        self.folder = folder
        self.late = 0.0
        self.key = folder / "keys" / "sealing.key"
        sealing = Sealing.load(self.key)
        path = folder / "state" / "sekisho.db"
        self.store = store.Store(path, sealing)
        self.steward = DeskSteward(self.store, self.clock)
        self.journal = Journal(folder / "journal", "control", segment_bytes=1 << 20, segment_age=60.0, stall_limit=30)
        self._reader = store.Reader(path, sealing)
        self.context = cast(
            "ControlContext",
            SimpleNamespace(
                settings=Settings.parse(SETTINGS, folder / "sekisho.toml"), reader=self._reader, steward=self.steward,
                journal=self.journal, clock=self.clock, posture=None, alerts=None, lists=None,
                digests=KeyedDigests.load(self.key),
            ),
        )  # fmt: skip
        self.client: TestClient[Any, Any]

    def clock(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.late

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[AdminDesk]:
        """Serve within the block."""
        self.journal.open(asyncio.get_running_loop())
        self.client = TestClient(TestServer(build_admin_app(self.context)))
        await self.client.start_server()
        try:
            yield self
        finally:
            await self.client.close()
            self.journal.close(2.0)
            self._reader.close()
            self.store.close()

    async def post(self, token: str, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """POST as the operator with this token; the status and the answer."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.client.post(path, json=body, headers=headers) as answer:
            return answer.status, json.loads(await answer.text())

    async def rows(self, token: str, path: str, **body: Any) -> list[dict[str, Any]]:
        """POST and read an NDJSON answer."""
        async with self.client.post(path, json=body, headers={"Authorization": f"Bearer {token}"}) as answer:
            return [json.loads(line) for line in (await answer.text()).splitlines()]

    async def get(self, token: str, path: str) -> tuple[int, dict[str, Any]]:
        """GET as the operator with this token."""
        async with self.client.get(path, headers={"Authorization": f"Bearer {token}"}) as answer:
            return answer.status, json.loads(await answer.text())

    def told(self, command: str = "") -> list[dict[str, Any]]:
        """What the journal says of a command, oldest first."""
        found = search(self.folder / "journal", Query(text="admin.", newest_first=False, limit=10_000))
        return [each for each in found if not command or each.get("sekisho.admin.command") == command]
