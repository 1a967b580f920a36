"""HTTP/2 of HAProxy as the example configures it: h2spec against it, with the gateway's real edge behind.

What would fail were HAProxy's. h2spec is built from what `tests/go/h2spec/go.sum` pins.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import uvloop

from gateway.edge.listener import Listening
from tests.support.edge import hello, running
from tests.support.fronts import haproxy
from tests.support.ports import free_port
from tests.support.server_pairs import ServerAuthority

SOURCE = Path(__file__).parents[1] / "go" / "h2spec"
COMMAND = "github.com/summerwind/h2spec/cmd/h2spec"
PATIENCE = "2"  # seconds for the front to answer a case


@pytest.fixture(scope="session")
def h2spec(requires_go: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built from pinned sources."""
    built = tmp_path_factory.mktemp("h2spec") / "h2spec"
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    command = [str(requires_go), "build", "-o", str(built), COMMAND]
    done = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


def outcomes(report: Path) -> tuple[int, int, dict[str, str]]:
    """How many cases ran and were skipped, and those that failed with what was seen."""
    ran = skipped = 0
    failed: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  # written by the tool that we built
        ran += 1
        name = f"{case.get('package')}: {case.get('classname')}"
        if case.find("skipped") is not None:
            skipped += 1
        elif (wrong := case.find("failure")) is not None or (wrong := case.find("error")) is not None:
            failed[name] = " ".join("".join(wrong.itertext()).split())
    return ran, skipped, failed


@pytest.mark.timeout(600)
@pytest.mark.promise("P1.haproxy-speaks-http2-right")
def test_h2spec_finds_nothing(h2spec: Path, tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Every case passes or is skipped by the tool."""
    report, port = tmp_path / "report.xml", free_port()
    pair, pem = ServerAuthority(tmp_path).issue("front", "app.test").pair, tmp_path / "front.pem"
    pem.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())

    async def main() -> None:
        async with running(hello) as edge:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            behind = str(tmp_path / "b.sock")
            sock.bind(behind)
            await edge.listeners.open(Listening("behind", sock, scheme="https"))

            def test() -> None:
                with haproxy(tmp_path, port, behind, pem):
                    words = ("--host", "localhost", "--tls", "--insecure", "--timeout", PATIENCE, "--port", str(port))
                    words += ("--junit-report", str(report))
                    subprocess.run([str(h2spec), *words], capture_output=True, check=False)

            await asyncio.to_thread(test)

    began = time.monotonic()
    uvloop.run(main())
    ran, skipped, failed = outcomes(report)
    took = time.monotonic() - began
    figure(f"h2spec against HAProxy: {ran} cases, {skipped} skipped, {len(failed)} failed in {took:.0f} s")
    assert ran > 140
    assert not failed, "\n".join(f"{case}: {seen}" for case, seen in failed.items())
