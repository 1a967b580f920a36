"""Syslog over TLS to a real rsyslog: every document arrives, read as RFC 5424, whatever happens to the receiver."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audit.outlets import follow
from audit.outlets.follow import Following, OutletUnavailable
from audit.outlets.ndjson import NdjsonFile
from audit.outlets.place import load
from audit.outlets.syslog import Receiver, SyslogTls
from gateway.certificates import (
    create_device_authority,
    create_tls_authority,
    issue_device_certificate,
    issue_server_certificate,
    private_pem,
)
from tests.support.busy_journal import BusyWorker
from tests.support.ports import free_port
from tests.support.real_parts import program

pytestmark = pytest.mark.timeout(240)
NAME = "syslog.example.jp"
FIELDS = ("pri", "hostname", "app-name", "procid", "msgid", "structured-data", "msg")
FORMAT = "\\t".join(f"%{name}%" for name in FIELDS) + "\\n"


class Rsyslog:
    """A receiver that asks for a client certificate and writes every field that it read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.received = folder, folder / "received"
        self._program = program("rsyslogd")
        self.port = free_port()  # it is started more than once
        self._issue()
        (folder / "rsyslog.conf").write_text(f"""
            global(workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriver="ossl"
              defaultNetstreamDriverCAFile="{folder}/ca.pem" defaultNetstreamDriverCertFile="{folder}/server.pem"
              defaultNetstreamDriverKeyFile="{folder}/server.key" net.enableDNS="off")
            module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
            input(type="imtcp" address="127.0.0.1" port="{self.port}")
            template(name="fields" type="string" string="{FORMAT}")
            action(type="omfile" file="{self.received}" template="fields")
        """)
        self._process: subprocess.Popen[bytes] | None = None

    def _issue(self) -> None:
        now, folder = time.time(), self.folder
        tls, devices = create_tls_authority("example.jp", now), create_device_authority("見本市", now)
        server = issue_server_certificate(tls, (NAME,), now, 5)
        for name, content in (
            ("tls-ca.pem", tls.pem), ("ca.pem", devices.pem), ("ca.key", private_pem(devices.key)),
            ("server.pem", server.certificate), ("server.key", server.key),
        ):  # fmt: skip
            (folder / name).write_bytes(content)
        client = issue_device_certificate(folder, str(uuid.uuid4()), 5, now)
        (folder / "client.pem").write_bytes(client.certificate)
        (folder / "client.key").write_bytes(client.key)

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [self._program, "-n", "-f", self.folder / "rsyslog.conf", "-i", self.folder / "pid"]
        with (self.folder / "log").open("ab") as said:
            self._process = subprocess.Popen(command, stdout=said, stderr=said)
        until = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        """Stop it (SIGSTOP) or let it go on (SIGCONT)."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it by SIGKILL; what it had written of a line by then is taken away, as its next line would follow it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            if self.received.exists():
                os.truncate(self.received, self.received.read_bytes().rfind(b"\n") + 1)

    def receiver(self, name: str = NAME) -> Receiver:
        """How it is reached."""
        folder = self.folder
        return Receiver(
            "127.0.0.1", self.port, folder / "tls-ca.pem", name, folder / "client.pem", folder / "client.key"
        )

    def ids(self) -> Counter[str]:
        """The document ids received; a line that is not one of ours fails. The one being written does not count yet."""
        found: Counter[str] = Counter()
        written = self.received.read_bytes() if self.received.exists() else b""
        lines = written[: written.rfind(b"\n") + 1].decode().splitlines()
        for line in lines:
            priority, host, app, writer, action, data, text = line.split("\t")
            assert priority in {"109", "110"}, line
            assert (host, app, writer) == (socket.gethostname(), "sekisho", "worker-0")
            assert (action.split(".")[0] in {"request", "session"}, data) == (True, '[origin software="sekisho"]')
            document = json.loads(text)
            found[document["event"]["id"]] += 1
        return found


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Rsyslog]:
    """A receiver that runs."""
    folder = tmp_path / "rsyslog"
    folder.mkdir()
    running = Rsyslog(folder)
    running.start()
    yield running
    running.kill()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not holds():  # noqa: ASYNC110 (another program's file tells)
            await asyncio.sleep(0.05)


@pytest.mark.promise("P6.outlet-syslog-at-least-once")
def test_everything_arrives_though_the_receiver_is_killed_and_away(
    receiver: Rsyslog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "BACKOFF_CEILING", 0.5)
    writer = BusyWorker(tmp_path / "journal", "worker-0")
    writer.write(2000, time.time())
    kept = tmp_path / "outlets" / "syslog.json"

    async def main() -> None:
        outlet = SyslogTls(receiver.receiver(), timeout=3.0)
        task = Following(tmp_path / "journal", tmp_path / "outlets", outlet, dict, time.time)
        running = asyncio.create_task(task.run())
        await until(lambda: len(receiver.ids()) > 500)
        receiver.kill()
        writer.write(2000, time.time())
        await until(lambda: bool(task.status()["fault"]))
        receiver.start()
        writer.finish(time.time())
        await until(lambda: len(receiver.ids()) == writer.requests)
        await until(lambda: load(kept).cursor.done.get("worker-0") is not None)
        await until(lambda: load(kept).cursor.done["worker-0"].seq == writer.records)
        assert task.status()["fault"] == ""
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    assert sum(receiver.ids().values()) >= writer.requests


def test_a_receiver_that_hangs_holds_up_nobody_else(
    receiver: Rsyslog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "BACKOFF_CEILING", 0.5)
    writer = BusyWorker(tmp_path / "journal", "worker-0")
    writer.write(3000, time.time())
    writer.finish(time.time())
    path = tmp_path / "sekisho.ndjson"

    async def main() -> None:
        outlets = SyslogTls(receiver.receiver(), timeout=1.5), NdjsonFile(path, 10**9, 1)
        slow, quick = (Following(tmp_path / "journal", tmp_path / "outlets", each, dict, time.time) for each in outlets)
        receiver.signal(signal.SIGSTOP)
        running = [asyncio.create_task(each.run()) for each in (slow, quick)]
        await until(lambda: bool(slow.status()["fault"]))
        await until(lambda: quick.status()["sent"] == writer.requests)
        assert quick.status()["fault"] == ""
        receiver.signal(signal.SIGCONT)
        await until(lambda: len(receiver.ids()) == writer.requests)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    asyncio.run(main())
    assert path.read_bytes().count(b"\n") == writer.requests


@pytest.mark.parametrize("what", ["another name", "another authority"])
def test_nothing_is_sent_to_somebody_else(receiver: Rsyslog, what: str) -> None:
    if what == "another authority":
        (receiver.folder / "tls-ca.pem").write_bytes(create_tls_authority("example.jp", time.time()).pem)
    outlet = SyslogTls(receiver.receiver(NAME if what == "another authority" else "other.example.jp"), timeout=30.0)

    async def main() -> None:
        with pytest.raises(OutletUnavailable, match="TLS"):
            await outlet.open({})
        await outlet.close()

    asyncio.run(main())
    assert receiver.ids() == Counter()


def test_a_receiver_that_takes_nothing_is_given_up_and_found_out(tmp_path: Path) -> None:
    """A port that accepts and never answers: the handshake has its time, and nobody waits longer."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        ca = tmp_path / "ca.pem"
        ca.write_bytes(create_tls_authority("example.jp", time.time()).pem)
        outlet = SyslogTls(Receiver("127.0.0.1", mute.getsockname()[1], ca, NAME), timeout=0.3)

        async def main() -> None:
            begun = time.monotonic()
            with pytest.raises(OutletUnavailable, match=r"127\.0\.0\.1"):
                await outlet.open({})
            assert time.monotonic() - begun < 30  # without a limit of ours a handshake has a minute
            await outlet.close()

        asyncio.run(main())
