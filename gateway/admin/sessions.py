"""Commands about sessions: list, show, revoke with a signed receipt."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gateway.admin.endpoint import Arguments, Call, Listing, Reply, listed
from gateway.admin.people import names, person
from gateway.admin.problem import not_found
from gateway.admin.targets import Selector, resolve, session_row


class SessionListing(Listing):
    """Filters of `sessions ls`."""

    user: str = ""
    device: str = ""
    ended: bool = False


class OneSession(Arguments):
    """A session by id."""

    session: str


class Revoke(Selector):
    """`message` is shown to the people whose sessions end."""

    message: Annotated[str, Field(max_length=300)] = ""


async def ls(call: Call[SessionListing]) -> Reply:
    """Sessions, last used first."""
    wanted = call.arguments
    users = names(call)
    user_id = person(call, wanted.user).id if wanted.user else None
    sessions = call.context.reader.sessions(active=not wanted.ended, user_id=user_id)
    if wanted.device:
        sessions = [session for session in sessions if session.device_id == wanted.device]
    sessions = sorted(sessions, key=lambda session: session.last_used_at, reverse=True)
    return listed([session_row(session, users) for session in sessions], wanted.limit)


async def show(call: Call[OneSession]) -> Reply:
    """One session, alive or ended."""
    session = call.context.reader.session(call.arguments.session)
    if session is None:
        raise not_found("セッション", call.arguments.session)
    return Reply(session_row(session, names(call)), rows=1)


async def revoke(call: Call[Revoke]) -> Reply:
    """End sessions with their live connections; answered when every worker has, with the signed receipt."""
    wanted = call.arguments
    selector, hit = resolve(call, wanted)
    users = names(call)
    plan: list[dict[str, Any]] = [session_row(session, users) for session in hit]
    if wanted.dry_run:
        return Reply({"plan": plan, "hit": len(plan)}, rows=len(plan))
    done = await call.context.steward.call(
        "session.end",
        selector=selector,
        reason="session_revoked",
        message=wanted.message,
        by=call.by,
        why=wanted.reason,
    )
    return Reply({"sessions": [row["id"] for row in plan], "receipt": done.get("receipt")}, rows=len(plan))
