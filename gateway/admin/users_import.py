"""`users import`: first a preview with the faults by line, then, with the same bytes, the commit."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import asdict
from typing import Annotated

from pydantic import Field

from gateway.admin.csv_import import Plan, read_people
from gateway.admin.endpoint import Call, Change, Reply
from gateway.admin.letters import Letter, letters_page
from gateway.admin.people import may_grant
from gateway.admin.problem import AdminReason, Problem
from gateway.admin.users import new_user
from gateway.identity.provisioning import LoginTaken, create_user


class ImportUsers(Change):
    """The file (base64 of its bytes). `dry_run` previews; the commit names the digest that the preview showed."""

    file: Annotated[str, Field(max_length=4_000_000)]
    digest: Annotated[str, Field(pattern=r"^$|^[0-9a-f]{64}$")] = ""


async def import_users(call: Call[ImportUsers]) -> Reply:
    """Preview or create the people of a CSV file."""
    try:
        data = base64.b64decode(call.arguments.file, validate=True)
    except binascii.Error as error:
        raise Problem(AdminReason.INVALID_ARGUMENTS, "file: base64 ではありません。") from error
    digest = hashlib.sha256(data).hexdigest()
    taken = frozenset(user.login for user in call.context.reader.users())
    plan = read_people(data, taken, call.arguments.reason)
    if call.arguments.dry_run:
        return Reply(_preview(plan, digest), rows=len(plan.rows))
    if plan.faults:
        faults = [asdict(fault) for fault in plan.faults]
        detail = "ファイルに誤りがあります。何も登録していません。"
        raise Problem(AdminReason.FILE_FAULTS, detail, extra={"faults": faults})
    if call.arguments.digest and call.arguments.digest != digest:
        raise Problem(AdminReason.CONFLICT, "確認したファイルと内容が異なります。もう一度プレビューしてください。")
    may_grant(call, tuple(role for row in plan.rows for role in row.roles))
    return await _commit(call, plan, digest)


async def _commit(call: Call[ImportUsers], plan: Plan, digest: str) -> Reply:
    letters: list[Letter] = []
    created: list[str] = []
    failed: list[dict[str, str]] = []
    for row in plan.rows:
        user = new_user(row, call.now)
        try:
            code = await create_user(call.context, user, call.by)
        except LoginTaken:
            # The file passed the check above: another operator took the name in between.
            failed.append({"login": user.login, "fault": "職員IDまたはメールアドレスが既に使われています"})
            continue
        created.append(user.login)
        letters.append(Letter(user.login, user.name, user.department, code.code, code.expires_at))
    page = letters_page(call.context.settings.portal, letters, call.now) if letters else ""
    return Reply(
        {"created": created, "failed": failed, "digest": digest, "letters_html": page}, rows=len(created), status=201
    )


def _preview(plan: Plan, digest: str) -> dict[str, object]:
    return {
        "digest": digest,
        "encoding": plan.encoding,
        "faults": [asdict(fault) for fault in plan.faults],
        "plan": [
            {
                "login": row.login,
                "name": row.name,
                "department": row.department,
                "groups": row.groups,
                "kind": row.kind,
                "roles": row.roles,
                "contract_end": row.contract_end,
            }
            for row in plan.rows
        ],
        "hit": len(plan.rows),
    }
