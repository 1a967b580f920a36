"""CPU per request of the bare edge (no gate, no journal) against nginx `proxy_pass`, in interleaved rounds.

Proxy on core 0, upstream (nginx) and wrk on core 1; 64 kept-alive connections, browser-like headers, 978-byte answers.
CPU is user and system time of the proxy's whole process tree over the requests wrk completed. Prints one line a round
and the median of the per-round ratios; absolute figures mean nothing on a shared machine.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TICK = os.sysconf("SC_CLK_TCK")
BODY = b'{"items": "' + b"x" * 965 + b'"}'
WRK_SCRIPT = """
wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140"
wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
wrk.headers["Accept-Language"] = "ja,en-US;q=0.7,en;q=0.3"
wrk.headers["Accept-Encoding"] = "gzip, deflate, br"
wrk.headers["Referer"] = "https://app.test/somewhere"
wrk.headers["Sec-Fetch-Dest"] = "document"
wrk.headers["Cookie"] = "theme=dark; __Host-sekisho-app=" .. string.rep("A", 43) .. "; a=" .. string.rep("b", 80)
"""
UPSTREAM = """
worker_processes 1; daemon off; pid {d}/up.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000;
  server {{ listen 127.0.0.1:{up} reuseport; location / {{ return 200 '{body}'; }} }} }}
"""
PROXY = """
worker_processes 1; daemon off; pid {d}/px.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000;
  upstream app {{ server 127.0.0.1:{up}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{px};
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto http; }} }} }}
"""


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process and its children that live."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(path.parent.name) == pid or int(fields[1]) == pid:
            total += int(fields[11]) + int(fields[12])
    return total / TICK


def wait_for(port: int) -> None:
    """Wait until something listens."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")


def measure(start: Callable[[int], subprocess.Popen[bytes]], folder: Path, seconds: float) -> tuple[float, float]:
    """Start a proxy, load it; return (CPU µs per request, requests per second)."""
    port = free_port()
    process = start(port)
    try:
        wait_for(port)
        load = ["taskset", "-c", "1", "wrk", "-t1", "-c64", "-s", str(folder / "headers.lua")]
        subprocess.run([*load, "-d1", f"http://127.0.0.1:{port}/warm"], check=True, capture_output=True)
        before = cpu_seconds(process.pid)
        done = subprocess.run(
            [*load, f"-d{seconds:g}s", f"http://127.0.0.1:{port}/api/items?page=1"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        used = cpu_seconds(process.pid) - before
    finally:
        process.terminate()
        process.wait()
    if "Non-2xx" in done or "Socket errors" in done:
        raise RuntimeError(done)
    requests = int(re.findall(r"(\d+) requests in", done)[0])
    return used / requests * 1e6, requests / seconds


def main(rounds: int, seconds: float) -> None:
    """Run the rounds and print the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "headers.lua").write_text(WRK_SCRIPT)
        up = free_port()
        (folder / "up.conf").write_text(UPSTREAM.format(d=folder, up=up, body=BODY.decode()))
        upstream = subprocess.Popen(["taskset", "-c", "1", "nginx", "-c", folder / "up.conf", "-p", folder])
        wait_for(up)

        def nginx(port: int) -> subprocess.Popen[bytes]:
            (folder / "px.conf").write_text(PROXY.format(d=folder, up=up, px=port))
            return subprocess.Popen(["taskset", "-c", "0", "nginx", "-c", folder / "px.conf", "-p", folder])

        def edge(port: int) -> subprocess.Popen[bytes]:
            command = ["taskset", "-c", "0", sys.executable, __file__, "serve", str(port), str(up)]
            return subprocess.Popen(command, cwd=ROOT)

        ratios = []
        try:
            for place in range(rounds):
                ours, ours_rate = measure(edge, folder, seconds)
                theirs, their_rate = measure(nginx, folder, seconds)
                ratios.append(ours / theirs)
                print(f"round {place}: edge {ours:.1f} µs ({ours_rate:.0f}/s)  nginx {theirs:.1f} µs "
                      f"({their_rate:.0f}/s)  ratio {ratios[-1]:.2f}")  # fmt: skip
        finally:
            upstream.terminate()
            upstream.wait()
        print(f"median ratio {statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]")


def serve(port: int, upstream: int) -> None:
    """Run the bare edge with a gatekeeper that allows everything."""
    sys.path.insert(0, str(ROOT))
    import uvloop  # noqa: PLC0415  # only the served process needs it

    from tests.support.edge import serve_bare  # noqa: PLC0415  # importable once the root is on the path

    gc.set_threshold(50000, 50, 100)
    gc.freeze()
    uvloop.run(serve_bare(port, f"http://127.0.0.1:{upstream}", asyncio.Event()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, float(sys.argv[2]) if len(sys.argv) > 2 else 2.0)
