"""Commands about locks: standing refusals for a user, device, session, group or app."""

from __future__ import annotations

from dataclasses import replace

from audit.event import Action, event, timestamp
from gateway.state.arguments import Arguments
from gateway.state.command import Command, CommandRefused, Draft, Outcome, Surroundings
from gateway.state.records import Lock, LockTarget
from gateway.state.transaction import Transaction


def add_lock(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`lock` → `receipt`: a standing refusal from now on; live connections of what it names end."""
    lock = replace(args.record(Lock, "lock"), created_at=around.now)
    args.end()
    if lock.target not in set(LockTarget) or not lock.target_id:
        raise CommandRefused("bad_arguments", f"lock.target: expected one of {', '.join(LockTarget)} and an id")
    if lock.expires_at is not None and lock.expires_at <= around.now:
        raise CommandRefused("bad_arguments", "lock.expires_at: in the past")
    if tx.get(Lock, lock.id) is not None:
        raise CommandRefused("bad_arguments", "lock.id: used before")
    tx.put(lock)
    record = event(Action.LOCK_ADDED, around.now, _lock_fields(lock) | {"sekisho.by": lock.created_by})
    draft = Draft("lock.add", lock.created_by, lock.reason, (f"{lock.target}:{lock.target_id}",), ())
    return Outcome({"id": lock.id}, [record], draft)


def remove_lock(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`id by reason`."""
    lock_id, by, reason = args.text("id"), args.text("by"), args.text("reason")
    args.end()
    lock = tx.get(Lock, lock_id)
    if lock is None:
        raise CommandRefused("unknown_lock", "no such lock")
    tx.remove(lock)
    fields = _lock_fields(lock) | {"sekisho.by": by, "sekisho.justification": reason}
    return Outcome({}, [event(Action.LOCK_REMOVED, around.now, fields)])


def _lock_fields(lock: Lock) -> dict[str, object]:
    return {
        "sekisho.lock.id": lock.id, "sekisho.lock.target": lock.target, "sekisho.lock.target_id": lock.target_id,
        "sekisho.lock.message": lock.message, "sekisho.lock.reason": lock.reason,
        "sekisho.lock.expires": timestamp(lock.expires_at) if lock.expires_at is not None else None,
    }  # fmt: skip


COMMANDS = {
    "lock.add": Command(add_lock, seen=True, urgent=True),
    "lock.remove": Command(remove_lock, seen=True),
}
