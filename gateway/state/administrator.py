"""Carries out commands: commit, tell the workers, record, wait until all have seen it, sign the receipt, answer.

What takes rights away is told to the workers the moment it is durable, and happens even while the journal is
unhealthy (the answer then says `recorded: false`); everything else is refused until the journal is well again.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import IntegrityError

from audit.journal import Journal, JournalUnhealthy
from audit.receipt import Receipt, sign_receipt
from gateway.state import schema
from gateway.state.arguments import Arguments
from gateway.state.broadcast import Broadcast, Delivery
from gateway.state.command import Command, CommandRefused, Draft, Outcome, Rules, Surroundings
from gateway.state.store import Store
from gateway.state.tables import FeedChange, Tables
from gateway.state.transaction import Transaction
from gateway.state.writer import Writer

_DEVICES_AT_ONCE = 100  # rows of one transaction, so that a revocation never waits behind thousands


class PolicySource(Protocol):
    """Turns a stored version into validated data; raises `CommandRefused`."""

    async def ir(self, policy_hash: str) -> dict[str, Any]:
        """The validated form of a stored version."""

    async def check(self, source: str, title: str) -> None:
        """Refuse a source that does not load."""


@dataclass(frozen=True, slots=True)
class Committed:
    """One transaction after its commit. `wall` and `mono` are the two clocks right after it was durable."""

    outcome: Outcome
    revision: int
    changed: list[FeedChange]
    wall: float
    mono: float


@dataclass(frozen=True, slots=True)
class Tools:
    """What the administrator works with; made once by `gateway.steward`."""

    store: Store
    writer: Writer
    tables: Tables
    broadcast: Broadcast
    journal: Journal
    signing_key: Ed25519PrivateKey
    policies: PolicySource
    rules: Rules
    now: Callable[[], float]
    mark: Callable[[Transaction], None]  # keeps the clock's high-water mark with what was decided by it
    checkpoint: Callable[[], str]


class Administrator:
    """The policy administrator (NIST SP 800-207): the only one that changes the state."""

    def __init__(self, tools: Tools) -> None:
        self._t = tools

    async def execute(self, command: Command, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command and return its result. Raises `CommandRefused`."""
        if not (command.urgent or command.unrecorded or self._t.journal.healthy):
            raise CommandRefused("journal_unhealthy", "nothing is granted or changed that cannot be recorded")
        if op == "policy.put":
            version = args.get("version")
            if isinstance(version, dict):
                await self._t.policies.check(str(version.get("source", "")), str(version.get("title", "")))
        elif op == "policy.activate":
            args = {**args, "ir": await self._t.policies.ir(str(args.get("hash", "")))}
        elif op == "devices.put" and isinstance(args.get("devices"), list):
            return await self._in_parts(command, op, args)
        return await self._execute(command, op, args)

    async def _in_parts(self, command: Command, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        devices = args["devices"]
        for start in range(0, max(1, len(devices)), _DEVICES_AT_ONCE):
            await self._execute(command, op, {**args, "devices": devices[start : start + _DEVICES_AT_ONCE]})
        return {}

    async def _execute(self, command: Command, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        started = time.monotonic()
        delivery: Delivery | None = None

        def publish(done: Committed) -> None:
            nonlocal delivery
            if done.changed:
                after = self._t.tables.revision
                self._t.tables.apply(done.revision, done.changed)
                delivery = self._t.broadcast.publish(after, done.revision, done.changed)

        done = await self._t.writer.run(lambda: self._commit(command, op, args), publish, urgent=command.urgent)
        recorded, _ = await asyncio.gather(self._record(done.outcome), self._seen(command, delivery))
        if not recorded and not command.urgent:
            raise CommandRefused("journal_unhealthy", "the change is made but could not be recorded")
        if done.outcome.refusal is not None:
            raise done.outcome.refusal
        result = done.outcome.result
        if not recorded:
            result["recorded"] = False
        if done.outcome.draft is not None:
            result["receipt"] = await self._receipt(done.outcome.draft, done, delivery)
        if op == "policy.activate":
            result["ms"] = round((time.monotonic() - started) * 1000, 1)
        return result

    def _commit(self, command: Command, op: str, args: Mapping[str, Any]) -> Committed:
        """In the writer's thread: one transaction."""
        now = self._t.now()
        arguments = Arguments(args)
        try:
            with self._t.store.transaction(op, now) as tx:
                outcome = command.run(tx, arguments, Surroundings(now, self._t.rules))
                self._t.mark(tx)
        except IntegrityError as fault:
            raise CommandRefused("conflict", "something with this key exists already") from fault
        return Committed(outcome, tx.revision, tx.changed, self._t.now(), time.monotonic())

    async def _record(self, outcome: Outcome) -> bool:
        try:
            await asyncio.gather(*(self._t.journal.record(record) for record in outcome.records))
        except JournalUnhealthy:
            return False
        return True

    async def _seen(self, command: Command, delivery: Delivery | None) -> None:
        if command.seen and delivery is not None:
            await self._t.broadcast.seen(delivery)

    async def _receipt(self, draft: Draft, done: Committed, delivery: Delivery | None) -> str:
        closed = {worker: sum(counts.values()) for worker, counts in delivery.closed.items()} if delivery else {}
        last_ack = delivery.last_ack if delivery and delivery.last_ack else done.mono
        receipt = Receipt(
            kind=draft.kind, id=secrets.token_hex(8), who=draft.who, reason=draft.why, targets=draft.targets,
            durable_at=done.wall, sessions=draft.sessions, closed=closed,
            fenced=tuple(delivery.fenced) if delivery else (),
            last_ack_at=done.wall + max(0.0, last_ack - done.mono), checkpoint=self._t.checkpoint(),
        )  # fmt: skip
        text = sign_receipt(receipt, self._t.signing_key)
        await self.write("receipt", lambda tx: tx.put_row(
            schema.receipts, {"id": receipt.id, "at": receipt.durable_at, "text": text}
        ))  # fmt: skip
        return text

    async def write(self, op: str, change: Callable[[Transaction], None]) -> None:
        """Write housekeeping rows (receipts, marks, last uses): nothing that a worker has to hear of."""

        def job() -> None:
            with self._t.store.transaction(op, self._t.now()) as tx:
                change(tx)

        await self._t.writer.run(job, lambda _: None)
