"""The city's processes: MDM, apps, gateway. All of them end with the one that started them, however that ends.

Each asks the kernel for SIGTERM when its parent ends (prctl(2) PR_SET_PDEATHSIG, kept over exec), and runs in a session
of its own, so that Ctrl-C reaches the demo alone and it stops the others in order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cli.city import applications
from cli.city.document import City
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t

READY_WITHIN = 60.0  # seconds
_STOP_WITHIN = 40.0
_DEATH = "import ctypes,os,signal,sys;ctypes.CDLL(None).prctl(1,signal.SIGTERM,0,0,0);"
_DEATH += "os.getppid()==int(sys.argv[1]) or sys.exit(1);os.execv(sys.argv[2],sys.argv[2:])"


class Running:
    """What was started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(
        self, name: str, command: Sequence[str], *, piped: bool = False, more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one process with its output in `logs/NAME.log` and `more` in its environment. Raises OSError."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # commands of this program's own
                [sys.executable, "-c", _DEATH, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if piped else log, stderr=log, start_new_session=True,
                cwd=applications.EXAMPLES.parent, env={**os.environ, **(more or {})},
            )  # fmt: skip
        self._processes.append((name, process))
        return process

    def dead(self) -> str:
        """The name of a process that ended by itself, "" = all are there."""
        return next((name for name, process in self._processes if process.poll() is not None), "")

    def stop(self) -> None:
        """End all at once and wait: an app that goes takes its open connections along, so nobody drains long."""
        for _, process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for _, process in self._processes:
            self._wait(process)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running(city: City) -> Iterator[Running]:
    """Start everything, yield when the gateway is ready, stop everything. Raises Failure."""
    root = Path(city.settings).parent
    logs = root / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    _refuse_taken(city)
    group = Running(logs)
    try:
        group.start("mdm-sim", simulator_command(city))
        port = int(city.address.rpartition(":")[2])
        for app in city.apps:
            group.start(app.id, applications.command(app.id, root / "apps", city.domain, port, app.port))
        gateway = group.start("gateway", gateway_command(city), piped=True)
        await_ready(gateway, group)
        _await_apps(city, group, logs)
        yield group
    finally:
        group.stop()


def gateway_command(city: City) -> list[str]:
    """The command line of the supervisor."""
    return [sys.executable, "-m", "gateway.supervisor", "--config", city.settings]


def simulator_command(city: City) -> list[str]:
    """The command line of the MDM."""
    port = city.mdm_sim.url.rpartition(":")[2]
    return [sys.executable, "-m", "cli", "mdm-sim", "serve", "--tenant", city.mdm_sim.access_file, "--port", port]


def _refuse_taken(city: City) -> None:
    """Say which port is taken before anything is started."""
    host, _, port = city.address.rpartition(":")
    wanted = [(host.strip("[]"), int(port)), *(("127.0.0.1", app.port) for app in city.apps)]
    wanted.append(("127.0.0.1", int(city.mdm_sim.url.rpartition(":")[2])))
    for address in wanted:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                place = f"{address[0]}:{address[1]}"
                message = t(
                    f"{place} を使えません ({error.strerror})。別の demo が動いていませんか。",
                    f"cannot use {place} ({error.strerror}). Is another demo running?",
                )
                raise Failure(ExitCode.CONFLICT, message) from error


def await_ready(process: subprocess.Popen[bytes], group: Running) -> None:
    """Wait until the gateway says `ready`; raises Failure with the end of its log."""
    timer = threading.Timer(READY_WITHIN, process.kill)
    timer.start()
    line = process.stdout.readline() if process.stdout is not None else b""
    timer.cancel()
    if line != b"ready\n":
        message = t("ゲートウェイが起動しません。", "the gateway does not start.")
        log = group.folder / "gateway.log"
        raise Failure(ExitCode.FAILED, message, [str(log), *_tail(log)])


def _await_apps(city: City, group: Running, logs: Path) -> None:
    end = time.monotonic() + READY_WITHIN
    ports = {app.id: app.port for app in city.apps} | {"mdm-sim": int(city.mdm_sim.url.rpartition(":")[2])}
    for name, port in ports.items():
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            dead = group.dead()
            if dead or time.monotonic() > end:
                lost = dead or name
                message = t(f"{lost} が起動しません。", f"{lost} does not start.")
                raise Failure(ExitCode.FAILED, message, _tail(logs / f"{lost}.log"))
            time.sleep(0.05)


def _tail(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-8:] if path.exists() else []
