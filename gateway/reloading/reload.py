"""One reload: judge, bind, replace the workers one by one, then whoever else is concerned; or leave all as it was."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.reloading.crew import Crew, NotReplaced
from gateway.reloading.effects import WORKERS, Difference, by_content
from gateway.reloading.judging import Judged, judge
from gateway.reloading.programs import AUDITOR, CONTROL, STEWARD, Accepted, Programs, accept
from gateway.settings import Fault, SettingsFaults
from gateway.settings_parts.faults import key_lines
from gateway.supervision.slots import CannotListen, Slots, close_left, open_slots


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reload would do: settings that change, processes that are replaced."""

    changed: tuple[Difference, ...]
    replaced: tuple[str, ...]

    def as_mapping(self) -> dict[str, object]:
        """As it travels to whoever asked."""
        changed = [
            {"key": each.key, "before": each.before, "after": each.after, "concerns": list(each.concerns)}
            for each in self.changed
        ]
        return {"changed": changed, "replaced": list(self.replaced)}


class Reloading:
    """What is in force, and how it becomes something else. One change at a time: whoever calls holds `turn`."""

    def __init__(self, crew: Crew, programs: Programs, accepted: Accepted, slots: Slots) -> None:
        self._crew = crew
        self._programs = programs
        self.accepted = accepted
        self.slots = slots
        self.turn = asyncio.Lock()

    async def judge(self) -> Judged:
        """Judge the file as it is now. Raises SettingsFaults."""
        return await asyncio.to_thread(judge, self.accepted.config, self.accepted.settings, time.time())

    def plan(self, judged: Judged, *, everybody: bool = False) -> Plan:
        """Return what taking up `judged` means; `everybody`: the program is new, too."""
        concerned = {name for each in judged.changed for name in each.concerns} | by_content(judged.settings)
        names = [f"worker-{slot}" for slot in range(judged.settings.workers.count)]
        names += [name for name in (STEWARD, AUDITOR, CONTROL) if everybody or name in concerned]
        return Plan(judged.changed, tuple(names))

    async def take_up(self, judged: Judged, plan: Plan) -> None:
        """Replace everything but control, which whoever asked may be waiting in; see `follow`.

        Raises SettingsFaults where an address cannot be bound, NotReplaced where a process does not come up: the
        former settings are in force then, in every process.
        """
        before, former = self.accepted, self.slots
        try:
            slots = open_slots(judged.settings, former)
        except CannotListen as error:
            raise SettingsFaults((self._unbound(judged, error),)) from error
        after = accept(before.config, judged.text, judged.settings)
        undo: list[Callable[[], Awaitable[None]]] = []
        try:
            for slot in range(judged.settings.workers.count):
                await self._replace(slot, after, slots, before)
                undo.append(self._undoing(slot, before, former, after))
            for name in (STEWARD, AUDITOR):
                if name in plan.replaced:
                    await self._crew.renew(self._programs.single(name, after))
                    undo.append(lambda name=name: self._crew.renew(self._programs.single(name, before)))  # type: ignore[misc]
        except NotReplaced:
            for back in reversed(undo):
                with contextlib.suppress(NotReplaced):  # then what was put in place serves on
                    await back()
            close_left(slots, former)
            raise
        self.accepted, self.slots = after, slots
        for name in (STEWARD, AUDITOR, *(() if CONTROL in plan.replaced else (CONTROL,))):
            self._crew.current[name].spec = self._programs.single(name, after)
        close_left(former, slots)

    async def follow(self, plan: Plan) -> None:
        """Replace control where it is concerned. Raises NotReplaced: it is back with the settings that it had."""
        if CONTROL in plan.replaced:
            await self._crew.renew(self._programs.single(CONTROL, self.accepted))

    async def recycle(self, name: str) -> None:
        """Replace one worker by another with the same settings. Raises NotReplaced."""
        await self._replace(int(name.removeprefix(f"{WORKERS[:-1]}-")), self.accepted, self.slots, self.accepted)

    async def _replace(self, slot: int, after: Accepted, slots: Slots, before: Accepted) -> None:
        place = self._crew.place(f"worker-{slot}")
        limit = before.settings.timeouts.drain
        await self._crew.replace(self._programs.worker(slot, place, after, slots.by_slot[slot]), limit)

    def _undoing(self, slot: int, before: Accepted, former: Slots, after: Accepted) -> Callable[[], Awaitable[None]]:
        async def undo() -> None:
            if slot < len(former.by_slot):
                await self._replace(slot, before, former, after)
            else:
                self._crew.dismiss(self._crew.current[f"worker-{slot}"], after.settings.timeouts.drain)

        return undo

    def _unbound(self, judged: Judged, error: CannotListen) -> Fault:
        key = ("listeners", error.listener, "address")
        line = key_lines(judged.text).get(key, 0)
        expected = f"an address that this machine has free ({error.strerror})"
        return Fault(str(self.accepted.config), line, ".".join(key), error.address, expected)
