"""`sekisho sessions`: who is signed in, and ending it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.call import Call, Output, tell
from cli.client import segment
from cli.command import changes, lists, shows
from cli.confirm import carry_out
from cli.language import t
from cli.moments import age, short, shown
from cli.receipts import keep
from cli.render import trail
from cli.render.states import state_word
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("サインイン中のセッション", "sessions of signed-in people"))

COLUMNS = (
    Column("id", "ID", "ID", keep=True),
    Column("user", "職員ID", "user"),
    Column("name", "氏名", "name"),
    Column("mfa_method", "MFA", "MFA"),
    Column("source_ip", "接続元", "address"),
    Column("last_used_at", "最終利用", "last used", short, keep=True),
)
DETAIL = (
    *COLUMNS[:4],
    Column("source_ip", "接続元", "address"),
    Column("department", "所属", "department"),
    Column("amr", "確認の手段", "amr"),
    Column("acr", "確認の強さ", "acr"),
    Column("idle_limit", "無操作の限度", "idle limit", age),
    Column("device_id", "端末", "device"),
    Column("user_agent", "ブラウザー", "user agent"),
    Column("operator", "管理用", "operator"),
    Column("end_reason", "終了の理由", "why ended", lambda value: trail.why({"sekisho.reason": value})),
    Column("end_message", "本人への文", "words for the person"),
    Column("state", "状態", "state", state_word),
    Column("created_at", "開始", "started", shown),
    Column("expires_at", "期限", "expires", shown),
    Column("last_used_at", "最終利用", "last used", shown),
    Column("mfa_at", "MFAの時刻", "MFA at", shown),
    Column("ended_at", "終了", "ended", shown),
)
ReceiptFile = Annotated[Path | None, typer.Option("--receipt", help=t("受領証の保存先", "receipt file"))]


@lists(group, "ls", "セッションの一覧", "list sessions")
def ls(
    call: Call,
    user: Annotated[str, typer.Option("--user", help=t("職員ID", "login"))] = "",
    device: Annotated[str, typer.Option("--device", help=t("端末ID", "device id"))] = "",
    ended: Annotated[bool, typer.Option("--ended", help=t("終了したものも表示", "ended ones too"))] = False,
) -> None:
    """List sessions."""
    answer = call.client().get(
        "/v1/sessions", user=user, device=device, ended="true" if ended else None, limit=call.limit
    )
    empty = t("セッションはありません。最近の利用は sekisho events search", "no sessions; see sekisho events search.")
    call.rows(answer["items"], COLUMNS, empty, answer["total"])


@shows(group, "show", "セッションの詳細", "show one session")
def show(call: Call, session: Annotated[str, typer.Argument(help=t("セッションID", "session id"))]) -> None:
    """Show one session."""
    call.one(_without_number(call.client().get(f"/v1/sessions/{segment(session)}")), DETAIL)


@changes(group, "revoke", "セッションと通信中の接続を終了", "end sessions with their live connections")
def revoke(
    call: Call,
    sessions: Annotated[list[str] | None, typer.Argument(help=t("セッションID", "session ids"))] = None,
    user: Annotated[str, typer.Option("--user", help=t("この職員のすべて", "all of this person"))] = "",
    device: Annotated[str, typer.Option("--device", help=t("この端末のすべて", "all of this device"))] = "",
    group_name: Annotated[str, typer.Option("--group", help=t("このグループのすべて", "all of this group"))] = "",
    app: Annotated[str, typer.Option("--app", help=t("このアプリを使っているすべて", "all that use this app"))] = "",
    everything: Annotated[bool, typer.Option("--all", help=t("全員", "everybody"))] = False,
    message: Annotated[str, typer.Option("--message", help=t("本人に表示する文", "words for the people"))] = "",
    receipt: ReceiptFile = None,
) -> None:
    """End sessions."""
    selector: dict[str, Any] = {"sessions": sessions or [], "user": user, "device": device, "group": group_name}
    selector |= {"app": app, "everything": everything, "message": message}
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/sessions/revoke", {**selector, **shared})

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        people = sorted({str(row["user"]) for row in rows})
        if user and len(people) == 1:
            return _words(len(rows), people), people[0]
        return _words(len(rows), people), str(len(rows))

    answer = carry_out(call, send, COLUMNS, question)
    if answer is not None:
        ended(call, answer, receipt)


def _words(count: int, people: list[str]) -> str:
    names = "、".join(people[:5]) + (t(" ほか", " and others") if len(people) > 5 else "")
    return t(f"{len(people)} 人 ({names}) のセッション {count} 件を終了します。", f"ends {count} sessions: {names}.")


def ended(call: Call, answer: Mapping[str, Any], receipt: Path | None) -> None:
    """Tell what a revocation did; the signed receipt is data, for a file or for the chosen output."""
    keep(answer.get("receipt"), receipt)
    if call.output is not Output.TABLE:
        call.one(_without_number(answer))
        return
    facts = _inside(answer.get("receipt"))
    closed = facts.get("closed") or {}
    count, cut = len(facts.get("sessions") or answer.get("sessions") or ()), sum(closed.values())
    if facts.get("kind") == "lock.add":  # sessions stay, refused as long as the lock is there
        tell(
            t(
                f"以後の利用を拒否します。通信中の接続 {cut} 件を切断しました。",
                f"refused from now on; {cut} live connections cut.",
            )
        )
    else:
        tell(
            t(
                f"セッション {count} 件、接続 {cut} 件を終了しました。",
                f"ended {count} sessions, {cut} live connections.",
            )
        )
    if facts.get("fenced"):
        tell(t(f"応答しなかったワーカーを停止しました: {facts['fenced']}", f"fenced workers: {facts['fenced']}"))
    if facts:
        call.one({"receipt": facts["id"], "durable_at": facts["durable_at"], "last_ack_at": facts["last_ack_at"]}, (
            Column("receipt", "受領証", "receipt"),
            Column("durable_at", "確定した時刻", "durable at", shown),
            Column("last_ack_at", "全ワーカー完了", "all workers done", shown),
        ))  # fmt: skip


def _inside(receipt: object) -> dict[str, Any]:
    """The payload of a receipt, unproven: for display right after the server gave it."""
    import json

    if not isinstance(receipt, str):
        return {}
    payload = json.loads(json.loads(receipt)["receipt"])
    return payload if isinstance(payload, dict) else {}


def _without_number(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "request_id"}
