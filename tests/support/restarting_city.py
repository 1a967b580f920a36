"""A whole gateway that is reloaded and replaced: an operator who commands it, a program that can be swapped."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import ssl
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from typer.testing import CliRunner

from cli.client import AdminClient
from cli.main import app
from cli.private_file import write_private
from gateway import certificates
from tests.support.agreement import Agreement, compare, noted
from tests.support.running_city import HOST, RunningCity, running_city
from tests.support.steward_process import ROOT, session, user
from tests.support.strict_clients import StrictClients
from tests.support.websocket_bytes import KEY

DRAIN = 4.0  # seconds, longer than any of the clients' pauses
_PACKAGES = ("gateway", "audit", "policies", "cli", "mdm_sim")
_TOKEN = "token-of-the-operator"


@dataclass
class RestartingCity:
    """The gateway, the app's notebook, and the folder of programs of which `current` names one."""

    city: RunningCity
    book: Path
    programs: Path
    _first: str = ""  # the settings as the installation made them

    @property
    def config(self) -> Path:
        return self.city.config

    def write_settings(self, table: str, *lines: str) -> int:
        """Write the settings as they were first, with more lines in a table; return the number of the first of them."""
        text = self._first or self.config.read_text()
        self._first = text
        header = f"[{table}]\n"
        self.config.write_text(text.replace(header, header + "".join(f"{line}\n" for line in lines), 1))
        return text.partition(header)[0].count("\n") + 2

    async def reload(self, **options: Any) -> dict[str, Any]:
        """Command it as the operator. Raises cli.failure.Failure."""
        client = AdminClient(self.city.root / "run" / "admin.sock", _TOKEN)
        body = {"reason": "test", **options}
        return await asyncio.to_thread(client.post, "/v1/reload", body)

    async def command(self, *words: str) -> Any:
        """Run `sekisho reload` as the operator who signed in here; return what it says as JSON."""
        home, place = self.programs / "home", self.city.root / "run" / "admin.sock"
        environment = {"XDG_STATE_HOME": str(home), "COLUMNS": "200"}
        name = hashlib.sha256(os.fsencode(place.resolve())).hexdigest()[:16]
        write_private(home / "sekisho" / f"token-{name}", _TOKEN, replace=True)
        line = ["reload", "--config", str(self.config), "--reason", "試験", "-o", "json", *words]
        done = await asyncio.to_thread(lambda: CliRunner().invoke(app, line, env=environment))
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    async def renew_certificate(self) -> int:
        """Put another server certificate in place; return its serial number."""
        tls = self.city.root / "tls"
        authority = x509.load_pem_x509_certificate((tls / "demo-ca.pem").read_bytes())
        key: Any = load_pem_private_key((tls / "demo-ca.key").read_bytes(), None)
        names = ("*.sekisho.localhost", "sekisho.localhost")
        issued = certificates.issue_server_certificate(certificates.Authority(authority, key), names, time.time(), 7)
        (tls / "server.pem").write_bytes(issued.certificate)
        (tls / "server.key").write_bytes(issued.key)
        return x509.load_pem_x509_certificate(issued.certificate).serial_number

    async def served_serial(self) -> int:
        """Return the serial number of the certificate that a new connection is shown."""
        host, _, port = self.city.status["listeners"]["public"].rpartition(":")
        pem = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
        return x509.load_pem_x509_certificate(pem.encode()).serial_number

    def swap_program(self, name: str) -> None:
        """Make `name` the program that is installed."""
        fresh = self.programs / "fresh"
        fresh.symlink_to(name)
        fresh.replace(self.programs / "current")

    def runs(self, name: str) -> set[int]:
        """Return the ids of the processes that loaded this program."""
        return {int(each.name) for each in (self.programs / f"{name}.pids").iterdir()}

    def pids(self) -> dict[str, int]:
        """Return the processes by name."""
        return {each["name"]: each["pid"] for each in self.city.status["processes"]}

    async def all_run(self, name: str) -> None:
        """Wait until every process is ready and runs this program, and nobody drains."""
        async with asyncio.timeout(120):
            while True:
                status = self.city.status
                ready = not status["retiring"] and all(each["ready"] for each in status["processes"])
                if ready and {status["pid"], *self.pids().values()} <= self.runs(name):
                    return
                await asyncio.sleep(0.05)  # the supervisor's file is all there is to look at

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect."""
        host, _, port = self.city.status["listeners"]["loopback"].rpartition(":")
        return host, int(port)

    async def clients(self, count: int) -> StrictClients:
        """Clients, each of a session of its own: one alone may not ask so fast."""
        return StrictClients(self.address, [await self.city.sign_in(f"p{number}") for number in range(count)])

    def agreement(self) -> Agreement:
        """Hold the app's notebook against the journals of all workers, those that retired included."""
        return compare(noted(self.book), self.city.records("worker-*"), set())


@contextlib.asynccontextmanager
async def restarting_city(folder: Path, **environment: str) -> AsyncIterator[RestartingCity]:
    """Start it with the program `one`; `two` is the same with another name."""
    programs = folder / "programs"
    await asyncio.to_thread(_programs, programs)
    app = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.recording_upstream", str(folder / "seen"), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    settings = {
        "SEKISHO_TIMEOUTS__DRAIN": str(DRAIN), "PYTHONPATH": str(programs / "current"),
        **environment,
    }  # fmt: skip
    try:
        assert app.stdout is not None
        port = int(await asyncio.wait_for(app.stdout.readline(), 60))
        async with running_city(folder, program=programs, **settings) as city:
            await city.furnish(upstream=f"http://127.0.0.1:{port}")
            await city.put("user.put", user=replace(user(), id="op", login="op", roles=("operator",)))
            digest = hashlib.sha256(_TOKEN.encode()).hexdigest()
            row = session("op", user_id="op", token_hash=digest, operator=True)
            await city.put("session.start", session=row)
            yield RestartingCity(city, folder / "seen", programs)
    finally:
        app.kill()
        await app.wait()


def _programs(folder: Path) -> None:
    """Make two programs that say which process runs them."""
    for name in ("one", "two"):
        (folder / f"{name}.pids").mkdir(parents=True)
        for package in _PACKAGES:
            shutil.copytree(ROOT / package, folder / name / package)
        mark = f"import os, pathlib\npathlib.Path({str(folder / f'{name}.pids')!r}, str(os.getpid())).touch()\n"
        first = folder / name / "gateway" / "__init__.py"
        first.write_text(first.read_text() + mark)
    (folder / "current").symlink_to("one")


class Browser:
    """One open WebSocket of a client that answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, restarting: RestartingCity) -> Browser:
        """Connect as her."""
        reader, writer = await asyncio.open_connection(*restarting.address)
        writer.write(
            b"GET /socket HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Cookie: __Host-sekisho-app=%b\r\nOrigin: http://%b\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
            % (HOST.encode(), restarting.city.token.encode(), HOST.encode(), KEY)
        )
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        return cls(reader, writer)

    async def says(self, text: bytes) -> bytes:
        """Send a text and return what comes back."""
        self._writer.write(bytes((0x81, 0x80 | len(text))) + bytes(4) + text)  # masked with zeros: RFC 6455 §5.3
        async with asyncio.timeout(30):
            _, size = await self._reader.readexactly(2)
            return await self._reader.readexactly(size)

    async def closed(self) -> tuple[int, str]:
        """Wait for the close frame; return its code and reason."""
        async with asyncio.timeout(120):
            first, size = await self._reader.readexactly(2)
            data = await self._reader.readexactly(size)
        assert first == 0x88, first
        self._writer.close()
        return int.from_bytes(data[:2], "big"), data[2:].decode()
