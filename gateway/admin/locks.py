"""Commands about locks: standing refusals for a user, device, session, group or app."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.admin.devices import device_named
from gateway.admin.endpoint import Call, Change, Listing, Reply, listed
from gateway.admin.people import may_bar, may_touch, names, person
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.state.records import Lock, LockTarget

_LONGEST = 366 * 86400.0  # seconds


class AddLock(Change):
    """`duration` in seconds; None = until removed."""

    target: Literal["user", "device", "session", "group", "app"]
    target_id: Annotated[str, Field(min_length=1, max_length=200)]
    message: Annotated[str, Field(max_length=300)] = ""
    duration: Annotated[float, Field(gt=0, le=_LONGEST)] | None = None


class RemoveLock(Change):
    """A lock by id."""

    lock: str


async def ls(call: Call[Listing]) -> Reply:
    """Locks, newest first."""
    users = names(call)
    locks = sorted(call.context.reader.locks(), key=lambda lock: lock.created_at, reverse=True)
    return listed([lock_row(call, lock, users) for lock in locks], call.arguments.limit)


async def add(call: Call[AddLock]) -> Reply:
    """Add a lock; live connections under it end before the answer, which holds the signed receipt."""
    wanted = call.arguments
    target_id, label = _target(call, LockTarget(wanted.target), wanted.target_id)
    lock = Lock(
        id=uuid.uuid4().hex,
        target=wanted.target,
        target_id=target_id,
        message=wanted.message,
        reason=wanted.reason,
        created_by=call.by,
        created_at=call.now,
        expires_at=call.now + wanted.duration if wanted.duration is not None else None,
    )
    row = {**lock.to_row(), "label": label, "sessions": len(_hit(call, lock))}
    if wanted.dry_run:
        return Reply({"plan": [{"action": "lock", **row}], "hit": 1}, rows=1)
    done = await call.context.steward.call("lock.add", lock=lock.to_row())
    return Reply({"lock": row, "receipt": done.get("receipt")}, rows=1, status=201)


async def remove(call: Call[RemoveLock]) -> Reply:
    """Remove a lock."""
    lock = next((lock for lock in call.context.reader.locks() if lock.id == call.arguments.lock), None)
    if lock is None:
        raise not_found("ロック", call.arguments.lock)
    row = lock_row(call, lock, names(call))
    if lock.target == LockTarget.USER and lock.target_id == call.operator.user.id:
        raise Problem(AdminReason.OWN_REQUEST, "自分にかかったロックは解除できません。")
    if call.arguments.dry_run:
        return Reply({"plan": [{"action": "unlock", **row}], "hit": 1}, rows=1)
    await call.context.steward.call("lock.remove", id=lock.id, by=call.by, reason=call.arguments.reason)
    return Reply({"lock": row}, rows=1)


def lock_row(call: Call[Any], lock: Lock, users: dict[str, Any]) -> dict[str, Any]:
    """A lock as the API tells of it; `label` is the name that people know."""
    user = users.get(lock.target_id) if lock.target == LockTarget.USER else None
    expired = lock.expires_at is not None and lock.expires_at <= call.now
    label = user.login if user is not None else lock.target_id
    return {**lock.to_row(), "label": label, "state": "expired" if expired else "active"}


def _target(call: Call[Any], target: LockTarget, name: str) -> tuple[str, str]:
    """The stored id and the known name of what is to be locked; raises Problem not_found, own_request, not_permitted.

    A lock bars an operator from these commands too, and lasts: so it counts as acting upon each account it bars.
    """
    reader = call.context.reader
    if target is LockTarget.USER:
        user = person(call, name)
        may_touch(call, user)
        return user.id, user.login
    if target is LockTarget.DEVICE:
        device = device_named(call, name)
        return device.id, device.name
    if target is LockTarget.SESSION:
        session = reader.session(name)
        owner = reader.user(session.user_id) if session is not None else None
        if owner is not None:
            may_touch(call, owner)
            return name, name
    elif target is LockTarget.GROUP:
        members = [user for user in reader.users() if name in user.groups]
        for member in members:
            may_bar(call, member)
        if members:
            return name, name
    elif reader.app(name) is not None:
        return name, name
    raise not_found(target.value, name)


def _hit(call: Call[Any], lock: Lock) -> list[str]:
    """Ids of live sessions that the lock will refuse from now on."""
    reader = call.context.reader
    alive = reader.sessions(active=True)
    if lock.target == LockTarget.USER:
        return [s.id for s in alive if s.user_id == lock.target_id]
    if lock.target == LockTarget.DEVICE:
        return [s.id for s in alive if s.device_id == lock.target_id]
    if lock.target == LockTarget.SESSION:
        return [s.id for s in alive if s.id == lock.target_id]
    if lock.target == LockTarget.GROUP:
        members = {user.id for user in reader.users() if lock.target_id in user.groups}
        return [s.id for s in alive if s.user_id in members]
    return []
