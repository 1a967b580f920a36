"""A real steward on a fresh installation, and worker processes on its feed."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

from gateway import installation
from gateway.first_state import FirstAccount
from gateway.state.records import Session, User
from gateway.state.steward_client import StewardClient
from tests.support.patience import PATIENT

ROOT = Path(__file__).parents[2]


def install(folder: Path) -> Path:
    """Make an installation in `folder`, a copy of one made once a run (its keys take long); returns sekisho.toml."""
    return shutil.copytree(_template(), folder / "city") / "sekisho.toml"


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sekisho-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    options = installation.Options(
        directory=folder / "city", portal_host="portal.sekisho.localhost", rp_id="sekisho.localhost",
        organisation="見本市", help_contact="内線 1", account=FirstAccount(), port=8443, listen="127.0.0.1:0",
    )  # fmt: skip
    return installation.create(installation.plan(options), time.time()).root


def token_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def user(number: int = 1) -> User:
    return User(f"u{number}", f"s{number:04}", "関 所太郎", "", "税務課", ("tax",), "staff", (), False, None, "", 0.0)


def session(name: str, user_id: str = "u1", **changes: Any) -> Session:
    now = time.time()
    values: dict[str, Any] = {
        "id": name, "user_id": user_id, "token_hash": token_hash(name), "amr": ("pwd", "otp", "mfa"),
        "acr": "urn:sekisho:aal2", "mfa_method": "totp", "mfa_at": now, "created_at": now, "expires_at": now + 32_400,
        "idle_limit": 1800.0, "last_used_at": now, "device_id": None, "source_ip": "192.0.2.1", "user_agent": "test",
        "operator": False, "ended_at": None, "end_reason": "",
    }  # fmt: skip
    return Session(**(values | changes))


class Process:
    """A child that speaks JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = process.pid

    async def line(self, **wanted: object) -> dict[str, Any]:
        """The next line that has all of `wanted`."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while raw := await self.process.stdout.readline():
                said: dict[str, Any] = json.loads(raw)
                if all(said.get(key) == value for key, value in wanted.items()):
                    return said
        raise AssertionError("the process ended")

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")

    async def look(self) -> dict[str, Any]:
        self.say("look")
        while "sessions" not in (said := await self.line()) or "age" not in said:
            pass
        return said


class City:
    """One installation with a steward and workers; `client` asks the steward."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.root = config.parent
        self.client = StewardClient(self.root / "run" / "steward.sock")
        self._steward: asyncio.subprocess.Process | None = None
        self._children: list[asyncio.subprocess.Process] = []

    async def start_steward(self, **environment: str) -> asyncio.subprocess.Process:
        """Start it and wait until it is ready."""
        read_end, write_end = os.pipe()
        known = ",".join(f"worker-{n}:{each.pid}" for n, each in enumerate(self._children) if each.returncode is None)
        variables = {
            **os.environ, **PATIENT, "SEKISHO_READY_FD": str(write_end), "SEKISHO_RUNNING_WORKERS": known,
            **environment,
        }  # fmt: skip
        self._steward = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.steward", "--config", str(self.config), cwd=ROOT, env=variables,
            pass_fds=(write_end,),
        )  # fmt: skip
        os.close(write_end)
        said = await asyncio.get_running_loop().run_in_executor(None, os.read, read_end, 1)
        os.close(read_end)
        assert said == b"R"
        return self._steward

    async def kill_steward(self) -> None:
        assert self._steward is not None
        self._steward.kill()
        await self._steward.wait()

    async def start_worker(self, name: str) -> Process:
        """Start a worker and wait until it counts."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.feed_worker", str(self.root / "run" / "feed.sock"), name, cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._children.append(process)
        worker = Process(process)
        await worker.line(counted=True)
        return worker

    async def end(self) -> None:
        await self.client.close()
        for process in (*self._children, self._steward):
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                await process.wait()


@contextlib.asynccontextmanager
async def city(folder: Path) -> AsyncIterator[City]:
    """An installation with a running steward, ended with the block."""
    made = City(await asyncio.to_thread(install, folder))
    try:
        await made.start_steward()
        yield made
    finally:
        await made.end()
