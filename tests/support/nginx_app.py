"""A real nginx as an app: it answers every request with 204 and writes down what it read, body and all.

It listens twice, on unix sockets: `app` for the gateway, `alone` for the same bytes without one, each with a list of
its own. A request that it did not read to its end stands in the list with another status than 204.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

_LISTED: Final = (
    '{"method":"$request_method","target":"$request_uri","host":"$http_host","body":"$request_body","status":$status}'
)
_CONFIGURATION: Final = """
worker_processes 1; daemon off; master_process off; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 512; }}
http {{
  log_format list escape=json '{listed}';
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  client_body_in_single_buffer on; client_body_buffer_size 64k; lingering_close off; proxy_ignore_client_abort on;
  keepalive_requests 1000000; server_tokens off;
  server {{ listen unix:{folder}/app.sock; access_log {folder}/app.list list;
    location / {{ proxy_pass http://unix:{folder}/end.sock:/; }} }}
  server {{ listen unix:{folder}/alone.sock; access_log {folder}/alone.list list;
    location / {{ proxy_pass http://unix:{folder}/end.sock:/; }} }}
  server {{ listen unix:{folder}/end.sock; access_log off; location / {{ return 204; }} }}
}}
"""
WHOLE: Final = 204


class List:
    """One of its two lists; `place` is where the requests after the last look begin."""

    def __init__(self, folder: Path, name: str) -> None:
        self.socket = folder / f"{name}.sock"
        self._file = folder / f"{name}.list"
        self._place = 0
        self._marks = itertools.count()

    async def taken(self) -> list[dict[str, Any]]:
        """What was read since the last look: returns once nginx has written down a request sent after all of them."""
        mark = f"/mark/{next(self._marks)}"
        reader, writer = await asyncio.open_unix_connection(self.socket)
        writer.write(f"GET {mark} HTTP/1.1\r\nHost: mark.test\r\nConnection: close\r\n\r\n".encode())
        await reader.read()
        writer.close()
        async with asyncio.timeout(30):
            while True:
                data = self._file.read_bytes()[self._place :]
                whole = data[: data.rfind(b"\n") + 1]
                # nginx escapes what JSON must have escaped and writes all other bytes as they are.
                found = [json.loads(line.decode("latin-1")) for line in whole.splitlines()]
                if any(each["target"] == mark for each in found):
                    self._place += len(whole)
                    return [each for each in found if each["target"] != mark]
                await asyncio.sleep(0.001)


class NginxApp:
    """Both lists."""

    def __init__(self, folder: Path) -> None:
        self.app = List(folder, "app")
        self.alone = List(folder, "alone")


@contextlib.asynccontextmanager
async def nginx_app(nginx: Path, folder: Path) -> AsyncIterator[NginxApp]:
    """Run it within the block; `folder` is empty, its path short enough for a socket's."""
    text = _CONFIGURATION.format(folder=folder, listed=_LISTED)
    if os.geteuid() == 0:
        text = "user root root;" + text
    (folder / "conf").write_text(text)
    process = await asyncio.create_subprocess_exec(
        nginx, "-c", str(folder / "conf"), "-p", str(folder), "-e", "/dev/null", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while not (folder / "end.sock").exists() or not (folder / "pid").exists():
                assert process.returncode is None, "nginx does not start"
                await asyncio.sleep(0.01)
        yield NginxApp(folder)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
