"""A real Elasticsearch node with security on, laid out once by `scripts/elasticsearch/build.sh` into `.cache`.

Its parts are fetched when they are needed first and are never shipped with the product (their licence).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cli.city.processes import Running
from cli.tour.stage import CannotShow

_ROOT = Path(__file__).parents[2]
SCRIPTS = _ROOT / "scripts" / "elasticsearch"
DISTRIBUTION = _ROOT / ".cache" / "elasticsearch"
_BUILDERS = ("javac", "jar", "mvn", "unzip")
_BUILD_WITHIN = 600.0  # seconds: about 110 MB are fetched
_TELL_EVERY = 5.0
_START_WITHIN = 120.0
_END_WITHIN = 30.0


class NodeFault(Exception):
    """The node does not start; the text ends with its log's last lines."""


class Node:
    """One node on loopback with the superuser `admin`; its data outlive `stop` (SIGTERM) and `kill` (SIGKILL)."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        """`folder` is made for its configuration, data and logs; port 0 = the first start picks one and keeps it."""
        self.folder, self.port = folder, port
        self.password = secrets.token_urlsafe(18)
        self._group = Running(folder.parent)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its HTTP address; the port is known after the first start where it was not given."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, *settings: str) -> None:
        """Start it, at once; `await_ready` waits. The node ends with the thread that calls this. Raises OSError."""
        import bcrypt

        self._ports.unlink(missing_ok=True)
        hashed = bcrypt.hashpw(self.password.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
        command = [
            "/bin/bash", str(SCRIPTS / "start.sh"), str(DISTRIBUTION), str(self.port), str(self.folder),
            "cluster.routing.allocation.disk.threshold_enabled=false", *settings,
        ]  # fmt: skip
        self._process = self._group.start(self.folder.name, command, more={"PASSWORD_HASH": hashed})

    def await_ready(self) -> None:
        """Wait until the node answers on its port. Raises NodeFault."""
        until = time.monotonic() + _START_WITHIN
        while not self._ports.exists() or not self._ports.read_text(encoding="ascii").strip():
            if self._process is None or self._process.poll() is not None or time.monotonic() > until:
                log = self.folder.parent / f"{self.folder.name}.log"
                raise NodeFault("\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]))
            time.sleep(0.1)
        self.port = int(self._ports.read_text(encoding="ascii").splitlines()[0].rpartition(":")[2])

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it by SIGTERM."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)
            self._process.wait(_END_WITHIN)
        self._process = None

    @property
    def _ports(self) -> Path:
        return self.folder / "logs" / "http.ports"


@contextmanager
def standing(folder: Path, port: int) -> Iterator[Node]:
    """A node that is starting, on `port`, ended with the block. Raises CannotShow where a part for it is absent."""
    build(_say)
    try:
        import bcrypt  # noqa: F401  # asked for before anything is started
    except ImportError as error:
        raise CannotShow("bcrypt is missing: scripts/venv installs it") from error
    node = Node(folder, port)
    folder.mkdir()
    node.start()
    try:
        yield node
    finally:
        node.kill()


def build(say: Callable[[str], None]) -> None:
    """Lay the distribution out unless it is there, telling how far it is; safe for several processes at once.

    Raises CannotShow where a program for it is missing or its parts cannot be fetched.
    """
    _require_programs("java")
    if not SCRIPTS.is_dir():
        raise CannotShow(f"{SCRIPTS} is missing: it comes with the source only")
    DISTRIBUTION.parent.mkdir(parents=True, exist_ok=True)
    with (DISTRIBUTION.parent / f"{DISTRIBUTION.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (DISTRIBUTION / "complete").exists():
            return
        _require_programs(*_BUILDERS)
        _lay_out(say)
        (DISTRIBUTION / "complete").touch()


def _lay_out(say: Callable[[str], None]) -> None:
    begun = time.monotonic()
    log = DISTRIBUTION.parent / f"{DISTRIBUTION.name}.log"
    with log.open("wb") as said:
        builder = subprocess.Popen(  # noqa: S603  # a script of this program's own
            ["/bin/bash", str(SCRIPTS / "build.sh"), str(DISTRIBUTION)],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    try:
        while (passed := time.monotonic() - begun) < _BUILD_WITHIN:
            size = sum(path.stat().st_size for path in DISTRIBUTION.rglob("*.jar")) / 1e6
            say(f"Elasticsearch を用意(初回だけ、約 82 MB): {size:.0f} MB  ({passed:.0f} s)")
            with suppress(subprocess.TimeoutExpired):
                builder.wait(_TELL_EVERY)
                break
    finally:
        if builder.poll() is None:
            os.killpg(builder.pid, signal.SIGKILL)
            builder.wait()
    if builder.returncode != 0:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise CannotShow(f"Elasticsearch cannot be laid out (see {log}): {' '.join(last)[:200]}")


def _require_programs(*names: str) -> None:
    for name in names:
        if shutil.which(name) is None:
            raise CannotShow(f"{name} is missing: scripts/system-packages installs it")


def _say(line: str) -> None:
    print(f"   {line}", flush=True)
