"""`sekisho apps`: applications behind the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.call import Call, tell
from cli.client import segment
from cli.command import changes, lists, shows
from cli.commands.sessions import ended
from cli.confirm import carry_out
from cli.exit_codes import ExitCode
from cli.files import read_text
from cli.language import t
from cli.render.cells import plain
from cli.render.states import state_word
from cli.render.table import Column
from cli.render.upstreams import server_lines, shown_servers


def _differences(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return t("なし", "none")
    shown = [f"{item['field']}: {plain(item['before']) or '-'} → {plain(item['after']) or '-'}" for item in value]
    return "\n".join(shown).replace("\n", "; ")


group = typer.Typer(no_args_is_help=True, help=t("業務アプリ", "applications"))

COLUMNS = (
    Column("id", "ID", "ID", keep=True),
    Column("title", "名称", "title"),
    Column("hosts", "ホスト", "hosts"),
    Column("sensitivity", "機密性", "class"),
    Column("owner", "責任者", "owner"),
    Column("state", "状態", "state", state_word),
    Column("servers", "サーバー", "servers", shown_servers),
)
DETAIL = (
    *COLUMNS[:-1],
    Column("servers", "サーバー", "servers", server_lines),
    Column("path_parameter", "例外: URL のセッション", "exception: session in URLs"),
    Column("path_charset", "例外: パスの文字コード", "exception: charset of paths"),
)
PLAN = (
    Column("app", "アプリ", "app", keep=True),
    Column("action", "操作", "action"),
    Column("changes", "変更", "changes", _differences),
    Column("warnings", "注意", "warnings"),
)
HEADERS = (
    Column("name", "ヘッダー", "header"),
    Column("signed", "署名", "signed"),
    Column("value", "値", "value"),
)
PROBES = (
    Column("name", "試験", "probe", keep=True),
    Column("path", "パス", "path"),
    Column("status", "応答", "status"),
    Column("advice", "判定", "finding", lambda value: str(value) or t("問題なし", "fine")),
)
STRICTNESS = (
    Column("page", "ページ", "page", keep=True),
    Column(t("advice", "advice_en"), "通らないものと直し方", "what will not pass, and its remedy"),
)
App = Annotated[str, typer.Argument(help=t("アプリID", "app id"))]
File = Annotated[Path, typer.Option("--file", "-f", help="app.yaml")]


@lists(group, "ls", "アプリの一覧", "list apps")
def ls(call: Call) -> None:
    """List apps."""
    answer = call.client().get("/v1/apps", limit=call.limit)
    empty = t("アプリはありません。登録は sekisho apps apply -f app.yaml", "no apps; register with apps apply.")
    call.rows(answer["items"], COLUMNS, empty, answer["total"])


@shows(group, "show", "アプリの詳細", "show one app")
def show(call: Call, app: App) -> None:
    """Show one app."""
    answer = call.client().get(f"/v1/apps/{segment(app)}")
    answer.pop("request_id", None)
    call.one(answer, DETAIL)


@shows(group, "diff", "ファイルと今の登録の違い", "the file against what is registered")
def diff(
    call: Call,
    file: File,
    exit_code: Annotated[bool, typer.Option("--exit-code", help=t("違いがあれば 8", "8 if they differ"))] = False,
) -> None:
    """Compare."""
    answer = call.client().post("/v1/apps/diff", {"source": read_text(file), "file": file.name})
    call.rows(answer["plan"], PLAN, "")
    if exit_code and answer["hit"]:
        raise typer.Exit(ExitCode.FINDINGS)


@changes(group, "apply", "登録を申請 (別の人の承認で有効)", "propose a registration, effective when another approves")
def apply(call: Call, file: File) -> None:
    """Propose apps."""
    body = {"source": read_text(file), "file": file.name}
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/apps/apply", {**body, **shared})

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        names = [str(row["app"]) for row in rows if row["changes"]]
        return t(f"{', '.join(names)} の登録を申請します。", f"proposes {', '.join(names)}."), str(len(names))

    answer = carry_out(call, send, PLAN, question)
    if answer is not None:
        tell_proposed(answer["approvals"])


def tell_proposed(approvals: list[dict[str, Any]]) -> None:
    """What another person has to do now."""
    if not approvals:
        tell(t("変更はありません。", "nothing changed."))
    for approval in approvals:
        tell(
            t(
                f"申請 {approval['id']} を作成しました。別の人が次を実行すると有効になります:\n"
                f"  sekisho approvals grant {approval['id']} --reason 理由",
                f"proposal {approval['id']}; another person makes it effective:\n"
                f"  sekisho approvals grant {approval['id']} --reason WHY",
            )
        )


@shows(group, "test", "アプリに渡る情報、迂回、通らないもの", "what the app is told; around us; what will not pass")
def try_app(
    call: Call,
    app: Annotated[str, typer.Argument(metavar="APP|FILE", help=t("アプリID か app.yaml", "app id, or app.yaml"))],
    user: Annotated[str, typer.Option("--user", help=t("この職員として (既定は自分)", "as this person"))] = "",
    device: Annotated[str, typer.Option("--device", help=t("この端末から (既定は端末なし)", "from this device"))] = "",
    exit_code: Annotated[bool, typer.Option("--exit-code", help=t("注意があれば 8", "8 on warnings"))] = False,
) -> None:
    """Test an app, registered or not yet. It gets a few GET requests without identity."""
    body = {"user": user, "device": device}
    if app.endswith((".yaml", ".yml")):
        file = Path(app)
        source = {"source": read_text(file), "file": file.name}
        answers = call.client().post("/v1/apps/test", {**body, **source})["tests"]
    else:
        answers = [call.client().post(f"/v1/apps/{segment(app)}/test", body)]
    for answer in answers:
        _tell_test(call, answer)
    if exit_code and any(answer["warnings"] or answer["strictness"]["faults"] for answer in answers):
        raise typer.Exit(ExitCode.FINDINGS)


def _tell_test(call: Call, answer: dict[str, Any]) -> None:
    app, walked = answer["app"], answer["strictness"]
    if call.output.value == "table" and not call.fields:
        tell(t(f"{answer['user']} としてアプリ {app} に渡る情報:", f"what {app} would be told of {answer['user']}:"))
        call.rows(answer["headers"], HEADERS, t("識別情報は渡りません。", "no identity is passed."))
        tell(t("アプリを直接呼んだ結果:", "calling the app directly:"))
        call.rows(answer["probes"], PROBES, "")
        pages = walked["pages"]
        tell(t(f"ゲートウェイを通ると (識別情報なしで {pages} 件の GET):", f"through us ({pages} GETs, no identity):"))
        call.rows(walked["faults"], STRICTNESS, t("通らないものはありません。", "nothing that will not pass."))
    else:
        answer.pop("request_id", None)
        call.one(answer)
    if walked["faults"]:
        first = walked["faults"][0]
        tell(t(f"最初に直すもの: {first['advice']}", f"to mend first: {first['advice_en']}"))
    if answer["warnings"]:
        tell(t("注意:", "warnings:"), answer["warnings"])


@changes(group, "rm", "アプリの登録を削除 (接続も切断)", "remove an app; its live connections end")
def rm(call: Call, app: App) -> None:
    """Remove an app."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post(f"/v1/apps/{segment(app)}/remove", shared)

    answer = carry_out(
        call, send, COLUMNS, lambda _: (t(f"アプリ {app} を削除します。", f"removes the app {app}."), app)
    )
    if answer is not None:
        tell(t(f"アプリ {app} を削除しました。", f"{app} removed."))
        if answer.get("receipt"):
            ended(call, answer, None)
