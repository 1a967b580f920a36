"""HTTP/2 of the fronts as the examples configure them: h2spec against each, with the gateway's real edge behind.

What fails is the front's own. h2spec is built from what `tests/go/h2spec/go.sum` pins.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import uvloop

from gateway.edge.listener import Listening
from tests.support.edge import hello, running
from tests.support.fronts import haproxy, nginx
from tests.support.ports import free_port
from tests.support.server_pairs import Made, ServerAuthority

SOURCE = Path(__file__).parents[1] / "go" / "h2spec"
COMMAND = "github.com/summerwind/h2spec/cmd/h2spec"
PATIENCE = "2"  # seconds for the front to answer a case
DIFFERENCES = Path(__file__).with_name("nginx_h2spec.toml")


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


def by_haproxy(folder: Path, port: int, behind: str, made: Made) -> AbstractContextManager[None]:
    pem = folder / "front.pem"
    pem.write_bytes(made.pem + made.pair.key.read_bytes())
    return haproxy(folder, port, behind, pem)


def by_nginx(folder: Path, port: int, behind: str, made: Made) -> AbstractContextManager[None]:
    return nginx(folder, port, behind, made.pair.certificate, made.pair.key)


Put = Callable[[Path, int, str, Made], AbstractContextManager[None]]


def examined(h2spec: Path, folder: Path, put: Put) -> tuple[int, int, dict[str, str]]:
    """Run every case against a front in front of the edge; return what came of it."""
    report, port = folder / "report.xml", free_port()
    made = ServerAuthority(folder).issue("front", "localhost")

    async def main() -> None:
        async with running(hello) as edge:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            behind = str(folder / "b.sock")
            sock.bind(behind)
            await edge.listeners.open(Listening("behind", sock, scheme="https"))

            def test() -> None:
                with put(folder, port, behind, made):
                    words = ("--host", "localhost", "--tls", "--insecure", "--timeout", PATIENCE, "--port", str(port))
                    words += ("--junit-report", str(report))
                    subprocess.run([str(h2spec), *words], capture_output=True, check=False)

            await asyncio.to_thread(test)

    uvloop.run(main())
    return outcomes(report)


@pytest.mark.timeout(600)
@pytest.mark.promise("P1.haproxy-speaks-http2-right")
def test_h2spec_finds_nothing(h2spec: Path, tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Every case passes or is skipped by the tool."""
    began = time.monotonic()
    ran, skipped, failed = examined(h2spec, tmp_path, by_haproxy)
    took = time.monotonic() - began
    figure(f"h2spec against HAProxy: {ran} cases, {skipped} skipped, {len(failed)} failed in {took:.0f} s")
    assert ran > 140
    assert not failed, "\n".join(f"{case}: {seen}" for case, seen in failed.items())


@pytest.mark.timeout(600)
@pytest.mark.promise("P1.nginx-differs-in-http2-as-named")
def test_h2spec_finds_of_nginx_what_is_named(h2spec: Path, tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Exactly those cases fail for which it is said what nginx does and what that means."""
    differences = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))["difference"]
    named = {case for each in differences for case in each["cases"]}
    ran, skipped, failed = examined(h2spec, tmp_path, by_nginx)
    figure(f"h2spec against nginx: {ran} cases, {skipped} skipped, {len(failed)} failed, {len(named)} named")
    assert ran > 140
    told = "\n".join(f"{case}: {failed.get(case, 'not this time')}" for case in sorted(failed.keys() ^ named))
    assert set(failed) == named, told
