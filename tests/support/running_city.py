"""The whole gateway as processes: a fresh installation, its supervisor, one app behind it, one person signed in."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import select
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from audit.completion import joined
from gateway.state.records import App, AppSession, PolicyVersion, Row
from gateway.state.steward_client import StewardClient
from tests.support.canary_watch import CANARIES
from tests.support.gate_world import APP
from tests.support.growing_files import lines_of, records_of
from tests.support.patience import PATIENT
from tests.support.steward_process import ROOT, install, session, user

HOST = "docs.sekisho.localhost"
POLICY = """
version: 1
metadata: { id: test, revision: 1, title: 試験, owner: 情報政策課 }
zones: { office: [127.0.0.0/8] }
rules:
  - id: docs
    effect: allow
    owner: 情報政策課
    description: 税務課は文書管理を利用できる
    when: { app: [docs], user.groups: { any_of: [tax] } }
    require: [ { mfa.age: { max: 12h } }, { net.zone: [office] } ]
tests:
  - name: 税務課は使える
    given: { app: docs, user.groups: [tax], mfa.age: 1h, net.zone: office }
    expect: { effect: allow, rule: docs }
"""


class RecordingApp:
    """A small real app that writes down what reached it, and what the journals held at that moment."""

    def __init__(self, journals: Path) -> None:
        self._journals = journals
        self.seen: list[dict[str, str]] = []
        self.decided_before: list[bool] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/events", self._events)
        app.router.add_get("/socket", self._socket)
        app.router.add_route("*", "/{rest:.*}", self._page)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def _write_down(self, request: web.Request) -> None:
        CANARIES.learn(request.headers.get("X-Sekisho-Jwt-Assertion"), "assertion")
        self.seen.append(dict(request.headers))
        name = request.headers["X-Sekisho-Request-Id"].encode()
        self.decided_before.append(any(name in line for line in lines_of(self._journals, "worker-?")))

    async def _page(self, request: web.Request) -> web.Response:
        self._write_down(request)
        return web.Response(text=f"hello {request.path}")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self._write_down(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        while True:
            await asyncio.sleep(0.05)
            await response.write(b"data: more\n\n")

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        self._write_down(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("welcome")
        async for message in socket:
            await socket.send_str(f"echo {message.data}")
        return socket


class RunningCity:
    """A supervisor and all it started."""

    def __init__(self, config: Path, environment: Mapping[str, str], module: str, program: Path = ROOT) -> None:
        self.config = config
        self.root = config.parent
        self._environment = {"SEKISHO_LISTENERS__LOOPBACK__ADDRESS": "127.0.0.1:0", **PATIENT, **environment}
        self._module = module
        self._program = program
        self.steward = StewardClient(self.root / "run" / "steward.sock")
        self.app = RecordingApp(self.root / "journal")
        self.token = secrets.token_urlsafe(32)
        self.portal_token = secrets.token_urlsafe(32)
        self._supervisor: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start everything and wait for `ready`."""
        await self.app.start()
        await self.supervise()

    async def supervise(self) -> None:
        """Start the supervisor, which starts the rest, and wait for `ready`."""
        log = (self.root / "run" / "log.txt").open("ab")
        self._supervisor = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._module, "--config", str(self.config), cwd=self._program,
            env={**os.environ, **self._environment}, stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
        log.close()
        assert self._supervisor.stdout is not None
        async with asyncio.timeout(120):
            said = await self._supervisor.stdout.readline()
        assert said == b"ready\n", (self.root / "run" / "log.txt").read_text()[-4000:]

    async def stop(self) -> None:
        CANARIES.processes()
        await self.steward.close()
        process = self._supervisor
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(60):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        await self.app.stop()

    async def kill(self, name: str) -> int:
        """Kill a supervised process and wait until it is dead; returns the id that it had."""
        pid = self.pid(name)
        pidfd = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        await _dead(pidfd)
        return pid

    async def kill_all(self) -> None:
        """Kill the supervisor and wait until everything that it started is dead."""
        assert self._supervisor is not None
        started = [os.pidfd_open(each["pid"]) for each in self.status["processes"] if each["pid"]]
        self._supervisor.kill()
        await self._supervisor.wait()
        for pidfd in started:
            await _dead(pidfd)

    @property
    def status(self) -> dict[str, Any]:
        """What the supervisor wrote of itself."""
        status: dict[str, Any] = json.loads((self.root / "run" / "supervisor.json").read_text())
        return status

    def pid(self, name: str) -> int:
        """The process id of a supervised process; 0 while it is away."""
        return next((each["pid"] or 0 for each in self.status["processes"] if each["name"] == name), 0)

    async def back(self, name: str, former: int, within: float = 60.0) -> int:
        """Wait until another process than `former` serves under this name; returns its id."""
        async with asyncio.timeout(within):
            while True:
                found = next(each for each in self.status["processes"] if each["name"] == name)
                if found["ready"] and found["pid"] not in (former, None):
                    return int(found["pid"])
                await asyncio.sleep(0.02)  # the supervisor's file is all there is to look at

    @property
    def base(self) -> str:
        """Where the loopback listener is."""
        return f"http://{self.status['listeners']['loopback']}"

    async def put(self, op: str, **records: Row) -> dict[str, Any]:
        """Have the steward keep records."""
        return await self.steward.call(op, **{name: record.to_row() for name, record in records.items()})

    async def furnish(self, **app_changes: Any) -> None:
        """One person with a session on one app, and a policy that lets her pass."""
        changes: dict[str, Any] = {
            "upstream": f"http://127.0.0.1:{self.app.port}", "presets": ("jwt",), "masked_paths": (),
            "preflight_origins": (), **app_changes,
        }  # fmt: skip
        app: App = replace(APP, **changes)
        await self.put("user.put", user=user())
        await self.put("app.put", app=app)
        await self.activate(POLICY)
        await self.start_session("s1")

    async def activate(self, policy: str) -> None:
        """Put a policy in force."""
        digest = hashlib.sha256(policy.encode()).hexdigest()
        version = PolicyVersion(digest, "試験", policy, "author", time.time(), "proposed", "")
        await self.put("policy.put", version=version)
        await self.steward.call("policy.activate", hash=version.hash, by="approver")

    async def start_session(self, name: str) -> None:
        """Start the session and its app session with this city's tokens."""
        digest = hashlib.sha256(self.portal_token.encode()).hexdigest()
        await self.steward.call("session.start", session=session(name, token_hash=digest).to_row(), replaces=None)
        app_digest = hashlib.sha256(self.token.encode()).hexdigest()
        await self.put("app_session.start", app_session=AppSession("a1", name, "docs", HOST, app_digest, time.time()))

    async def sign_in(self, name: str, *groups: str, **session_changes: Any) -> str:
        """Start a session of one more person, named `name` like her session; return the token for the app."""
        token = hashlib.sha256(f"token of {name}".encode()).hexdigest()[:43]
        await self.put("user.put", user=replace(user(), id=name, login=name, groups=("tax", *groups)))
        row = session(name, user_id=name, token_hash=hashlib.sha256(f"portal {name}".encode()).hexdigest())
        await self.put("session.start", session=replace(row, **session_changes))
        digest = hashlib.sha256(token.encode()).hexdigest()
        await self.put("app_session.start", app_session=AppSession(name, name, "docs", HOST, digest, time.time()))
        return token

    def client(self, *, signed_in: bool = True) -> aiohttp.ClientSession:
        """A client with the app host's cookie, each request on the connection pool of its own session."""
        headers = {"Host": HOST}
        if signed_in:
            headers["Cookie"] = f"__Host-sekisho-app={self.token}"
        return aiohttp.ClientSession(self.base, headers=headers, auto_decompress=False)

    def records(self, writers: str = "worker-*") -> list[dict[str, Any]]:
        """All records of some writers, in file order."""
        return records_of(self.root / "journal", writers)

    def completed(self, writers: str = "worker-*") -> list[dict[str, Any]]:
        """The completions among them, each with who and what as its decision says it."""
        records = self.records(writers)
        decided = {each["http.request.id"]: each for each in records if each["event.action"] == "request.decided"}
        ended = [each for each in records if each["event.action"] == "request.completed"]
        return [joined(each, decided.get(each["http.request.id"], {})) for each in ended]


async def _dead(pidfd: int) -> None:
    """Wait for the end of a process; raises TimeoutError after a minute."""
    try:
        ended, _, _ = await asyncio.to_thread(select.select, [pidfd], [], [], 60)
    finally:
        os.close(pidfd)
    if not ended:
        raise TimeoutError("a killed process lives on")


@contextlib.asynccontextmanager
async def running_city(
    folder: Path, module: str = "gateway.supervisor", program: Path = ROOT, **environment: str
) -> AsyncIterator[RunningCity]:
    """A whole gateway, ended with the block; `environment` holds settings, `module` of `program` is what supervises."""
    city = RunningCity(await asyncio.to_thread(install, folder), environment, module, program)
    try:
        await city.start()
        yield city
    finally:
        await city.stop()
