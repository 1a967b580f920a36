"""The real auditor's process with a real Elasticsearch to ship to: started, killed, and watched through its files."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import elasticsearch

from audit.checkpoint import generate
from audit.elastic.bootstrap import make_keys, put_templates
from cli.tour.elasticsearch import Node

_READY_WITHIN: Final = 60.0  # seconds
_END_WITHIN: Final = 60.0


class ShippingAuditor:
    """One installation's auditor in `folder`: journals, log, keys, state. It ships into `namespace`."""

    def __init__(self, folder: Path, node: Node, namespace: str, *more: str) -> None:
        """Put templates, make keys; `more` are further arguments of the process."""
        self.journals, self.state = folder / "journal", folder / "state"
        self._folder, self._node, self._namespace, self._more = folder, node, namespace, more
        self._keys = folder / "keys"
        self.journals.mkdir(parents=True)
        self._keys.mkdir()
        (self._keys / "checkpoint.key").write_text(generate("log.example").encode())
        asyncio.run(self._prepare())
        self.process: subprocess.Popen[bytes] | None = None

    async def _prepare(self) -> None:
        async with elasticsearch.AsyncElasticsearch(
            self._node.url, basic_auth=("admin", self._node.password), request_timeout=60
        ) as client:
            await put_templates(client)
            keys = await make_keys(client, self._namespace)
        for name, key in (("es-write", keys.write), ("es-read", keys.read)):
            (self._keys / name).write_text(key)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        readable, writable = os.pipe()
        command = [
            sys.executable, "-m", "audit.daemon", "--journal", str(self.journals), "--log", str(self._folder / "log"),
            "--key", str(self._keys / "checkpoint.key"), "--state", str(self.state),
            "--elastic-url", self._node.url, "--elastic-namespace", self._namespace,
            "--elastic-write-key", str(self._keys / "es-write"),
            "--elastic-read-key", str(self._keys / "es-read"), *self._more,
        ]  # fmt: skip
        environment = {**os.environ, "SEKISHO_READY_FD": str(writable)}
        with (self._folder / "auditor.log").open("ab") as said:
            self.process = subprocess.Popen(command, pass_fds=(writable,), env=environment, stderr=said)
        os.close(writable)
        ready = select.select([readable], [], [], _READY_WITHIN)[0]
        answer = os.read(readable, 1) if ready else b""
        os.close(readable)
        assert answer == b"R", (self._folder / "auditor.log").read_text()[-2000:]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it by a signal."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(_END_WITHIN)
        self.process = None

    def status(self) -> dict[str, Any]:
        """Return what it tells of its shipping, empty before it does."""
        return _read(self.state / "elastic" / "status.json")

    def stored(self, writer: str) -> int:
        """Return up to which record of a writer's first epoch everything is stored, by the cursor's file."""
        row = _read(self.state / "elastic" / "cursor.json").get("done", {}).get(writer, (1, 0))
        return int(row[1])


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return found
