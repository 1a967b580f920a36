"""The processes of one machine, and how one takes another's place.

A worker's follower serves beside it before the old one is asked to retire; both listen on the slot's sockets meanwhile,
so no connection finds nobody. Of steward, control and auditor there is one at a time: the follower loads its program,
waits until the old one has ended, and goes on. What does not come up is ended again, and the old one stays or is back.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.reloading.programs import AUDITOR
from gateway.supervision.process import Death, Spec, Supervised

_PATIENCE: Final = 60.0  # seconds that a process may take to be ready
_LEAVE: Final = 15.0  # seconds that one of which there is only one may take to end
_BEYOND: Final = 10.0  # seconds after the drain limit at which a worker that is still there is killed


class NotReplaced(Exception):
    """The new process did not come up; the old one is in its place."""


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told what happens to a process."""

    started: Callable[[Supervised], None]
    died: Callable[[Supervised, Death], None]
    ready: Callable[[Supervised], None]
    moved: Callable[[], None]  # somebody else has a place now


class Crew:
    """Everything that runs: `current` by name, `retiring` workers that only end what they have."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self.current: dict[str, Supervised] = {}
        self.retiring: list[Supervised] = []
        self._arriving: list[Supervised] = []
        self.stopping = False  # set before everybody is asked to end: nobody new comes any more

    def start(self, spec: Spec) -> None:
        """Start a process that stays. Raises OSError."""
        self.current[spec.name] = process = self._made(spec, keep=True)
        process.start()

    def adopt(self, spec: Spec, pid: int, restarts: int, limit: float | None = None) -> None:
        """Take over a child that a former program of this process started; one that retires has `limit` seconds."""
        process = self._made(spec, keep=limit is None)
        process.adopt(pid, restarts)
        if limit is None:
            self.current[spec.name] = process
        else:
            self._let_leave(process, limit)

    @property
    def all(self) -> list[Supervised]:
        """Every process."""
        return [*self.current.values(), *self.retiring, *self._arriving]

    @property
    def workers(self) -> list[Supervised]:
        """Everyone that may serve requests."""
        return [each for each in self.all if each.spec.name.startswith("worker-")]

    @property
    def ready(self) -> bool:
        """Whether every process that is to run does its work."""
        return all(each.ready for each in self.current.values())

    def find(self, name: str, pid: int) -> Supervised | None:
        """Return the process of this name and id, None when it is gone."""
        return next((each for each in self.all if each.pid == pid and each.spec.name == name), None)

    def place(self, name: str) -> int:
        """Return the lowest place of a slot whose journal nobody holds."""
        taken = {each.spec.place for each in self.all if each.spec.name == name and not each.gone.is_set()}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    async def replace(self, spec: Spec, limit: float) -> None:
        """Have another worker serve, then the old one of that name retire, for `limit` seconds at most.

        Raises NotReplaced.
        """
        fresh = self._coming(spec)
        try:
            fresh.start()
            await _reach(fresh, fresh.serving, _PATIENCE)
        except (NotReplaced, OSError) as error:
            await _killed(fresh)
            raise NotReplaced(f"{spec.name}: {error}") from error
        finally:
            self._arriving.remove(fresh)
        old, self.current[spec.name] = self.current.get(spec.name), fresh
        fresh.keep = True
        if old is not None:
            self.dismiss(old, limit)
        self._told.moved()

    def dismiss(self, worker: Supervised, limit: float) -> None:
        """Let a worker end what it has; it is killed where it outlives its limit (seconds) by far."""
        if self.current.get(worker.spec.name) is worker:
            del self.current[worker.spec.name]
        worker.retire()
        if not worker.gone.is_set():
            self._let_leave(worker, limit)

    def _let_leave(self, worker: Supervised, limit: float) -> None:
        self.retiring.append(worker)
        asyncio.get_running_loop().call_later(limit + _BEYOND, worker.signal, signal.SIGKILL)

    async def renew(self, spec: Spec) -> None:
        """Have another one of a kind of which there is one at a time. Raises NotReplaced; the former is back then."""
        old = self.current[spec.name]
        fresh = self._coming(spec)
        waits = spec.name != AUDITOR  # it shares no code with the gateway, and nobody waits for it
        try:
            if waits:
                fresh.start(waits=True)
                await _reach(fresh, fresh.loaded, _PATIENCE)
        except (NotReplaced, OSError) as error:
            await _killed(fresh)
            self._arriving.remove(fresh)
            raise NotReplaced(f"{spec.name}: {error}") from error
        await ended([old], _LEAVE)
        self._arriving.remove(fresh)
        self.current[spec.name] = fresh
        try:
            if waits:
                fresh.go()
            else:
                fresh.start()
            await _reach(fresh, fresh.serving, _PATIENCE)
        except (NotReplaced, OSError) as error:
            await _killed(fresh)
            if not self.stopping:
                self.start(old.spec)
            raise NotReplaced(f"{spec.name}: {error}") from error
        fresh.keep = True
        self._told.moved()

    def _coming(self, spec: Spec) -> Supervised:
        if self.stopping:
            raise NotReplaced(f"{spec.name}: the gateway stops")
        fresh = self._made(spec, keep=False)
        self._arriving.append(fresh)
        return fresh

    def _made(self, spec: Spec, *, keep: bool) -> Supervised:
        return Supervised(spec, self._told.started, self._died, self._told.ready, keep=keep)

    def _died(self, process: Supervised, death: Death) -> None:
        if process in self.retiring:
            self.retiring.remove(process)
        self._told.died(process, death)


async def ended(processes: list[Supervised], patience: float) -> None:
    """Ask them to end, wait `patience` seconds, then kill what is left."""
    for process in processes:
        process.stop()
    try:
        async with asyncio.timeout(patience):
            await asyncio.gather(*(process.gone.wait() for process in processes))
    except TimeoutError:
        for process in processes:
            process.signal(signal.SIGKILL)
        await asyncio.gather(*(process.gone.wait() for process in processes))


async def _killed(process: Supervised) -> None:
    process.keep = False
    if process.pid is not None:
        process.signal(signal.SIGKILL)
        await process.gone.wait()


async def _reach(process: Supervised, event: asyncio.Event, patience: float) -> None:
    """Wait until `event`; raises NotReplaced where the process ends before, or takes longer."""
    waits = [asyncio.create_task(each.wait()) for each in (event, process.gone)]
    await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    for each in waits:
        each.cancel()
    if process.gone.is_set():
        raise NotReplaced("the new process ended while it started; its error is in the log")
    if not event.is_set():
        raise NotReplaced(f"the new process was not ready within {patience:.0f} s")
