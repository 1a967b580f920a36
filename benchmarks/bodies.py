"""Bodies of one mebibyte in both directions: CPU of the worker beside that of a bare nginx, in interleaved rounds.

`python -m benchmarks.bodies ROUNDS` prints JSON. The nginx streams as we do and never touches its disk: it neither
gathers uploads nor writes answers to temporary files. One has the buffers that nginx comes with (what the goal is
about), one has buffers as large as ours, and is told beside, as is the chain in Go. With us everything is judged and
recorded as always.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks import nginx, progress, yardstick
from benchmarks.candidates import GATEWAY_CORE, LOAD_CORE, gateway, token
from benchmarks.measure import Spread, cpu_seconds, load, tree, write_script
from tests.support.ports import free_port
from tests.support.running_city import HOST

SIZE: Final = 1 << 20
_SECONDS: Final = 2
_RATIOS: Final = {"ratio": "nginx", "ratio_tuned": "tuned", "ratio_go": "go", "ratio_go tuned": "go tuned"}
_THREADS: Final = 2
# The app has the whole upload before it answers: an nginx that only says `return 204` answers the head, and what is
# measured then are connections given up within a body.
_APP: Final = """
http {{ access_log off; client_max_body_size 2m; client_body_buffer_size 2m; keepalive_requests 100000000;
  server {{ listen unix:{folder}/sink; location / {{ return 204; }} }}
  server {{ listen 127.0.0.1:{port};
    location = /given {{ alias {folder}/body; default_type application/octet-stream; }}
    location = /taken {{ proxy_pass http://unix:{folder}/sink:/; proxy_pass_request_body off;
      proxy_set_header Content-Length ""; }} }} }}
"""
_PROXY: Final = """
http {{ access_log off; client_max_body_size 2m; keepalive_requests 100000000;
  upstream app {{ server 127.0.0.1:{app}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_request_buffering off; proxy_max_temp_file_size 0; {buffers} proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto http; }} }} }}
"""
_LARGE: Final = """client_body_buffer_size 64k; proxy_buffer_size 64k; proxy_buffers 8 64k;
      proxy_busy_buffers_size 128k;"""


def write_body(folder: Path) -> None:
    """Write what is downloaded where nginx, as another user, can read it."""
    folder.chmod(0o755)
    (folder / "body").write_bytes(b"b" * SIZE)


def scripts(folder: Path) -> dict[str, tuple[Path, str]]:
    """Write wrk's scripts: for downloads and uploads, each with its target."""
    given, taken = folder / "given.lua", folder / "taken.lua"
    tokens = [token(number) for number in range(_THREADS)]
    write_script(given, HOST, tokens)
    write_script(taken, HOST, tokens)
    body = f'wrk.method = "POST"\nwrk.body = string.rep("b", {SIZE})\nwrk.headers["Sec-Fetch-Site"] = "same-origin"\n'
    taken.write_text(body + taken.read_text())
    return {"download": (given, "/given"), "upload": (taken, "/taken")}


def cost(port: int, pids: set[int], script: Path, target: str) -> float:
    """CPU milliseconds of one body."""
    load(port, script, 1, LOAD_CORE, target, _THREADS)
    before = cpu_seconds(pids)
    bodies = load(port, script, _SECONDS, LOAD_CORE, target, _THREADS)
    return (cpu_seconds(pids) - before) / bodies * 1e3


async def measure(rounds: int) -> dict[str, Any]:
    """Let both take turns; ratios are nginx's CPU over ours: above 1 we carry more bytes in a CPU second."""
    taken: dict[str, list[dict[str, float]]] = {"download": [], "upload": []}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_body(folder)
        app, fronts = free_port(), {"nginx": free_port(), "tuned": free_port()}
        started: list[subprocess.Popen[bytes]] = []
        try:
            started.append(nginx.start("bodies", _APP.format(port=app, folder=folder), folder, app, LOAD_CORE))
            turns: dict[str, tuple[int, set[int]]] = {}
            for who, front in fronts.items():
                text = _PROXY.format(port=front, app=app, buffers=_LARGE if who == "tuned" else "")
                started.append(nginx.start(who, text, folder, front, GATEWAY_CORE))
                turns[who] = (front, tree(started[-1].pid))
            async with gateway(folder, app) as (city, _):
                turns["ours"] = (int(city.base.rpartition(":")[2]), {city.pid("worker-0")})
                turns |= stack.enter_context(yardstick.chains(folder, app))
                for _ in progress.rounds("bodies", rounds):
                    for way, (script, target) in scripts(folder).items():
                        each: dict[str, float] = {}
                        for who in random.sample(sorted(turns), len(turns)):
                            each[who] = await asyncio.to_thread(cost, *turns[who], script, target)
                        taken[way].append(each)
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait()
    return summary(taken)


def summary(taken: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """By direction: what each of the others spends over what we do in the same round, and the medians in ms."""
    return {
        way: {
            **{
                key: dataclasses.asdict(Spread.of([each[who] / each["ours"] for each in rows]))
                for key, who in _RATIOS.items()
                if who in rows[0]
            },
            "ms": {who: Spread.of([each[who] for each in rows]).median for who in rows[0]},
        }
        for way, rows in taken.items()
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(int(sys.argv[1])))))
