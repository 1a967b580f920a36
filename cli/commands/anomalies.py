"""`sekisho anomalies`: cases to look at, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.call import Call, Output, tell
from cli.client import segment
from cli.command import changes, lists, shows
from cli.confirm import carry_out
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import clock
from cli.render import trail
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("確認が必要な事案", "cases that a person should look at"))

_SEVERITY = {"high": t("高", "high"), "medium": t("中", "medium"), "low": t("低", "low")}
_STATE = {"open": t("未確認", "open"), "acknowledged": t("確認中", "looked at"), "closed": t("終結", "closed")}
VERDICTS = ("true_positive", "false_positive", "benign", "undetermined")
COLUMNS = (
    Column("id", "ID", "ID", keep=True),
    Column("severity", "重大度", "severity", lambda value: _SEVERITY.get(str(value), str(value))),
    Column("state", "状態", "state", lambda value: _STATE.get(str(value), str(value))),
    Column("who", "対象", "of"),
    Column("updated_at", "最終", "last", clock, keep=True),
    Column("message", "内容", "what"),
)
_EVIDENCE = (
    Column("@timestamp", "時刻", "time", clock, keep=True),
    Column("event.id", "記録", "record"),
    Column("event.action", "出来事", "action", lambda value: trail.action({"event.action": value})),
    Column("source.ip", "接続元", "address"),
    Column("sekisho.reason", "理由", "reason", lambda value: trail.why({"sekisho.reason": value})),
)
_FINDINGS = (Column("at", "時刻", "time", clock, keep=True), Column("message", "内容", "what"))
Name = Annotated[str, typer.Argument(help=t("事案のID", "case id"))]


@lists(group, "ls", "事案の一覧", "list cases")
def ls(
    call: Call,
    everything: Annotated[bool, typer.Option("--all", help=t("終結したものも", "closed ones too"))] = False,
    severity: Annotated[str, typer.Option("--severity", help="low | medium | high")] = "",
    exit_code: Annotated[bool, typer.Option("--exit-code", help=t("未終結があれば 8", "8 if any is open"))] = False,
) -> None:
    """List cases."""
    answer = call.client().get("/v1/anomalies", all="true" if everything else None, severity=severity, limit=call.limit)
    rows = answer["items"]
    call.rows(rows, COLUMNS, t("未終結の事案はありません。", "no open cases."), answer["total"])
    if exit_code and any(row["state"] != "closed" for row in rows):
        raise typer.Exit(ExitCode.FINDINGS)


@shows(group, "show", "事案の内容、根拠の記録、次の一手", "one case with its evidence and what to do")
def show(call: Call, case: Name) -> None:
    """Show one case."""
    answer = call.client().get(f"/v1/anomalies/{segment(case)}")
    if call.output is not Output.TABLE:
        call.one({name: value for name, value in answer.items() if name != "request_id"})
        return
    call.one({name: answer[name] for name in ("id", "severity", "state", "who")}, COLUMNS)
    tell("")
    call.rows(answer["findings"], _FINDINGS, "")
    tell("")
    call.rows(answer["evidence"], _EVIDENCE, t("根拠の記録はもうありません。", "the records are gone."))
    for name, words in (("acknowledged", t("確認", "looked at")), ("closed", t("終結", "closed"))):
        if answer[name]:
            act = answer[name]
            verdict = f" [{act['verdict']}]" if "verdict" in act else ""
            tell(f"{words}: {clock(act['at'])} {act['by']}{verdict} {act['reason']}")
    if answer["state"] != "closed":
        tell(t("推奨する操作:", "recommended:"), [str(answer["command"])])


@changes(group, "ack", "確認中にする", "say that somebody looks into it")
def ack(call: Call, case: Name) -> None:
    """Acknowledge a case."""
    if _act(call, case, "acknowledge", {}, t("確認中にします。", "marks it as looked at.")) is not None:
        tell(t(f"事案 {case} を確認中にしました。", f"{case} acknowledged."))


@changes(group, "close", "終結する (判定と理由は必須)", "close, with a verdict and a reason")
def close(
    call: Call,
    case: Name,
    verdict: Annotated[str, typer.Option("--verdict", help=" | ".join(VERDICTS))],
) -> None:
    """Close a case."""
    if verdict not in VERDICTS:
        raise Failure(ExitCode.USAGE, f"--verdict: {' | '.join(VERDICTS)}")
    words = t(f"判定 {verdict} で終結します。", f"closes it as {verdict}.")
    if _act(call, case, "close", {"verdict": verdict}, words) is not None:
        tell(t(f"事案 {case} を終結しました ({verdict})。", f"{case} closed as {verdict}."))


def _act(call: Call, case: str, verb: str, more: Mapping[str, Any], words: str) -> dict[str, Any] | None:
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post(f"/v1/anomalies/{segment(case)}/{verb}", {**more, **shared})

    return carry_out(call, send, COLUMNS, lambda rows: (words, str(rows[0]["id"])))
