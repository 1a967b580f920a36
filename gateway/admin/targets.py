"""Who a selector hits: worked out before anything is done, so that a person confirms names and not a wildcard."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway.admin.endpoint import Call, Change
from gateway.admin.people import person
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.state.records import Session, User


class Selector(Change):
    """Exactly one way of naming sessions."""

    sessions: list[str] = Field(default_factory=list, max_length=1000)
    user: str = ""
    device: str = ""
    group: str = ""
    app: str = ""
    everything: bool = False

    def one(self) -> str:
        """The name of the one selector given; raises Problem for none or several."""
        given = [name for name in ("sessions", "user", "device", "group", "app", "everything") if getattr(self, name)]
        if len(given) != 1:
            raise Problem(
                AdminReason.INVALID_ARGUMENTS,
                "対象を一つだけ指定してください (セッションID、--user、--device、--group、--app、--all のいずれか)。",
            )
        return given[0]


def resolve(call: Call[Any], selector: Selector) -> tuple[dict[str, Any], list[Session]]:
    """The steward's selector and the sessions it hits now.

    Raises Problem not_found where what was named does not exist.
    """
    reader = call.context.reader
    alive = reader.sessions(active=True)
    which = selector.one()
    if which == "sessions":
        known = {session.id: session for session in alive}
        for session_id in selector.sessions:
            if session_id not in known:
                raise not_found("有効なセッション", session_id)
        return {"sessions": list(selector.sessions)}, [known[name] for name in dict.fromkeys(selector.sessions)]
    if which == "user":
        user = person(call, selector.user)
        return {"user": user.id}, [session for session in alive if session.user_id == user.id]
    if which == "device":
        device = next((d for d in reader.devices() if selector.device in (d.id, d.uuid, d.name)), None)
        if device is None:
            raise not_found("端末", selector.device)
        return {"device": device.id}, [session for session in alive if session.device_id == device.id]
    if which == "group":
        members = {user.id for user in reader.users() if selector.group in user.groups}
        if not members:
            raise not_found("グループ", selector.group)
        return {"group": selector.group}, [session for session in alive if session.user_id in members]
    if which == "app":
        if reader.app(selector.app) is None:
            raise not_found("アプリ", selector.app)
        inside = [s for s in alive if any(row["app_id"] == selector.app for row in reader.app_sessions(s.id))]
        return {"app": selector.app}, inside
    return {"all": True}, [session for session in alive if not session.operator]


def session_row(session: Session, users: dict[str, User]) -> dict[str, Any]:
    """A session as the API tells of it: never its token, not even the token's digest."""
    user = users.get(session.user_id)
    row = session.to_row()
    del row["token_hash"]
    row |= {
        "user": user.login if user else session.user_id,
        "name": user.name if user else "",
        "department": user.department if user else "",
        "state": "ended" if session.ended_at is not None else "active",
    }
    return row
