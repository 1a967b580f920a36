"""HAProxy and nginx in front of the gateway as the examples configure them: only addresses and files differ."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
_READY_SECONDS = 60.0
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def adapted(example: str, changes: Mapping[str, str]) -> str:
    """An example with each of `changes` made wherever it stands; one that it does not hold is a fault of the test."""
    text = (EXAMPLES / example).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def _running(command: list[str], log: Path, *listening: str) -> Iterator[None]:
    """Run a program in the foreground until the block ends; it serves once all of `listening` can be connected to."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + _READY_SECONDS
        while not all(_accepts(place) for place in listening):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)  # neither program tells anybody but systemd that it is ready
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _accepts(place: str) -> bool:
    if place.startswith("/"):
        return Path(place).exists()
    hexed = f":{int(place):04X} "
    return any(hexed in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines())


@contextmanager
def haproxy(folder: Path, port: int, behind: str, pem: Path) -> Iterator[None]:
    """HAProxy on `port` of 127.0.0.1 and ::1 with one certificate, in front of the unix socket `behind`."""
    changes = {
        "    user haproxy\n": "", "    group sekisho                # may open the socket\n": "",
        "bind :443 ": f"bind 127.0.0.1:{port} ", "bind [::]:443 v6only ": f"bind [::1]:{port} v6only ",
        "maxconn 20000": "maxconn 500", "/etc/haproxy/certs/": str(pem), "/run/sekisho/behind.sock": behind,
    }  # fmt: skip
    config = folder / "haproxy.cfg"
    config.write_text(adapted("haproxy/haproxy.cfg", changes), encoding="utf-8")
    with _running(["haproxy", "-db", "-f", str(config)], folder / "haproxy.log", str(port)):
        yield


@contextmanager
def nginx(folder: Path, port: int, behind: str, certificate: Path, key: Path) -> Iterator[None]:
    """The front on `port` of 127.0.0.1 and ::1, and the hop between it and the unix socket `behind`."""
    with ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hop-")))  # a short path: sun_path
        hop = str(sockets / "hop.sock")
        changes = {
            "    user haproxy\n": "", "    group sekisho\n": "", "user www-data mode 600": "mode 600",
            "maxconn 20000": "maxconn 500",
            "/run/sekisho/front/hop.sock": hop, "/run/sekisho/behind.sock": behind,
        }  # fmt: skip
        config = folder / "hop.cfg"
        config.write_text(adapted("nginx/hop.cfg", changes), encoding="utf-8")
        stack.enter_context(_running(["haproxy", "-db", "-f", str(config)], folder / "hop.log", hop))
        places = "".join(f"    {name}_temp_path {folder / name};\n" for name in _TEMPORARY)
        changes = {
            "user www-data;": "user root;", "/run/nginx.pid": str(folder / "nginx.pid"),
            "/var/log/nginx/error.log": str(folder / "error.log"), "worker_processes auto": "worker_processes 1",
            "http {\n": f"http {{\n{places}", "listen 443 ": f"listen 127.0.0.1:{port} ",
            "listen [::]:443 ": f"listen [::1]:{port} ", "/etc/nginx/certs/server.pem": str(certificate),
            "/etc/nginx/certs/server.key": str(key), "/run/sekisho/front/hop.sock": hop,
        }  # fmt: skip
        config = folder / "nginx.conf"
        config.write_text(adapted("nginx/nginx.conf", changes), encoding="utf-8")
        command = ["nginx", "-e", str(folder / "start.log"), "-c", str(config), "-g", "daemon off;"]
        stack.enter_context(_running(command, folder / "nginx.log", str(port)))
        yield
