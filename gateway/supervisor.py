"""The supervisor: listening sockets, processes, fencing, signals, reload. It serves nothing itself.

`python -m gateway.supervisor --config DIR/sekisho.toml` prints `ready` once every process is. Each process is started
again alone when it dies; all of them die with the supervisor. SIGTERM or SIGINT stops in order: workers drain for at
most 30 s, then the rest; a second signal kills at once. SIGHUP, or a request on `run/supervisor.sock`, reads the
settings again (`gateway.reloading`). `run/supervisor.json` says what runs and where it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from audit.event import Action, event
from audit.journal import Journal, JournalUnhealthy
from audit.room import look
from gateway.reloading.crew import Crew, NotReplaced, Told, ended
from gateway.reloading.handover import HELD_BACK, Standing, fresh, taken_over
from gateway.reloading.preflight import program_version
from gateway.reloading.programs import AUDITOR, CONTROL, SINGLE, STEWARD, Programs
from gateway.reloading.recycling import due
from gateway.reloading.reload import Reloading
from gateway.reloading.requested import Desk
from gateway.settings import Settings
from gateway.settings_parts.bounds import Writes
from gateway.state.command import StewardUnavailable
from gateway.state.fencing import CHANNEL, RUNNING
from gateway.state.steward_client import StewardClient
from gateway.supervision import notify, requests
from gateway.supervision.filling import Filling
from gateway.supervision.notify import ServiceManager
from gateway.supervision.process import Death, Supervised

LOG = logging.getLogger("sekisho.supervisor")
DRAIN = 30.0  # seconds for workers to end what is under way
_DISK_EACH = 2.0  # seconds between two looks at the journals' disk
_LOOK_EACH: Final = 1.0  # seconds between two looks at the workers' age
REST: Final = 10.0  # seconds for each of the other processes
SILENCE: Final = 12.0  # seconds: a worker reports each 4 s
STATUS = "supervisor.json"


class Supervisor:
    """All processes of one machine."""

    def __init__(self, standing: Standing, manager: ServiceManager | None = None) -> None:
        """`manager` is who started us and wants to know, None = nobody."""
        self._standing = standing
        self._manager = manager or ServiceManager("", 0.0)
        self._journal = _journal(standing.accepted.settings)
        self._crew = Crew(Told(self._started, self._died, self._ready, self._write_status))
        self._programs = self._made_programs()
        self._reloading = Reloading(self._crew, self._programs, standing.accepted, standing.slots)
        self._desk = Desk(self._reloading, self._crew, standing, self._manager, self._record, self._kept)
        self._steward = StewardClient(standing.accepted.settings.paths.steward_socket)
        self._said_ready = bool(standing.handed)

    def _made_programs(self) -> Programs:
        return Programs(self._for_steward)

    @property
    def _settings(self) -> Settings:
        return self._reloading.accepted.settings

    async def run(self) -> None:
        """Start everything, or go on with what a former program started; returns after an orderly stop."""
        loop = asyncio.get_running_loop()
        self._journal.open(loop)
        loop.add_reader(self._standing.channel[0], self._asked)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, stop)
        loop.add_signal_handler(signal.SIGHUP, self._desk.hang_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        if self._standing.handed:
            self._adopt(self._standing.handed)
        else:
            self._start()
        fields = {"process.name": "supervisor", "process.pid": os.getpid(), "observer.version": program_version()}
        self._record(Action.PROCESS_STARTED, fields)
        server = await requests.serve(self._settings.paths.supervisor_socket, self._desk.answer)
        watching = [asyncio.create_task(each) for each in (self._watch_disk(), self._recycle(), self._beat())]
        for each in watching:
            each.add_done_callback(_told_of_its_end)
        if self._standing.handed:
            self._desk.go_on(self._standing.handed)
        await stop.wait()
        self._manager.tell(notify.STOPPING)
        server.close()
        self._crew.stopping = True
        self._desk.stop()
        await self._steward.close()
        for each in watching:
            each.cancel()
        await self._stop_in_order()
        (self._settings.paths.run / STATUS).unlink(missing_ok=True)
        await asyncio.to_thread(self._journal.close, 5.0)

    # -- what runs ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        accepted, slots = self._standing.accepted, self._standing.slots
        for name in SINGLE:
            self._crew.start(self._programs.single(name, accepted))
        for slot, listeners in enumerate(slots.by_slot):
            self._crew.start(self._programs.worker(slot, 0, accepted, listeners))

    def _adopt(self, handed: Mapping[str, Any]) -> None:
        """Go on with the children of the former program, started anew from this one where they die."""
        accepted, slots = self._standing.accepted, self._standing.slots
        for retiring in (False, True):
            for each in handed["retiring" if retiring else "processes"]:
                name = each["name"]
                if name in SINGLE:
                    spec = self._programs.single(name, accepted)
                else:
                    slot = int(name.removeprefix("worker-"))
                    listeners = slots.by_slot[slot] if slot < len(slots.by_slot) else {}
                    spec = self._programs.worker(slot, each["place"], accepted, listeners)
                limit = accepted.settings.timeouts.drain if retiring else None
                self._crew.adopt(spec, each["pid"], each["restarts"], limit)

    def _for_steward(self) -> tuple[Mapping[str, str], tuple[int, ...]]:
        running = ",".join(f"{each.spec.name}:{each.pid}" for each in self._crew.workers if each.pid is not None)
        number = self._standing.channel[1].fileno()
        return {CHANNEL: str(number), RUNNING: running}, (number,)

    async def _recycle(self) -> None:
        """Replace workers that are old, one at a time."""
        while True:
            await asyncio.sleep(_LOOK_EACH)
            if self._reloading.turn.locked() or not self._crew.ready:
                continue
            now, limit = time.monotonic(), self._settings.workers.recycle_after
            ages = {each.spec.name: now - each.started_at for each in self._crew.workers if each.ready and each.keep}
            name = due(ages, limit, draining=bool(self._crew.retiring))
            if name is not None:
                async with self._reloading.turn:
                    try:
                        await self._reloading.recycle(name)
                    except NotReplaced as error:
                        LOG.warning("not replaced: %s", error)
                        await asyncio.sleep(min(limit, 60.0))

    async def _beat(self) -> None:
        """Tell the service manager that we live, as long as workers and steward serve."""
        while self._manager.watchdog:
            if await self._alive():
                self._manager.tell(notify.WATCHDOG)
            await asyncio.sleep(self._manager.watchdog / 4)

    async def _alive(self) -> bool:
        """Whether the steward answers and has lately heard of a worker: then requests are served."""
        try:
            async with asyncio.timeout(self._manager.watchdog / 4):
                status = await self._steward.call("status")
        except (StewardUnavailable, TimeoutError):
            return False
        silences = [each["silent"] for each in status["workers"] if each["connected"]]
        return any(each is not None and each < SILENCE for each in silences)

    # -- what happens ---------------------------------------------------------------------------------------------

    def _started(self, process: Supervised) -> None:
        self._record(Action.PROCESS_STARTED, {"process.name": process.spec.name, "process.pid": process.pid})
        self._write_status()

    def _ready(self, process: Supervised) -> None:
        LOG.info("%s is ready", process.spec.name)
        self._write_status()
        if not self._said_ready and self._crew.ready:
            self._said_ready = True
            self._manager.tell(notify.READY)
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
        message = orjson.loads(self._standing.channel[0].recv(4096))
        process = self._crew.find(message["fence"], message["pid"])
        if process is None:
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

    def _record(self, action: Action, fields: Mapping[str, Any]) -> None:
        try:
            self._journal.append(event(action, time.time(), dict(fields)), True, None)
        except JournalUnhealthy:
            LOG.warning("%s could not be recorded: the journal is unhealthy", action)

    async def _kept(self) -> None:
        """Return once every record so far is durable. Raises JournalUnhealthy."""
        fields = {"process.name": "supervisor", "process.pid": os.getpid(), "observer.version": program_version()}
        await self._journal.record(event(Action.PROGRAM_REPLACED, time.time(), fields))

    def _write_status(self) -> None:
        """Replace the status file: for `sekisho status` and for whoever needs the bound addresses."""
        status = {
            "pid": os.getpid(),
            "listeners": self._reloading.slots.addresses,
            "processes": [
                {"name": name, "pid": each.pid, "ready": each.ready, "restarts": each.restarts}
                for name, each in self._crew.current.items()
            ],
            "retiring": [{"name": each.spec.name, "pid": each.pid} for each in self._crew.retiring],
        }
        path = self._settings.paths.run / STATUS
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(status), encoding="utf-8")
        fresh.replace(path)

    # -- the end --------------------------------------------------------------------------------------------------

    def _told_to_stop(self, stop: asyncio.Event) -> None:
        if stop.is_set():
            for process in self._crew.all:
                process.stop()
                process.signal(signal.SIGKILL)
        stop.set()

    async def _stop_in_order(self) -> None:
        await ended(self._crew.workers, DRAIN)
        for name in (CONTROL, STEWARD, AUDITOR):  # the auditor last: it covers what the others wrote
            await ended([self._crew.current[name]], REST)


def _told_of_its_end(task: asyncio.Task[None]) -> None:
    """Say that something which goes on beside everything else ended by a fault; what it did is missing from now on."""
    if not task.cancelled() and (fault := task.exception()) is not None:
        LOG.error("a watch ended", exc_info=fault)


def _journal(settings: Settings) -> Journal:
    bounds = settings.journal
    return Journal(
        settings.paths.journal, "supervisor", segment_bytes=bounds.segment_bytes, segment_age=bounds.segment_age,
        stall_limit=settings.timeouts.journal_stall, reserve=bounds.reserve(Writes.LAST),
    )  # fmt: skip


def main() -> None:
    """Run the supervisor in the foreground."""
    parser = argparse.ArgumentParser(prog="python -m gateway.supervisor", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--handover", type=int, help="descriptor that a former program of this process left")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    options = parser.parse_args()
    manager = ServiceManager.of(os.environ, os.getpid())

    async def supervise() -> None:
        standing = fresh(options.config.resolve()) if options.handover is None else taken_over(options.handover)
        await Supervisor(standing, manager).run()

    asyncio.run(supervise())


if __name__ == "__main__":
    main()
