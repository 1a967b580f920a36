"""Commands to find records by a value that they hold as a digest only: asked by one person, granted by another.

Nothing can be decrypted, so nothing is: who looks for a resident's number types it, and the records whose digest it
gives are found. Three steps, each a recorded command that never holds the value:
1. `ask`: a proposal with app, field, reason, period, and a commitment to the value, by another key than the records';
2. `grant`: another person types the same value, from the paper that both have before them; only then it is granted;
3. `records`: whoever asked types it again, within the proposal's life, and gets the records.
The records' own digest is kept and shown nowhere outside the records: who had it could search for it alone.
A crash between any two steps leaves a proposal that is open, granted, or too old.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, SecretStr

from gateway.admin.approval_request import approval_row, propose
from gateway.admin.endpoint import Arguments, Call, Change, Reply
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.admin.searching import Request, records
from gateway.gate.masking import SHOWN, number_in, record_keys, value_digest
from gateway.keyfiles import SEALING
from gateway.state.records import App, Approval

KIND = "reveal"
LIFETIME = 86_400.0  # seconds from the question to the last answer
_PURPOSE = "reveal"
_PATH = "path"
_QUERY = "query:"
_NOT_THIS_WAY = "照合の申請は、同じ値を入力して sekisho audit reveal-grant で承認してください。"

Value = Annotated[SecretStr, Field(min_length=1, max_length=500)]


class Ask(Change):
    """Look for `value` in a `field` of one app's records: `path`, or `query:` and a name. Times are epoch seconds."""

    app: Annotated[str, Field(max_length=40)]
    field: Annotated[str, Field(pattern=r"^(path|query:.{1,64})$")]
    value: Value
    since: float | None = None
    until: float | None = None


class Grant(Change):
    """Grant another person's question by typing the same value."""

    reveal: str
    value: Value


class Answer(Arguments):
    """Get what was granted, by typing the value again."""

    reveal: str
    value: Value
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000


async def ask(call: Call[Ask]) -> Reply:
    """Propose the search; nothing is searched yet."""
    given = call.arguments
    app = call.context.reader.app(given.app)
    if app is None:
        raise not_found("アプリ", given.app)
    _refuse_unkept(app, given.field, _typed(given.value))
    what = {"app": app.id, "field": given.field, "since": given.since, "until": given.until}
    if given.dry_run:
        plan = {"action": "ask", "requested_by": call.by, "reason": given.reason, **what}
        return Reply({"plan": [plan], "hit": 1}, rows=1)
    commitment = _commitment(call, app.id, given.field, _typed(given.value))
    detail = {**what, "reason": given.reason, "commitment": commitment}
    approval = await propose(call, KIND, f"{app.id} {given.field} {commitment[:8]}", detail, LIFETIME)
    return Reply({"approvals": [approval_row(approval, call.now)]}, rows=1, status=202)


async def grant(call: Call[Grant]) -> Reply:
    """Grant it, where the value typed is the one that was asked for."""
    approval, detail = _asked(call, call.arguments.reveal)
    if approval.decided_at is not None:
        raise Problem(AdminReason.CONFLICT, f"申請 {approval.id} は {approval.decided_by} が既に判断しました。")
    if approval.requested_by == call.by:
        raise Problem(AdminReason.OWN_REQUEST, "自分の申請は承認できません。他の管理者に依頼してください。")
    _refuse_another_value(call, detail, call.arguments.value)
    if call.arguments.dry_run:
        asked = {name: detail[name] for name in ("app", "field", "reason", "since", "until")}
        plan = {"action": "grant", "id": approval.id, "requested_by": approval.requested_by, **asked}
        return Reply({"plan": [plan], "hit": 1}, rows=1)
    await call.context.steward.call("approval.decide", id=approval.id, by=call.by, granted=True)
    return Reply({"approval": approval.id, "decision": "grant", "requested_by": approval.requested_by}, rows=1)


async def answer(call: Call[Answer]) -> Reply:
    """The records whose digest the value gives, newest first, with whatever key they were digested."""
    approval, detail = _asked(call, call.arguments.reveal)
    if not approval.granted:
        raise Problem(AdminReason.CONFLICT, f"申請 {approval.id} はまだ承認されていません。")
    if approval.requested_by != call.by:
        raise Problem(AdminReason.NOT_PERMITTED, "照合の結果を受け取れるのは申請した人だけです。")
    _refuse_another_value(call, detail, call.arguments.value)
    found: dict[str, dict[str, Any]] = {}
    sealing = (call.context.settings.paths.keys / SEALING).read_bytes()
    for key in record_keys(sealing):
        digest = value_digest(key, _typed(call.arguments.value))
        wanted = Request(
            since=detail["since"], until=detail["until"], text=digest, limit=call.arguments.limit,
            filters={"sekisho.app.id": detail["app"]},
        )  # fmt: skip
        for record in await records(call.context, wanted, linked=True):
            if _says(record, detail["field"], digest):
                found[str(record.get("event.id"))] = record
    rows = sorted(found.values(), key=lambda record: str(record["@timestamp"]), reverse=True)[: call.arguments.limit]
    return Reply({"items": rows, "total": len(rows)}, rows=len(rows))


def refuse_plain_grant(approval: Approval) -> None:
    """Raise Problem conflict: a question is granted by typing the value, never by its id alone."""
    if approval.kind == KIND:
        raise Problem(AdminReason.CONFLICT, _NOT_THIS_WAY)


def _asked(call: Call[Any], name: str) -> tuple[Approval, dict[str, Any]]:
    approval = next((each for each in call.context.reader.approvals() if each.id == name and each.kind == KIND), None)
    if approval is None:
        raise not_found("申請", name)
    if approval.expires_at <= call.now:
        raise Problem(AdminReason.CONFLICT, f"申請 {approval.id} は期限切れです。もう一度申請してください。")
    return approval, json.loads(approval.detail)


def _typed(value: SecretStr) -> bytes:
    return value.get_secret_value().encode()


def _refuse_unkept(app: App, field: str, value: bytes) -> None:
    """Refuse what cannot be found, saying why: no digest was ever made of it."""
    if number_in(value):
        detail = "個人番号とカード番号は、ダイジェストも記録しないため照合できません。宛名番号などで照合してください。"
        raise Problem(AdminReason.INVALID_ARGUMENTS, detail)
    if field == _PATH and not app.masked_paths:
        raise Problem(
            AdminReason.CONFLICT, f"{app.id} の登録に masked_paths がありません。パスはそのまま検索できます。"
        )
    if field != _PATH and field.removeprefix(_QUERY) not in app.masked_queries:
        known = "、".join(app.masked_queries) or "なし"
        detail = f"{app.id} の登録の masked_queries にこの名前がありません (ある名前: {known})。"
        raise Problem(AdminReason.CONFLICT, detail)


def _refuse_another_value(call: Call[Any], detail: dict[str, Any], value: SecretStr) -> None:
    purpose, text = _PURPOSE, _committed(detail["app"], detail["field"], _typed(value))
    if not call.context.digests.match(purpose, text, detail["commitment"]):
        raise Problem(AdminReason.CONFLICT, "入力した値が申請の値と一致しません。申請者と同じ値を入力してください。")


def _commitment(call: Call[Any], app: str, field: str, value: bytes) -> str:
    return call.context.digests.make(_PURPOSE, _committed(app, field, value))


def _committed(app: str, field: str, value: bytes) -> str:
    """What is committed to: the value as records fold it, so that two spellings of one value agree."""
    return f"{app}\0{field}\0{value_digest(bytes(32), value)}"


def _says(record: dict[str, Any], field: str, digest: str) -> bool:
    if field == _PATH:
        shown = str(record.get("url.path", "")).split("/")
        return digest in record.get("sekisho.path_digests", ()) or SHOWN + digest in shown
    return digest in record.get("sekisho.query_digests", {}).get(field.removeprefix(_QUERY), ())
