"""`sekisho es`: the copy of the records in Elasticsearch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.call import Call, Output, tell
from cli.client import segment
from cli.command import changes, lists, shows
from cli.commands.dashboards import dashboards
from cli.confirm import carry_out
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import clock, parse_moment, short
from cli.render.table import Column
from cli.spoken import SpokenGroup

group = typer.Typer(no_args_is_help=True, help=t("Elasticsearch への複製", "the copy in Elasticsearch"))
letters_group = typer.Typer(no_args_is_help=True, help=t("受け付けられなかった記録", "documents it would not take"))
group.add_typer(letters_group, name="dead-letters", cls=SpokenGroup)
shows(group, "dashboards", "Kibana のダッシュボードを書き出す", "write Kibana's dashboards to a file")(dashboards)

_STATUS = (
    Column("lag_seconds", "遅れ(秒)", "lag (s)"),
    Column("lag_records", "遅れ(件)", "lag (records)"),
    Column("created", "送信済み", "created"),
    Column("already", "到達済みと判明", "found stored"),
    Column("dead_letters", "受付不可", "dead letters"),
    Column("checkpoint", "署名済みの件数", "checkpoint at"),
    Column("checkpoints_waiting", "未送信のチェックポイント", "checkpoints waiting"),
    Column("last_fault", "直近の障害", "last fault"),
)
_CHECKS = (
    Column("what", "確認したもの", "what"),
    Column("good", "結果", "good", lambda good: "○" if good else "×"),
    Column("detail", "詳細", "detail"),
)
_LETTERS = (
    Column("at", "時刻", "time", short, keep=True),
    Column("id", "記録", "document"),
    Column("dataset", "種類", "dataset"),
    Column("status", "応答", "status"),
    Column("reason", "理由", "reason"),
)
_HOURS = (
    Column("hour", "時", "hour", clock, keep=True),
    Column("dataset", "種類", "dataset"),
    Column("journal", "記録", "journal"),
    Column("stored", "複製", "stored"),
    Column("missing", "欠け", "missing"),
    Column("foreign", "由来不明", "foreign"),
    Column("changed", "相違", "changed"),
    Column("twice", "重複", "twice"),
)
_KINDS = {
    "missing": t("複製に欠けている記録", "missing from the copy"),
    "changed": t("内容が記録と異なるもの", "content differs"),
    "twice": t("二つの索引にあるもの", "in two backing indices"),
    "foreign": t("どの記録にも由来しないもの", "known to no journal"),
    "checkpoint": t("手元のログが続いていないチェックポイント", "checkpoints that our log does not lead to"),
    "unreadable": t("連鎖が途切れ、照合できない記録", "journals whose chain breaks"),
}
_BROUGHT = {"mapped": "新しい項目を受け付けます", "rolled over": "新しい索引に切り替えました"}
_NAMED = 10  # names told of each kind
AdminUser = Annotated[str, typer.Option("--admin-user", help=t("Elasticsearch の管理者", "its administrator"))]
AdminFile = Annotated[Path | None, typer.Option("--admin-password-file", help=t("パスワードのファイル", "a file"))]
Retention = Annotated[str, typer.Option("--retention", help=t("保存期間 (例 365d)", "e.g. 365d"))]
Form = Annotated[str, typer.Option("--lifecycle", help=t("保存期間の設定方法: stream | ilm", "how: stream | ilm"))]


def _administrator(user: str, file: Path | None, retention: str, lifecycle: str) -> dict[str, Any]:
    if bool(user) != (file is not None):
        words = t("--admin-user と --admin-password-file は両方必要です。", "--admin-user and its file go together.")
        raise Failure(ExitCode.USAGE, words)
    try:
        password = "" if file is None else file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Failure(ExitCode.USAGE, f"{file}: {error.strerror}") from error
    return {"user": user, "password": password, "retention": retention, "lifecycle": lifecycle}


@changes(group, "bootstrap", "テンプレートと鍵を用意", "put templates, make keys")
def bootstrap(
    call: Call,
    admin_user: AdminUser = "",
    admin_password_file: AdminFile = None,
    retention: Retention = "",
    lifecycle: Form = "stream",
) -> None:
    """Prepare the cluster, or bring it up to date after an upgrade."""
    body = {**_administrator(admin_user, admin_password_file, retention, lifecycle), **call.change()}
    answer = call.client().post("/v1/elasticsearch/bootstrap", body)
    if call.dry_run:
        if call.output is not Output.TABLE:
            call.one({"steps": answer["plan"], "keys": answer["keys"]})
            return
        for step in answer["plan"]:
            call.lines([f"{step['method']} {step['path']}", json.dumps(step["body"], ensure_ascii=False)])
        return
    tell(t(f"テンプレート {answer['templates']} 件を登録しました。", f"{answer['templates']} templates put."))
    for name, done in answer["streams"].items():
        tell(t(f"{name}: {_BROUGHT.get(done, done)}", f"{name}: {done}"))
    for kind, path in answer["keys"].items():
        tell(t(f"{kind} 鍵を作り {path} に保存しました (0600)。", f"{kind} key made: {path} (0600)."))


@shows(group, "status", "遅れ、件数、障害", "lag, counts, faults")
def status(call: Call) -> None:
    """Show how the copy is doing."""
    answer = call.client().get("/v1/elasticsearch")
    if not answer["configured"]:
        tell(t("設定に [elasticsearch] がありません。", "no [elasticsearch] in the settings."))
        return
    if not answer["running"]:
        tell(t("送信の状態がまだ書かれていません (auditor を確認)。", "the auditor does not report."))
    call.one({name: value for name, value in answer.items() if name != "request_id"}, _STATUS)


@shows(group, "check", "テンプレート・鍵・データストリームの確認", "check templates, keys, streams")
def check(
    call: Call,
    admin_user: AdminUser = "",
    admin_password_file: AdminFile = None,
    retention: Retention = "",
    lifecycle: Form = "stream",
) -> None:
    """Check the cluster."""
    body = _administrator(admin_user, admin_password_file, retention, lifecycle)
    answer = call.client().post("/v1/elasticsearch/check", body)
    call.rows(answer["items"], _CHECKS, "")
    if not answer["templates_checked"]:
        tell(t("テンプレートは未確認です (--admin-user が必要)。", "templates not checked: needs --admin-user."))
    if not answer["good"]:
        raise typer.Exit(ExitCode.FAILED)


@lists(letters_group, "ls", "一覧", "list")
def letters(call: Call) -> None:
    """List dead letters."""
    answer = call.client().get("/v1/elasticsearch/dead-letters", limit=call.limit)
    call.rows(answer["items"], _LETTERS, t("ありません。", "none."), answer["total"])


@shows(letters_group, "show", "一件の内容", "show one")
def show(call: Call, document: Annotated[str, typer.Argument(help=t("記録のID", "document id"))]) -> None:
    """Show one dead letter."""
    answer = call.client().get(f"/v1/elasticsearch/dead-letters/{segment(document)}")
    call.one({name: value for name, value in answer.items() if name != "request_id"}, _LETTERS)


@changes(letters_group, "retry", "もう一度送る", "send again")
def retry(
    call: Call,
    documents: Annotated[list[str] | None, typer.Argument(help=t("記録のID (省けば全部)", "ids; all if none"))] = None,
) -> None:
    """Send dead letters again."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/elasticsearch/dead-letters/retry", {"documents": documents or [], **shared})

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        return t(f"{len(rows)} 件をもう一度送ります。", f"sends {len(rows)} again."), str(len(rows))

    answer = carry_out(call, send, _LETTERS, question)
    if answer is not None:
        stored, refused = len(answer["stored"]), len(answer["refused"])
        tell(t(f"{stored} 件を送り、{refused} 件は再び拒否されました。", f"{stored} stored, {refused} refused again."))


@shows(group, "reconcile", "複製を記録と照合 (欠け・相違・由来不明)", "compare the copy with the journals")
def reconcile(
    call: Call,
    since: Annotated[str, typer.Option("--since", help=t("いつから (例 24h)", "from, e.g. 24h"))] = "24h",
    until: Annotated[str, typer.Option("--until", help=t("いつまで (既定は今)", "to; default now"))] = "",
    repair: Annotated[
        bool, typer.Option("--repair", help=t("欠けているものを送り直す", "send what is missing"))
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help=t("--repair の理由", "why; for --repair"))] = "",
) -> None:
    """Exit code 7: the copy is not what the journals call for (0 once --repair stored all that was missing)."""
    body = {"since": _moment(call, "--since", since), "until": _moment(call, "--until", until) if until else None}
    if repair and not reason.strip():
        raise Failure(ExitCode.USAGE, t("--repair には --reason が必要です。", "--repair needs --reason."))
    path = "/v1/elasticsearch/" + ("repair" if repair else "reconcile")
    rows: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    for line in call.client().stream(path, body | ({"reason": reason} if repair else {})):
        if "row" in line:
            rows.append(line["row"])
        found = line.get("summary", found)
    if call.output in (Output.JSON, Output.YAML) and not call.fields:
        call.one({**found, "hours": rows})
    else:
        call.rows(rows, _HOURS, t("この期間の記録はありません。", "no records in this period."))
    _tell_found(found)
    if not (found["equal"] or found["mended"]):
        raise typer.Exit(ExitCode.INTEGRITY)


def _moment(call: Call, option: str, text: str) -> float:
    try:
        return parse_moment(text, call.now)
    except ValueError as error:
        raise Failure(ExitCode.USAGE, f"{option}: {error}") from error


def _tell_found(found: Mapping[str, Any]) -> None:
    total = found["total"]
    for each in found["findings"]:
        gaps = [t("番号の欠け: ", "gaps: ") + ", ".join(each["gaps"])] if each["gaps"] else []
        tell(f"{_KINDS[each['kind']]}: {each['count']}", [*each["names"][:_NAMED], *gaps])
    if total["on_the_way"] or total["aside"] or total["expired"]:
        way, aside, expired = total["on_the_way"], total["aside"], total["expired"]
        english = f"not counted: {way} on the way, {aside} dead letters, {expired} expired."
        tell(t(f"送信中 {way}、受付不可 {aside}、保存期間後 {expired} は違いに数えません。", english))
    if found["equal"]:
        tell(
            t(f"{total['journal']} 件が記録と一致しました。", f"{total['journal']} documents agree with the journals.")
        )
    elif found["mended"]:
        tell(t(f"欠けていた {total['sent']} 件を送り直しました。", f"{total['sent']} missing ones were stored again."))
    else:
        words = "sekisho anomalies ls で事案を、--repair で欠けの送り直しを。違いそのものは消せません。"
        tell(t(words, "see sekisho anomalies ls; --repair sends what is missing; nothing else can be undone."))
