"""A real Elasticsearch node with security on, built once by `scripts/elasticsearch/build.sh` into `.cache`."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from tests.support.real_parts import program

ROOT = Path(__file__).parents[2]
DISTRIBUTION = ROOT / ".cache" / "elasticsearch"
SCRIPTS = ROOT / "scripts" / "elasticsearch"
PASSWORD = "only-for-this-test-node"
START_SECONDS = 120


class Node:
    """One node on loopback; `kill` is SIGKILL, `start` brings it back with the data it had, on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *settings: str) -> None:
        """Start and wait until the node answers on its port."""
        ports = self.folder / "logs" / "http.ports"
        ports.unlink(missing_ok=True)
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        self._process = subprocess.Popen(
            ["bash", str(SCRIPTS / "start.sh"), str(DISTRIBUTION), str(self.port), str(self.folder),
             "cluster.routing.allocation.disk.threshold_enabled=false", *settings],
            env={**os.environ, "PASSWORD_HASH": hashed}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        until = time.monotonic() + START_SECONDS
        while not ports.exists() or not ports.read_text().strip():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no Elasticsearch node: see {self.folder.parent}/{self.folder.name}.log")
            time.sleep(0.1)
        self.port = int(ports.read_text().splitlines()[0].rpartition(":")[2])

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it by SIGTERM."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)
            self._process.wait(30)
        self._process = None


def build() -> None:
    """Lay the distribution out unless it is there; safe for several test processes at once."""
    DISTRIBUTION.parent.mkdir(parents=True, exist_ok=True)
    with (DISTRIBUTION.parent / "elasticsearch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (DISTRIBUTION / "complete").exists():
            return
        subprocess.run(["bash", str(SCRIPTS / "build.sh"), str(DISTRIBUTION)], check=True, capture_output=True)
        (DISTRIBUTION / "complete").touch()


@pytest.fixture(scope="module")
def elasticsearch_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A running node for one module of tests."""
    for name in ("java", "mvn", "unzip"):
        program(name)
    build()
    node = Node(tmp_path_factory.mktemp("elasticsearch") / "node")
    node.folder.mkdir()
    node.start()
    yield node
    node.kill()
