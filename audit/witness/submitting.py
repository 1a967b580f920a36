"""The auditor's task that has checkpoints cosigned: one loop for each witness, beside the signing and never before it.

A witness is asked about the latest checkpoint, at most each `_PACE` seconds, later and later while it fails. What it
signed goes to `attach`, how it stands to the status file, and each change of that, once, to `changed`. Nothing here is
needed after a crash: the checkpoint is asked about again, and a witness answers the same tree with another cosignature.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from aiohttp import ClientSession

from audit import durable
from audit.checkpoint import Checkpoint, claimed
from audit.log import LogDamaged
from audit.tiles import Tiles, consistency_path
from audit.witness.client import Answer, Conflict, Cosigned, Declined, Place, Unreachable, ask, session
from audit.witness.protocol import Submission
from audit.witnesses import STATUS, Standing, State, encode_standings, standings

_PACE: Final = 5.0  # seconds between two submissions to one witness that signs
_SOONEST: Final = 1.0  # seconds before a failed submission is tried again; doubled up to `_LATEST`
_LATEST: Final = 300.0
_UNKNOWN: Final = (403, 404)

_LOG = logging.getLogger("sekisho.auditor")


class Submitting:
    """Asks all witnesses until cancelled."""

    def __init__(
        self, log: Path, state: Path, places: Sequence[Place], attach: Callable[[str, str], None],
        changed: Callable[[Standing], Awaitable[None]], clock: Callable[[], float],
    ) -> None:  # fmt: skip
        """`log` holds the tiles, `state` the status file; `attach` is given (note, cosignature line)."""
        self._log = log
        self._state = state
        self._attach = attach
        self._changed = changed
        self._clock = clock
        self._note = ""
        self._fresh = {place.key.name: asyncio.Event() for place in places}
        self._places = {place.key.name: place for place in places}
        before = {standing.name: standing for standing in _readable(state)}
        self._standings = {
            name: replace(before.get(name, Standing(name, place.url)), url=place.url)
            for name, place in self._places.items()
        }

    def checkpoint(self, note: str) -> None:
        """Tell of a checkpoint; one that only gained cosignatures is no new one."""
        if self._note and claimed(note) == claimed(self._note):
            return
        self._note = note
        for event in self._fresh.values():
            event.set()

    async def run(self) -> None:
        """Ask for ever."""
        self._publish()
        async with asyncio.TaskGroup() as group:
            for name in self._places:
                group.create_task(self._follow(name))

    async def _follow(self, name: str) -> None:
        while True:  # a fault of our own code or disk takes neither the other witnesses nor the auditor down
            try:
                async with session(self._places[name]) as http:
                    await self._ask_on(name, http)
            except Exception as error:  # noqa: BLE001  # logged, told, begun anew
                _LOG.exception("asking a witness failed and is begun anew")
                await self._stand(name, State.DECLINING, f"{type(error).__name__}: {error}")
            await asyncio.sleep(_LATEST)

    async def _ask_on(self, name: str, http: ClientSession) -> None:
        pause = _SOONEST
        while True:
            await self._fresh[name].wait()
            self._fresh[name].clear()
            if await self._submit(name, http, self._note):
                pause = _SOONEST
                await asyncio.sleep(_PACE)
                continue
            self._fresh[name].set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LATEST)

    async def _submit(self, name: str, http: ClientSession, note: str) -> bool:
        """Ask about `note`, again with the size that the witness tells; returns whether it cosigned."""
        place, checkpoint = self._places[name], claimed(note)
        old = min(self._standings[name].size, checkpoint.size)
        answer = await self._ask(http, place, note, old)
        if isinstance(answer, Conflict) and answer.size < checkpoint.size and answer.size != old:
            answer = await self._ask(http, place, note, answer.size)
        if isinstance(answer, Cosigned):
            self._attach(note, answer.line)
            await self._stand(name, State.COSIGNING, "", checkpoint.size, answer.time)
            return True
        await self._stand(name, *judged(answer, checkpoint))
        return False

    async def _ask(self, http: ClientSession, place: Place, note: str, old: int) -> Answer:
        try:
            path = await asyncio.to_thread(_proof, self._log, old, claimed(note).size)
        except LogDamaged as error:
            return Declined(0, str(error))
        return await ask(http, place, Submission(old, tuple(path), note))

    async def _stand(self, name: str, state: State, detail: str, size: int | None = None, time: int = 0) -> None:
        before = self._standings[name]
        after = replace(before, state=state, detail=detail)
        if size is not None:
            after = replace(after, size=size, time=time)
        if state != before.state:
            after = replace(after, since=self._clock())
        self._standings[name] = after
        if after != before:
            self._publish()
        if state != before.state:
            await self._changed(after)

    def _publish(self) -> None:
        try:
            durable.publish(self._state / STATUS, encode_standings(list(self._standings.values())))
        except OSError as error:
            _LOG.warning("the witnesses' status could not be written: %s", error)


def judged(answer: Answer, checkpoint: Checkpoint) -> tuple[State, str]:
    """Return how a witness stands that did not cosign `checkpoint`, and why."""
    if isinstance(answer, Unreachable):
        return State.UNREACHABLE, answer.text
    if isinstance(answer, Conflict):
        if answer.size > checkpoint.size:
            return State.ROLLED_BACK, f"it cosigned {answer.size} leaves, the log has {checkpoint.size}"
        if answer.size == checkpoint.size:
            return State.FORKED, f"it cosigned another tree of {answer.size} leaves"
        return State.DECLINING, f"it says that it cosigned {answer.size} leaves, and takes no proof from there"
    if isinstance(answer, Declined):
        if answer.status == 200:
            return State.FALSE, answer.text
        if answer.status in _UNKNOWN:
            return State.UNKNOWN, f"{answer.status}: {answer.text}"
        if answer.status == 422:
            return State.FORKED, answer.text
        return State.DECLINING, f"{answer.status}: {answer.text}"
    return State.COSIGNING, ""


def _proof(log: Path, old: int, size: int) -> list[bytes]:
    return consistency_path(Tiles(log, size), old, size) if old else []


def _readable(state: Path) -> list[Standing]:
    """Return the standings of the run before; a status that cannot be read is only forgotten."""
    try:
        return standings(state)
    except ValueError as error:
        _LOG.warning("%s", error)
        return []
