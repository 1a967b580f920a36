"""A witness as the real process, and requests to it by a client that shares nothing with the program's own."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from audit.checkpoint import Cosigner, Verifier


@dataclass
class WitnessProcess:
    """A running witness; `address` is `host:port`."""

    process: subprocess.Popen[str]
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def post(self, body: bytes, timeout: float = 60.0) -> tuple[int, str, str]:
        """Return status, content type and text of an answer; raises OSError where none comes."""
        request = urllib.request.Request(f"{self.url}/add-checkpoint", data=body, method="POST")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 (loopback)
                return response.status, response.headers["Content-Type"], response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read().decode()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


def write_key(path: Path, cosigner: Cosigner) -> Path:
    path.write_text(cosigner.encode() + "\n")
    path.chmod(0o600)
    return path


def start_witness(
    folder: Path, cosigner: Cosigner, logs: list[Verifier], *, address: str = "127.0.0.1:0", stderr: int | None = None
) -> WitnessProcess:
    """Start a witness over `folder`; returns once it takes connections."""
    key = write_key(folder.with_suffix(".key"), cosigner)
    command = [sys.executable, "-m", "audit.witness.server", "--listen", address, "--state", str(folder),
               "--key", str(key), *(word for log in logs for word in ("--log", log.encode()))]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith("listening on "), said
    return WitnessProcess(process, said.split()[-1])
