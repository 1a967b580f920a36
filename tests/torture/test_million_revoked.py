"""A revocation list of a million certificates, made by openssl: how long it takes, what it costs each process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest

from tests.support.device_city import DeviceCity, device_city
from tests.support.revocation_lists import Prefecture, issue, number_of

ENTRIES = 1_000_000
ROOM = 64 * 2**20  # bytes that a worker may grow by
PROCESSES = ("worker-0", "worker-1", "steward", "control")
_CONFIG = """
[ca]
default_ca = city
[city]
database = index.txt
crlnumber = crlnumber
certificate = prefecture/ca.pem
private_key = prefecture/ca.key
default_md = sha256
default_crl_days = 7
crl_extensions = lists
[lists]
authorityKeyIdentifier = keyid
"""


class OpenSsl:
    """Writes lists of a million numbers with the command of that name."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program = program
        self.folder = folder
        (folder / "ca.cnf").write_text(_CONFIG)
        (folder / "crlnumber").write_text("0A\n")

    def publish(self, prefecture: Prefecture, first: int) -> None:
        """Place the list of `first` and of 999,999 others, always the same."""
        with (self.folder / "index.txt").open("w") as index:
            for each in range(ENTRIES):
                number = first if each == 0 else 0x40 << 120 | each * 0x9E3779B97F4A7C15F39CC0605CED % 2**120
                text = f"{number:X}"
                index.write(f"R\t351231000000Z\t260101000000Z\t{'0' * (len(text) % 2)}{text}\tunknown\t/CN=pc\n")
        command = [self.program, "ca", "-config", "ca.cnf", "-gencrl", "-out", "made.crl"]
        done = run(command, cwd=self.folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        (self.folder / "made.crl").rename(prefecture.file)


def _memory(city: DeviceCity, name: str) -> int:
    status = Path(f"/proc/{city.pid(name)}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def _in_force(city: DeviceCity, number: int) -> None:
    await city.until(
        lambda r: r["event.action"] == "crl.accepted" and r.get("sekisho.crl.number") == str(number), "steward", 600
    )


async def _ended(city: DeviceCity, prefecture: Prefecture, program: OpenSsl, figure: Callable[[str], None]) -> None:
    """One more number on a list of a million ends the stream of that certificate."""
    device = (await city.devices())["PC-1"]
    shown, one = issue(prefecture.made, device.uuid, time.time()), await city.person(1, device)
    async with city.browser(one, shown) as browser:
        assert (await browser.get("/list"))[0] == 200
        socket = await browser.socket()
        await asyncio.to_thread(program.publish, prefecture, number_of(shown))
        begun = time.monotonic()
        async with asyncio.timeout(300):
            assert (await socket.receive()).type.name in {"CLOSE", "CLOSED", "ERROR"}
        figure(f"one more number among a million: its WebSocket ended {time.monotonic() - begun:.1f} s after the file")
        assert (await browser.get("/list"))[0] == 403
    await _in_force(city, 11)


@pytest.mark.one_stack
@pytest.mark.timeout(1200)
@pytest.mark.promise("P3.million-revoked")
def test_a_million_revoked_certificates(tmp_path: Path, requires_openssl: Path, figure: Callable[[str], None]) -> None:
    async def main() -> None:
        prefecture, program = Prefecture(tmp_path), OpenSsl(requires_openssl, tmp_path)
        settings = {**prefecture.settings(), "SEKISHO_LISTENERS__PUBLIC__CRL_ENTRIES": str(ENTRIES)}
        async with device_city(tmp_path, before=prefecture.trust, **settings) as city:
            await city.furnish_app()
            before = {name: _memory(city, name) for name in PROCESSES}
            await asyncio.to_thread(program.publish, prefecture, 1)
            begun = time.monotonic()
            await _in_force(city, 10)
            figure(f"a million entries: in force {time.monotonic() - begun:.0f} s after the file")
            grown = {name: _memory(city, name) - size for name, size in before.items()}
            figure("grown by " + ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in grown.items()))
            assert max(grown["worker-0"], grown["worker-1"]) < ROOM
            await _ended(city, prefecture, program, figure)

    asyncio.run(main())
