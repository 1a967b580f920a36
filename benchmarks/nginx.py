"""The yardstick: nginx as the app and nginx as a bare proxy, one worker each, pinned configurations."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.load import BODY
from benchmarks.measure import tree

_COMMON: Final = """
worker_processes {workers}; daemon off; pid {folder}/{name}.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
"""
_APP: Final = """
http {{ access_log off; default_type application/json; keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{body}'; }} }} }}
"""
_PROXY: Final = """
http {{ access_log off; keepalive_requests 100000000;
  upstream app {{ server 127.0.0.1:{app}; keepalive {idle}; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port}{tls};
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme; }} }} }}
"""
_TLS: Final = " ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3"

_ASKING: Final = """
http {{ access_log off; keepalive_requests 100000000;
  upstream app {{ server 127.0.0.1:{app}; keepalive 64; keepalive_requests 100000000; }}
  upstream authoriser {{ server 127.0.0.1:{authoriser}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ auth_request /authorise; auth_request_set $assertion $upstream_http_x_sekisho_jwt_assertion;
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto http; proxy_set_header X-Sekisho-Jwt-Assertion $assertion; }}
    location = /authorise {{ internal; proxy_pass http://authoriser; proxy_http_version 1.1;
      proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Connection "";
      proxy_set_header X-Original-Host $host; proxy_set_header X-Original-Uri $request_uri;
      proxy_set_header X-Original-Method $request_method; proxy_set_header X-Original-Address $remote_addr; }} }} }}
"""


def wait_for(port: int) -> None:
    """Wait until something listens; raises TimeoutError after ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")


def start(name: str, text: str, folder: Path, port: int, core: int | str, workers: int = 1) -> subprocess.Popen[bytes]:
    """Start one nginx on a core, or on "0,1", with this `http` part of a configuration; returns when it serves.

    Its port is open before its workers are there; whoever adds up its processes then would miss them.
    """
    config = folder / f"{name}-{port}.conf"
    config.write_text(_COMMON.format(folder=folder, name=f"{name}-{port}", workers=workers) + text)
    command = ["taskset", "-c", str(core), "nginx", "-c", str(config), "-p", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(port)
    serving(process, workers)
    return process


@contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """A process that is told to end with the block, and waited for."""
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def serving(process: subprocess.Popen[bytes], workers: int = 1) -> set[int]:
    """Return a server's workers, once all of them are there; raises TimeoutError after ten seconds."""
    until = time.monotonic() + 10
    while len(found := tree(process.pid) - {process.pid}) < workers:
        if time.monotonic() > until:
            raise TimeoutError(f"workers: got {len(found)}, expected {workers}")
        time.sleep(0.02)
    return found


def start_app(folder: Path, port: int, core: int | str) -> subprocess.Popen[bytes]:
    """The app behind every candidate: answers each request with the same 978 bytes."""
    return start("app", _APP.format(port=port, body=BODY.decode()), folder, port, core)


def start_proxy(
    folder: Path, port: int, app: int, core: int | str, *, idle: int = 64, workers: int = 1,
    pair: tuple[Path, Path] | None = None,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """A bare `proxy_pass` with `idle` kept-alive connections to the app and no access log; TLS by `pair`'s PEMs."""
    tls = "" if pair is None else _TLS.format(certificate=pair[0], key=pair[1])
    return start("proxy", _PROXY.format(port=port, app=app, idle=idle, tls=tls), folder, port, core, workers)


def start_asking(folder: Path, port: int, app: int, authoriser: int, core: int) -> subprocess.Popen[bytes]:
    """The same proxy, which asks an authoriser about each request (`auth_request`) and passes its assertion on."""
    return start("asking", _ASKING.format(port=port, app=app, authoriser=authoriser), folder, port, core)


def version() -> str:
    """Nginx's own word for its version."""
    said = subprocess.run(["nginx", "-v"], check=True, capture_output=True, text=True).stderr
    found = re.search(r"nginx/[\d.]+", said)
    return found[0] if found else said.strip()
