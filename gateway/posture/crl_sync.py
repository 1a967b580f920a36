"""The authorities' revocation lists as control keeps them: look at the files, verify, and have the steward take them.

Two looks have to find a file the same before it counts. What cannot be used leaves the former list in force and is told
once for each state of the file; a list that is missing or past its time is told once a day.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import SQLAlchemyError

from audit.event import Action, event, timestamp
from audit.journal import JournalUnhealthy
from gateway.posture.crl import CrlFaults, ReadCrl
from gateway.posture.crl_files import Seen, Wanted, read_file, row_of, state_of
from gateway.state.command import CommandRefused, StewardUnavailable
from gateway.state.ops_crl import MOST, older
from gateway.state.records import RevocationList
from gateway.state.serials import bucket_of, spelled, split

if TYPE_CHECKING:
    from audit.journal import Journal
    from gateway.state.steward_client import StewardClient
    from gateway.state.store import Reader

LOOK_EACH: Final = 2.0  # seconds between two looks at the files: a change counts after 2 to 4
TOLD_EACH: Final = 86_400.0  # seconds between two records of a list that is missing or past its time
NAMED: Final = 1000  # so many changed numbers get a record each; of more, how many they are
_PART: Final = 200  # buckets of one command
_PASSING: Final = (StewardUnavailable, CommandRefused, JournalUnhealthy, SQLAlchemyError)  # a database restarts, too
_log = logging.getLogger("sekisho.posture")


@dataclass(slots=True)
class Kept:
    """What is known of one list's file."""

    last: Seen = ()  # as the latest look saw it
    settled: Seen | None = None  # as it was when it was last read
    fault: str = ""  # why what it holds is not in force, "" = it is
    told: float = float("-inf")  # when its want was last recorded


@dataclass(frozen=True, slots=True)
class Offered:
    """A good list that lies in its file and is older than the one in force."""

    former: RevocationList
    row: RevocationList
    fault: str  # what forbids it to follow
    added: int  # numbers that it would revoke
    lifted: int  # numbers that would count again
    read: ReadCrl
    seen: Seen


class RevocationLists:
    """The lists of one installation. Used from control's loop only."""

    def __init__(
        self, wanted: Sequence[Wanted], reader: Reader, steward: StewardClient, journal: Journal,
        clock: Callable[[], float], most: int, forget_after: float,
    ) -> None:  # fmt: skip
        """`most` entries a list; lists that the settings name no more are forgotten after so many seconds.

        Until then workers of the former settings may be ending what they have, by the lists of those settings.
        """
        self._wanted = {each.authority.id: each for each in wanted}
        self._kept = {name: Kept() for name in self._wanted}
        self._reader = reader
        self._steward = steward
        self._journal = journal
        self._clock = clock
        self._most = most
        self._forget_after = forget_after
        self._turn = asyncio.Lock()  # a list is taken in by one at a time

    async def run(self) -> None:
        """Look for ever; ends only by cancellation."""
        started = asyncio.get_running_loop().time()
        forgotten = False
        while True:
            try:
                await self.look()
                if not forgotten and asyncio.get_running_loop().time() - started >= self._forget_after:
                    await self._forget()
                    forgotten = True
            except _PASSING as fault:  # the next look tries again
                _log.warning("revocation lists: %s", fault)
            await asyncio.sleep(LOOK_EACH)

    async def look(self) -> None:
        """Look at every file once, and take in those that changed and are at rest.

        Raises StewardUnavailable, CommandRefused, JournalUnhealthy, SQLAlchemyError once all were looked at: what was
        not taken in is looked at again, and none has to wait for another.
        """
        failed: Exception | None = None
        for name, wanted in self._wanted.items():
            kept = self._kept[name]
            try:
                async with self._turn:
                    await self._look_at(wanted, kept)
                await self._tell_want(wanted, kept, self._in_force().get(name), self._clock())
            except _PASSING as fault:
                failed = fault
        if failed is not None:
            raise failed

    async def plan(self, name: str) -> dict[str, object] | None:
        """Return what `accept` would do with the file of this authority's id, None = nothing.

        Raises KeyError for one that the settings do not name, CrlFaults where the file holds no good list at all.
        """
        offered = await self._offered(name)
        if offered is None:
            return None
        former = {"former_number": offered.former.number, "former_this_update": offered.former.this_update}
        counts = {"fault": offered.fault, "added": offered.added, "lifted": offered.lifted}
        return {**offered.row.to_row(), **former, **counts}

    async def _offered(self, name: str) -> Offered | None:
        """Return what a file holds where only its number or time forbids it to follow."""
        wanted = self._wanted[name]
        seen = await asyncio.to_thread(state_of, wanted.file)
        read = await asyncio.to_thread(read_file, wanted, self._clock(), self._most)
        row, former = row_of(wanted, read), self._in_force().get(name)
        if former is None or not (fault := older(former, row)):
            return None
        added, lifted = await asyncio.to_thread(self._difference, name, read.serials)
        return Offered(former, row, fault, len(added), len(lifted), read, seen)

    async def accept(self, name: str, digest: str, by: str, reason: str) -> bool:
        """Put the list with this digest in force although it is older than the one that is; False = it is not there.

        Raises KeyError, CrlFaults, CommandRefused, StewardUnavailable; whatever it may be, a next look goes on with it.
        """
        wanted, kept = self._wanted[name], self._kept[name]
        async with self._turn:
            offered = await self._offered(name)
            if offered is None or offered.row.digest != digest:
                return False
            await self._steward.call("crl.renumber", list=offered.row.to_row(), by=by, reason=reason)
            kept.settled = None  # from here on a look would take it as well
            await self._take(wanted, offered.read)
            kept.fault, kept.settled = "", offered.seen
        return True

    def states(self) -> list[dict[str, object]]:
        """How every list is doing: those that the settings name, and those that are still kept besides."""
        now, listed = self._clock(), self._in_force()
        rows = [self._state(each, listed.pop(name, None), now) for name, each in self._wanted.items()]
        return rows + [
            {**row.to_row(), "file": "", "when_stale": "", "state": "not_configured", "fault": "", "left": None}
            for row in listed.values()
        ]

    def _state(self, wanted: Wanted, listed: RevocationList | None, now: float) -> dict[str, object]:
        fault = self._kept[wanted.authority.id].fault
        row: Mapping[str, object] = (
            listed.to_row() if listed is not None
            else {"id": wanted.authority.id, "authority": wanted.authority.name, "number": "", "this_update": None,
                  "next_update": None, "entries": None, "digest": "", "read_at": None}
        )  # fmt: skip
        state = "missing" if listed is None else "stale" if listed.next_update <= now else "good"
        return {
            **row, "file": str(wanted.file), "when_stale": "refuse" if wanted.authority.checked else "warn",
            "state": state, "fault": fault, "left": None if listed is None else listed.next_update - now,
        }  # fmt: skip

    def _in_force(self) -> dict[str, RevocationList]:
        return {each.id: each for each in self._reader.revocation_lists()}

    # -- one file -----------------------------------------------------------------------------------------------------

    async def _look_at(self, wanted: Wanted, kept: Kept) -> None:
        seen = await asyncio.to_thread(state_of, wanted.file)
        at_rest, kept.last = seen == kept.last, seen
        if seen == kept.settled or not at_rest:
            return
        try:
            read = await asyncio.to_thread(read_file, wanted, self._clock(), self._most)
            await self._take(wanted, read)
        except CrlFaults as faults:
            await self._refused(wanted, kept, faults)
        except CommandRefused as refusal:
            if refusal.code != "crl_older":
                raise
            await self._refused(wanted, kept, CrlFaults([refusal.message]))
        else:
            kept.fault = ""
        kept.settled = seen

    async def _refused(self, wanted: Wanted, kept: Kept, faults: CrlFaults) -> None:
        kept.fault = "; ".join(faults.faults)
        _log.error("%s: the former list stays in force: %s", wanted.file, kept.fault)
        await self._record(Action.CRL_REFUSED, wanted, kept.fault)

    async def _take(self, wanted: Wanted, read: ReadCrl) -> None:
        """Put a verified list in force: what is new first, at once; then what is lifted; then the list itself."""
        authority, row = wanted.authority, row_of(wanted, read)
        former = self._in_force().get(authority.id)
        if former is not None and (fault := older(former, row)):
            raise CrlFaults([fault])
        added, lifted = await asyncio.to_thread(self._difference, authority.id, read.serials)
        if former is not None and former.digest == row.digest and not (added or lifted):
            return  # where they differ a later list was begun, its file is gone, and this one is in force again
        shared: dict[str, Any] = {"list": row.to_row(), "named": len(added) + len(lifted) <= NAMED}
        for part in _parts(authority.id, added):
            await self._steward.call("crl.revoke", serials=[spelled(each) for each in part], **shared)
        for part in _parts(authority.id, lifted):
            await self._steward.call("crl.lift", serials=[spelled(each) for each in part], **shared)
        await self._steward.call("crl.put", list=row.to_row(), added=len(added), lifted=len(lifted))
        _log.info(
            "%s: in force with %d entries (%d new, %d lifted)", wanted.file, read.entries, len(added), len(lifted)
        )

    def _difference(self, authority: str, serials: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return what a list has that is not kept, and what is kept that it has not. Blocks."""
        new = set(serials)
        old = {each for bucket in self._reader.revoked(authority) for each in split(bytes.fromhex(bucket.serials))}
        return list(new - old), list(old - new)

    async def _forget(self) -> None:
        for listed in self._in_force().values():
            if listed.id not in self._wanted:
                await self._steward.call("crl.drop", id=listed.id)

    # -- records ------------------------------------------------------------------------------------------------------

    async def _tell_want(self, wanted: Wanted, kept: Kept, listed: RevocationList | None, now: float) -> None:
        if listed is not None and listed.next_update > now:
            kept.told = float("-inf")
            return
        if kept.settled is None or now - kept.told < TOLD_EACH:  # a first look may still find one
            return
        kept.told = now
        what = "no list" if listed is None else f"nextUpdate {timestamp(listed.next_update)} has passed"
        does = "refused" if wanted.authority.checked else "taken without one (when_stale = warn)"
        await self._record(Action.CRL_STALE, wanted, f"{what}, expected one in date; its certificates are {does}")

    async def _record(self, action: Action, wanted: Wanted, message: str) -> None:
        fields = {
            "sekisho.crl.authority": wanted.authority.name, "sekisho.crl.authority_id": wanted.authority.id,
            "sekisho.crl.file": str(wanted.file), "error.message": message, "event.outcome": "failure",
        }  # fmt: skip
        await self._journal.record(event(action, self._clock(), fields))


def _parts(authority: str, serials: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Divide numbers into commands: few buckets each, since a changed bucket is written and told as a whole."""
    spread: dict[str, list[bytes]] = {}
    for serial in serials:
        spread.setdefault(bucket_of(authority, serial), []).append(serial)
    part: list[bytes] = []
    buckets = 0
    for name in sorted(spread):
        for serial in spread[name]:
            if len(part) == MOST:
                yield part
                part, buckets = [], 0
            part.append(serial)
        buckets += 1
        if buckets == _PART:
            yield part
            part, buckets = [], 0
    if part:
        yield part
