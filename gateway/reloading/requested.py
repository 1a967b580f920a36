"""What the supervisor is asked for: a reload, by an operator's command or by SIGHUP. It is carried out, told, recorded.

An answer has `fault` ("" = done), `faults` (of the file, each with its place), and the plan: `changed`, `replaced`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

import orjson

from audit.event import Action
from audit.journal import JournalUnhealthy
from gateway.reloading.crew import Crew, NotReplaced
from gateway.reloading.handover import Standing, become
from gateway.reloading.preflight import CannotTakeOver, ask_program
from gateway.reloading.reload import Plan, Reloading
from gateway.settings import Fault, SettingsFaults
from gateway.supervision import notify
from gateway.supervision.notify import ServiceManager

LOG = logging.getLogger("sekisho.supervisor")
BY_SIGNAL: Final = "SIGHUP"

Record = Callable[[Action, Mapping[str, Any]], None]
Kept = Callable[[], Awaitable[None]]
Request = Mapping[str, Any]


class Desk:
    """Takes requests, one at a time."""

    def __init__(
        self, reloading: Reloading, crew: Crew, standing: Standing, manager: ServiceManager, record: Record, kept: Kept
    ) -> None:
        """`record` writes a record down, `kept` waits until all that was written down is durable."""
        self._reloading = reloading
        self._crew = crew
        self._standing = standing
        self._manager = manager
        self._record = record
        self._kept = kept
        self._under_way: set[asyncio.Task[Any]] = set()

    def hang_up(self) -> None:
        """Take SIGHUP for a reload by whoever may send it."""
        self._later(self._signalled())

    async def _signalled(self) -> None:
        answer = await self.answer({"by": BY_SIGNAL}, None)
        for fault in answer["faults"]:
            LOG.warning("%s:%s: %s: got %s, expected %s", *(fault[name] for name in Fault.__dataclass_fields__))
        if answer["fault"]:
            LOG.warning("the settings stay as they were: %s", answer["fault"])

    async def answer(self, request: Request, asker: socket.socket | None) -> dict[str, Any]:
        """Carry out one request: `by`, `reason`, `dry_run`, `program` (become the program that is installed now).

        `asker` is the connection of whoever asks: a new program answers on it.
        """
        async with self._reloading.turn:
            if not self._crew.ready:
                return _answer("not every process is ready; see status")
            if request.get("program") and not request.get("dry_run"):
                return await self._become(request, asker)
            return await self._reload(request)

    def go_on(self, handed: Mapping[str, Any]) -> None:
        """Carry out what the former program of this process was asked for, and answer in its place."""
        self._later(self._after_handover(handed["request"], handed["asker"]))

    def stop(self) -> None:
        """Leave everything as it is: the supervisor stops."""
        for task in self._under_way:
            task.cancel()

    # -- how ------------------------------------------------------------------------------------------------------

    async def _reload(self, request: Request, *, everybody: bool = False) -> dict[str, Any]:
        try:
            judged = await self._reloading.judge()
        except SettingsFaults as error:
            return self._refused(request, "the settings have faults", error.faults)
        plan = self._reloading.plan(judged, everybody=everybody or bool(request.get("program")))
        if request.get("dry_run"):
            return _answer("", plan)
        self._manager.tell(*notify.reloading())
        try:
            await self._reloading.take_up(judged, plan)
        except SettingsFaults as error:
            return self._refused(request, "the settings have faults", error.faults)
        except (NotReplaced, OSError) as error:
            return self._refused(request, str(error), ())
        finally:
            self._manager.tell(notify.READY)
        changed = [f"{each.key}: {each.before} -> {each.after}" for each in judged.changed]
        self._record(Action.SETTINGS_TAKEN_UP, {**_who(request), "sekisho.settings.changed": changed})
        self._later(self._follow(plan))
        return _answer("", plan)

    async def _follow(self, plan: Plan) -> None:
        """Replace control after the answer has left: whoever asked may have asked through it."""
        async with self._reloading.turn:
            try:
                await self._reloading.follow(plan)
            except NotReplaced as error:
                LOG.warning("control keeps its former settings: %s", error)

    async def _become(self, request: Request, asker: socket.socket | None) -> dict[str, Any]:
        """Hand everything over to the program that is installed now; returns only where that cannot be."""
        try:
            said = await ask_program(self._reloading.accepted)
        except (CannotTakeOver, OSError) as error:
            return self._refused(request, str(error), ())
        faults = tuple(Fault(**each) for each in said["faults"])
        if faults or said["fault"]:
            return self._refused(request, said["fault"] or "the settings have faults", faults)
        left = Standing(self._reloading.accepted, self._reloading.slots, self._standing.channel)
        try:
            await self._kept()
            if not self._crew.ready:  # one may have died while the new program was asked
                return self._refused(request, "the program stays: not every process is ready; see status", ())
            become(left, self._crew, request, asker)
        except (JournalUnhealthy, OSError) as error:
            return self._refused(request, f"the program stays: {error}", ())

    async def _after_handover(self, request: Request, number: int | None) -> None:
        async with self._reloading.turn:
            answer = await self._reload(request, everybody=True)
        if number is None:
            return
        with socket.socket(fileno=number) as asker, contextlib.suppress(OSError):
            asker.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(asker, orjson.dumps(answer) + b"\n")

    def _refused(self, request: Request, fault: str, faults: tuple[Fault, ...]) -> dict[str, Any]:
        fields = {**_who(request), "error.message": fault, "sekisho.settings.faults": [str(each) for each in faults]}
        if not request.get("dry_run"):
            self._record(Action.SETTINGS_REFUSED, fields)
        return _answer(fault) | {"faults": [dataclasses.asdict(each) for each in faults]}

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


def _answer(fault: str, plan: Plan | None = None) -> dict[str, Any]:
    return {"fault": fault, "faults": [], **(plan or Plan((), ())).as_mapping()}


def _who(request: Request) -> dict[str, Any]:
    return {"sekisho.by": str(request.get("by", "")), "sekisho.justification": str(request.get("reason", ""))}
