"""The supervisor: listening sockets, processes, fencing, signals. It serves nothing itself.

`python -m gateway.supervisor --config DIR/sekisho.toml` prints `ready` once every process is. Each process is started
again alone when it dies; all of them die with the supervisor. SIGTERM or SIGINT stops in order: workers drain for at
most 30 s, then the rest; a second signal kills at once. `run/supervisor.json` says what runs and where it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from audit.event import Action, event
from audit.journal import Journal, JournalUnhealthy
from audit.room import look
from gateway.settings import Settings
from gateway.settings_parts.bounds import Writes
from gateway.settings_parts.outlets import Outlets
from gateway.settings_parts.services import Elasticsearch, Witness
from gateway.state.fencing import CHANNEL, RUNNING
from gateway.supervision import child
from gateway.supervision.filling import Filling
from gateway.supervision.process import Death, Spec, Supervised
from gateway.supervision.slots import Slots, open_slots

LOG = logging.getLogger("sekisho.supervisor")
DRAIN = 30.0  # seconds for workers to end what is under way
_DISK_EACH = 2.0  # seconds between two looks at the journals' disk
_REST = 10.0  # seconds for each of the other processes
STATUS = "supervisor.json"

Extra = Callable[[], tuple[Mapping[str, str], tuple[int, ...]]]


class Supervisor:
    """All processes of one machine."""

    def __init__(self, config: Path, settings: Settings) -> None:
        """Bind the listeners. Raises OSError when an address is taken."""
        self._config = config
        self._settings = settings
        self._slots: Slots = open_slots(settings)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._channel, self._steward_end = ours, theirs
        bounds = settings.journal
        self._journal = Journal(
            settings.paths.journal, "supervisor", segment_bytes=bounds.segment_bytes, segment_age=bounds.segment_age,
            stall_limit=settings.timeouts.journal_stall, reserve=settings.journal.reserve(Writes.LAST),
        )  # fmt: skip
        self._processes: dict[str, Supervised] = {}
        self._said_ready = False

    async def run(self) -> None:
        """Start everything; returns after an orderly stop."""
        loop = asyncio.get_running_loop()
        self._journal.open(loop)
        loop.add_reader(self._channel, self._asked)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, stop)
        for spec in self._specs():
            process = Supervised(spec, self._started, self._died, self._ready)
            self._processes[spec.name] = process
            process.start()
        self._record(Action.PROCESS_STARTED, {"process.name": "supervisor", "process.pid": os.getpid()})
        watching = asyncio.create_task(self._watch_disk())
        await stop.wait()
        watching.cancel()
        await self._stop_in_order()
        (self._settings.paths.run / STATUS).unlink(missing_ok=True)
        await asyncio.to_thread(self._journal.close, 5.0)

    # -- what runs ------------------------------------------------------------------------------------------------

    def _specs(self) -> list[Spec]:
        config = ("--config", str(self._config))
        paths = self._settings.paths
        auditing = (
            "--journal", str(paths.journal), "--log", str(paths.log), "--key", str(paths.keys / "checkpoint.key"),
            "--reserve-percent", str(self._settings.journal.reserve_last_percent),
            "--reserve-bytes", str(self._settings.journal.reserve(Writes.LAST).last.most),
            "--state", str(self._settings.auditor_state), *_shipping(self._settings.elasticsearch),
            *_witnessing(self._settings.witness),
            *(f"--retain={name}={age:.0f}" for name, age in self._settings.retention.seconds().items()),
            *_outlets(self._settings.outlets),
        )  # fmt: skip
        specs = [
            Spec("steward", "gateway.steward", config, self._for_steward),
            Spec("auditor", "audit.daemon", auditing, lambda: ({}, ())),
            Spec("control", "gateway.control", config, lambda: ({}, ())),
        ]
        for number, listeners in enumerate(self._slots.by_slot):
            args = ("--slot", str(number), *config)
            specs.append(Spec(f"worker-{number}", "gateway.worker", args, _for_worker(listeners)))
        return specs

    def _for_steward(self) -> tuple[Mapping[str, str], tuple[int, ...]]:
        running = ",".join(f"{each.spec.name}:{each.pid}" for each in self._workers() if each.pid is not None)
        return {CHANNEL: str(self._steward_end.fileno()), RUNNING: running}, (self._steward_end.fileno(),)

    def _workers(self) -> list[Supervised]:
        return [each for name, each in self._processes.items() if name.startswith("worker-")]

    # -- what happens ---------------------------------------------------------------------------------------------

    def _started(self, process: Supervised) -> None:
        self._record(Action.PROCESS_STARTED, {"process.name": process.spec.name, "process.pid": process.pid})
        self._write_status()

    def _ready(self, process: Supervised) -> None:
        LOG.info("%s is ready", process.spec.name)
        self._write_status()
        if not self._said_ready and all(each.ready for each in self._processes.values()):
            self._said_ready = True
            os.write(1, b"ready\n")

    def _died(self, process: Supervised, death: Death) -> None:
        fields = {
            "process.name": process.spec.name, "process.pid": death.pid, "process.exit_code": death.exit_code,
            "sekisho.signal": death.signal, "sekisho.restart.delay": death.delay,
        }  # fmt: skip
        LOG.warning("%s (%d) ended: exit %s, signal %s", process.spec.name, death.pid, death.exit_code, death.signal)
        self._record(Action.PROCESS_DIED, fields)
        self._write_status()

    def _asked(self) -> None:
        """The steward wants a worker dead that does not acknowledge."""
        message = orjson.loads(self._channel.recv(4096))
        process = self._processes.get(message["fence"])
        if process is None or process.pid != message["pid"]:
            return  # that process is dead already
        process.signal(signal.SIGKILL)
        self._record(Action.WORKER_FENCED, {"sekisho.worker": process.spec.name, "process.pid": message["pid"]})

    async def _watch_disk(self) -> None:
        """Record when the journals' disk fills beyond the alarm or a reserve, and when it has room again."""
        journal, folder = self._settings.journal, self._settings.paths.journal
        filling = Filling(journal.disk_alarm_percent / 100, journal.reserves())
        while True:
            try:
                seen = filling.see(await asyncio.to_thread(look, folder))
            except OSError as error:
                LOG.warning("the disk of %s does not answer: %s", folder, error)
            else:
                if seen is not None:
                    LOG.warning("%s: %s", *seen)
                    self._record(*seen)
            await asyncio.sleep(_DISK_EACH)

    def _record(self, action: Action, fields: dict[str, Any]) -> None:
        try:
            self._journal.append(event(action, time.time(), fields), True, None)
        except JournalUnhealthy:
            LOG.warning("%s could not be recorded: the journal is unhealthy", action)

    def _write_status(self) -> None:
        """Replace the status file: for `sekisho status` and for whoever needs the bound addresses."""
        status = {
            "pid": os.getpid(),
            "listeners": self._slots.addresses,
            "processes": [
                {"name": name, "pid": each.pid, "ready": each.ready, "restarts": each.restarts}
                for name, each in self._processes.items()
            ],
        }
        path = self._settings.paths.run / STATUS
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(status), encoding="utf-8")
        fresh.replace(path)

    # -- the end --------------------------------------------------------------------------------------------------

    def _told_to_stop(self, stop: asyncio.Event) -> None:
        if stop.is_set():
            for process in self._processes.values():
                process.stop()
                process.signal(signal.SIGKILL)
        stop.set()

    async def _stop_in_order(self) -> None:
        await _end(self._workers(), DRAIN)
        for name in ("control", "steward", "auditor"):  # the auditor last: it covers what the others wrote
            await _end([self._processes[name]], _REST)


def _for_worker(listeners: dict[str, socket.socket]) -> Extra:
    numbers = {name: sock.fileno() for name, sock in listeners.items()}
    value = ",".join(f"{name}:{number}" for name, number in numbers.items())
    return lambda: ({child.LISTEN: value}, tuple(numbers.values()))


def _shipping(cluster: Elasticsearch | None) -> tuple[str, ...]:
    """Return the auditor's arguments for Elasticsearch: key files, never keys."""
    if cluster is None:
        return ()
    ca = () if cluster.ca is None else ("--elastic-ca", str(cluster.ca))
    return (
        "--elastic-url", str(cluster.url), *ca, "--elastic-namespace", cluster.namespace,
        "--elastic-write-key", str(cluster.write_key_file), "--elastic-read-key", str(cluster.read_key_file),
    )  # fmt: skip


def _witnessing(witness: Witness | None) -> tuple[str, ...]:
    """Return the auditor's arguments for the witnesses: addresses and public keys."""
    if witness is None:
        return ()
    ca = () if witness.ca is None else ("--witness-ca", str(witness.ca))
    return (*(word for place in witness.places for word in ("--witness", *place.split(" "))), *ca)


def _outlets(outlets: Outlets | None) -> tuple[str, ...]:
    """Return the auditor's arguments for the other ways out."""
    found: dict[str, object] = {}
    if outlets is not None and (file := outlets.ndjson) is not None:
        found |= {"--ndjson": file.path, "--ndjson-bytes": file.rotate_bytes, "--ndjson-kept": file.kept}
    if outlets is not None and (receiver := outlets.syslog) is not None:
        found |= {
            "--syslog-host": receiver.host, "--syslog-port": receiver.port, "--syslog-ca": receiver.ca,
            "--syslog-name": receiver.server_name or receiver.host,
        }  # fmt: skip
        if receiver.client_certificate is not None:
            found |= {"--syslog-certificate": receiver.client_certificate, "--syslog-key": receiver.client_key}
    return tuple(str(part) for pair in found.items() for part in pair)


async def _end(processes: list[Supervised], patience: float) -> None:
    """Ask them to end, wait, then kill what is left."""
    for process in processes:
        process.stop()
    try:
        async with asyncio.timeout(patience):
            await asyncio.gather(*(process.gone.wait() for process in processes))
    except TimeoutError:
        for process in processes:
            process.signal(signal.SIGKILL)
        await asyncio.gather(*(process.gone.wait() for process in processes))


def main() -> None:
    """Run the supervisor in the foreground."""
    parser = argparse.ArgumentParser(prog="python -m gateway.supervisor", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    config: Path = parser.parse_args().config.resolve()
    asyncio.run(Supervisor(config, Settings.load(config)).run())


if __name__ == "__main__":
    main()
