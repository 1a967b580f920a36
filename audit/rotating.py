"""The auditor gives its key up for a new one when control asks (`audit.key_requests`).

Order of writes:

1. `<key>.next`, 0600: the new private key. A crash: the next try takes this one, so one old key names one new key.
2. the record `audit.key_rotated` with the statement of both keys (`audit.rotation`), synced. A crash: recorded again.
3. a checkpoint over it, by the old key: its last one. A crash: the old key goes on, the request still waits, again 2.
4. `rotations/<number>.tlog-proof`. From here on the old key signs nothing more: whatever fails ends the process, and
   `settle` finishes at the next start. A crash before it is one before 3.
5. rename `<key>.next` to `<key>`: the old private key is gone.
6. `checkpoint`, the same tree signed with the new key. A crash before: `Auditor` does it when it starts.
7. `<key>.pub`. A crash before: who verifies with the old one is led to the new; `settle` writes it.
8. the outcome, then the request away. A crash before: the request names a key that no longer signs, and is closed.

No step is undone, and none needs an earlier one repeated.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from audit import durable
from audit.auditor import Auditor
from audit.checkpoint import Signer, generate, read_signer
from audit.event import Action, event
from audit.journal import Journal, JournalUnhealthy
from audit.key_requests import Outcome, Request, asked, close
from audit.proof import SUFFIX
from audit.rotation import FOLDER, SuccessionInvalid, kept, state_rotation, succession
from audit.segment import record_of

NEXT: Final = ".next"
_PRIVATE: Final = 0o600
_WITHIN: Final = 30.0  # seconds until the record stands in the log
_LOOK: Final = 0.02


class NotRotated(Exception):
    """The key stays as it is; the message says why."""


class Rotating:
    """Looks for a request between two looks at the journals."""

    def __init__(
        self, auditor: Auditor, journal: Journal, key: Path, state: Path, commit: Callable[[], Awaitable[None]]
    ) -> None:
        """`key` is the file of the private key, `commit` signs what was taken in and tells of it."""
        self._auditor = auditor
        self._journal = journal
        self._key = key
        self._state = state
        self._commit = commit

    async def step(self) -> str | None:
        """Carry out a request; returns the checkpoint that the new key signed, None where there is none.

        Raises OSError from step 4 on: the process ends, and the next start finishes.
        """
        try:
            request = asked(self._state)
        except ValueError as error:
            close(self._state, Outcome("", fault=str(error)))
            return None
        if request is None:
            return None
        try:
            new, proof = await self._prepare(request)
        except (NotRotated, JournalUnhealthy, OSError, ValueError) as error:
            sys.stderr.write(f"auditor: the key was not rotated: {error}\n")
            sys.stderr.flush()
            close(self._state, Outcome(request.request_id, fault=str(error)))
            return None
        return await asyncio.to_thread(self._hand_over, request, new, proof)

    async def _prepare(self, request: Request) -> tuple[Signer, str]:
        """Steps 1 to 3; returns the new key and the text of the handover."""
        old = self._auditor.signer
        if request.old != old.verifier.encode():
            raise NotRotated(f"asked to replace {request.old}, but {old.verifier.encode()} signs")
        new = await asyncio.to_thread(next_signer, self._key, old.name)
        statement = state_rotation(old, new)
        await self._journal.record(event(Action.AUDIT_KEY_ROTATED, time.time(), {
            "event.outcome": "success", "sekisho.justification": request.reason, "sekisho.by": request.who,
            "http.request.id": request.request_id, "sekisho.log.origin": old.name,
            "sekisho.log.size": self._auditor.size, "sekisho.key.old": old.verifier.encode(),
            "sekisho.key.new": new.verifier.encode(), "sekisho.key.statement": statement,
        }))  # fmt: skip
        index, line = await self._found(statement)
        await self._commit()
        return new, await asyncio.to_thread(self._auditor.prove, index, line)

    async def _found(self, statement: str) -> tuple[int, bytes]:
        """Return the leaf and the line of the record, once the log has taken it in."""
        end = time.monotonic() + _WITHIN
        while True:
            for index, line in self._auditor.rotations:
                if record_of(line).get("sekisho.key.statement") == statement:
                    return index, line
            if time.monotonic() > end:
                raise NotRotated("its record did not get into the log")
            if not await asyncio.to_thread(self._auditor.poll):
                await asyncio.sleep(_LOOK)

    def _hand_over(self, request: Request, new: Signer, proof: str) -> str:
        """Steps 4 to 8."""
        log = self._auditor.folder
        durable.make_directory(log / FOLDER)
        durable.replace(log / FOLDER / f"{len(kept(log)) + 1:06}{SUFFIX}", proof.encode())
        move(self._key)
        note = self._auditor.succeed(new)
        publish(self._key, new)
        size = 0 if self._auditor.signed is None else self._auditor.signed.size
        close(self._state, Outcome(request.request_id, new.verifier.encode(), size))
        return note


def settle(key: Path, log: Path) -> Signer:
    """Return the key to sign with, after finishing what a crash interrupted.

    Raises OSError, ValueError for a file that is no key, `SuccessionInvalid` where the key in the file was given up and
    its successor is not here.
    """
    signer = read_signer(key.read_text())
    present = succession(log, signer.verifier).present
    if present != signer.verifier:
        following = key.with_name(key.name + NEXT)
        found = read_signer(following.read_text()) if following.exists() else None
        if found is None or found.verifier != present:
            raise SuccessionInvalid(f"{key}: this key was given up for {present.encode()}, which is not in {following}")
        move(key)
        signer = found
    publish(key, signer)
    return signer


def next_signer(key: Path, name: str) -> Signer:
    """Return the key in `<key>.next`, made where there is none; it is durable."""
    path = key.with_name(key.name + NEXT)
    if path.exists():
        found = read_signer(path.read_text())
        if found.name == name:
            return found
    made = generate(name)
    durable.replace(path, f"{made.encode()}\n".encode(), _PRIVATE)
    return made


def move(key: Path) -> None:
    """Make `<key>.next` the key, durably."""
    key.with_name(key.name + NEXT).rename(key)
    durable.sync_directory(key.parent)


def publish(key: Path, signer: Signer) -> None:
    """Make `<key>.pub` hold the public half, where there is such a file."""
    path = key.with_suffix(".pub")
    text = f"{signer.verifier.encode()}\n"
    if path.exists() and path.read_text() != text:
        durable.replace(path, text.encode())
