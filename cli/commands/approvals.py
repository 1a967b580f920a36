"""`sekisho approvals`: what waits for another person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.call import Call, tell
from cli.client import segment
from cli.command import changes, lists
from cli.confirm import carry_out
from cli.language import t
from cli.moments import short
from cli.render.cells import plain
from cli.render.states import state_word
from cli.render.table import Column


def _detail(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    said = [f"{item['field']} → {plain(item['after'])}" for item in value.get("changes", ()) if item.get("after")]
    names = ("rules_added", "rules_removed", "rules_changed")
    said += [f"{name}: {', '.join(value[name])}" for name in names if value.get(name)]
    return "; ".join([*said, *value.get("warnings", ())])


group = typer.Typer(no_args_is_help=True, help=t("承認待ちの申請", "proposals waiting for another person"))

COLUMNS = (
    Column("id", "ID", "ID", keep=True),
    Column("kind", "種類", "kind"),
    Column("subject", "対象", "of", lambda value: str(value)[:24]),
    Column("requested_by", "申請者", "by"),
    Column("requested_at", "申請", "asked", short),
    Column("state", "状態", "state", state_word),
)
PLAN = (*COLUMNS[:4], Column("detail", "内容", "detail", _detail))
Name = Annotated[str, typer.Argument(help=t("申請ID", "proposal id"))]


@lists(group, "ls", "申請の一覧", "list proposals")
def ls(
    call: Call,
    everything: Annotated[bool, typer.Option("--all", help=t("判断済みも表示", "decided ones too"))] = False,
) -> None:
    """List proposals."""
    answer = call.client().get("/v1/approvals", all="true" if everything else None, limit=call.limit)
    call.rows(answer["items"], COLUMNS, t("承認待ちの申請はありません。", "nothing is waiting."), answer["total"])


@changes(group, "grant", "承認 (すぐに有効)", "grant; effective at once")
def grant(call: Call, approval: Name) -> None:
    """Grant a proposal."""
    answer = _decide(call, approval, "grant", t("承認し、有効にします。", "grants it; it takes effect."))
    if answer is not None:
        tell(t(f"申請 {approval} を承認し、有効にしました。", f"{approval} granted and effective."))


@changes(group, "deny", "却下または取り下げ", "deny or withdraw")
def deny(call: Call, approval: Name) -> None:
    """Deny a proposal."""
    if _decide(call, approval, "deny", t("却下します。", "denies it.")) is not None:
        tell(t(f"申請 {approval} を却下しました。", f"{approval} denied."))


def _decide(call: Call, approval: str, decision: str, words: str) -> dict[str, Any] | None:
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post(f"/v1/approvals/{segment(approval)}/decide", {"decision": decision, **shared})

    return carry_out(call, send, PLAN, lambda rows: (words, str(rows[0]["subject"])[:24]))
