"""Which person is meant, and who may act upon whom."""

from __future__ import annotations

import unicodedata
from typing import Any

from gateway.admin.endpoint import Arguments, Call, Role
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.state.records import User


def person(call: Call[Any], login: str) -> User:
    """The user that `login` names (職員ID, or the internal id); raises Problem not_found."""
    reader = call.context.reader
    folded = unicodedata.normalize("NFKC", login).strip().casefold()
    user = reader.user_by_login(folded) or reader.user(login)
    if user is None:
        raise not_found("利用者", login)
    return user


def may_touch(call: Call[Any], user: User) -> None:
    """Refuse where an operator would gain rights through another's account.

    Only a CISO acts upon accounts that hold a role: otherwise 運用 could reset the factors of a CISO, take the set-up
    code and sign in as them. Nobody acts upon their own account here; the portal is for that.
    """
    if user.id == call.operator.user.id:
        raise Problem(AdminReason.OWN_REQUEST, "自分のアカウントは変更できません。他の管理者に依頼してください。")
    may_bar(call, user)


def may_bar(call: Call[Any], user: User) -> None:
    """Refuse where anybody but a CISO would change, or shut out, an account that holds a role."""
    if user.roles and Role.CISO not in call.operator.roles:
        raise Problem(AdminReason.NOT_PERMITTED, "役割を持つアカウントを変更できるのは CISO だけです。")


def may_grant(call: Call[Any], roles: tuple[str, ...]) -> None:
    """Only a CISO gives roles."""
    if roles and Role.CISO not in call.operator.roles:
        raise Problem(AdminReason.NOT_PERMITTED, "役割を与えられるのは CISO だけです。")


def user_row(user: User) -> dict[str, Any]:
    """A user as the API tells of them."""
    row = user.to_row()
    row["state"] = "disabled" if user.disabled else "active"
    return row


def names(call: Call[Arguments] | Call[Any]) -> dict[str, User]:
    """All users by internal id."""
    return {user.id: user for user in call.context.reader.users()}
