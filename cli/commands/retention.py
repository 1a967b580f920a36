"""`sekisho audit retention` and `sekisho audit holds`: how long records are kept, and what must stay longer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.call import Call, tell
from cli.client import segment
from cli.command import changes, lists, shows
from cli.commands.proofs import audit_group
from cli.confirm import carry_out
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import age, parse_moment, shown
from cli.render.table import Column

holds_group = typer.Typer(no_args_is_help=True, help=t("記録の保全 (削除しない)", "legal holds"))


def _megabytes(size: object) -> str:
    return f"{size / 1e6:.1f}" if isinstance(size, (int, float)) else "-"


def _kept(seconds: object) -> str:
    return t("無期限", "for ever") if seconds is None else age(seconds)


def _names(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "-"


STOCK = (
    Column("writer", "書き手", "writer", keep=True),
    Column("kind", "種類", "class"),
    Column("age", "保存", "kept", _kept),
    Column("segments", "ファイル", "files"),
    Column("records", "記録", "records"),
    Column("expired", "削除済み", "deleted"),
    Column("plain_bytes", "平文 MB", "plain MB", _megabytes),
    Column("compressed_bytes", "圧縮 MB", "compressed MB", _megabytes),
    Column("oldest_at", "最も古い記録", "oldest", shown),
    Column("next_at", "次の削除", "next deletion", shown),
    Column("next_records", "その件数", "of records"),
    Column("holds", "保全", "holds", _names),
)
HOLDS = (
    Column("id", "ID", "ID", keep=True),
    Column("case", "案件", "case"),
    Column("writers", "書き手", "writers", _names),
    Column("classes", "種類", "classes", _names),
    Column("since", "から", "since", shown),
    Column("until", "まで", "until", shown),
    Column("reason", "理由", "reason"),
    Column("created_by", "設定者", "by"),
)
FREED = (
    Column("writer", "書き手", "writer", keep=True),
    Column("segments", "ファイル", "files"),
    Column("records", "削除できるようになる記録", "records that can be deleted then"),
    Column("first_at", "最初", "first", shown),
    Column("last_at", "最後", "last", shown),
)


@shows(audit_group, "retention", "記録の保存期間と残り", "how long records are kept, and what goes next")
def retention(call: Call) -> None:
    """Show what is kept of every writer."""
    answer = call.client().get("/v1/audit/retention")
    call.rows(answer["items"], STOCK, t("記録はまだありません。", "no records yet."))
    if answer["fault"]:
        told = t("保全の一覧を読めないため、何も削除しません", "nothing is deleted, the holds cannot be read")
        tell(f"{told}: {answer['fault']}")


@lists(holds_group, "ls", "保全の一覧", "list holds")
def ls(call: Call) -> None:
    """List holds."""
    answer = call.client().get("/v1/audit/holds", limit=call.limit)
    empty = t("保全はありません。追加は sekisho audit holds add", "no holds; add one with audit holds add.")
    call.rows(answer["items"], HOLDS, empty, answer["total"])


@changes(holds_group, "add", "記録を保全 (期間を過ぎても削除しない)", "keep records beyond their retention")
def add(
    call: Call,
    writer: Annotated[list[str] | None, typer.Option("--writer", help=t("書き手 (例 worker-0)", "writer"))] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--class", help="access | anonymous | administration | system"),
    ] = None,
    since: Annotated[str, typer.Option("--since", help=t("この時から (例 30d、2026-04-01)", "from"))] = "",
    until: Annotated[str, typer.Option("--until", help=t("この時まで", "until"))] = "",
    case: Annotated[str, typer.Option("--case", help=t("案件の番号", "case number"))] = "",
) -> None:
    """Add a hold: without writer and class for all records, without times for all time."""
    body = {
        "writers": writer or [], "classes": kind or [], "case": case,
        "since": _moment(call, "--since", since), "until": _moment(call, "--until", until),
    }  # fmt: skip
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/audit/holds", {**body, **shared})

    def question(_rows: list[dict[str, Any]]) -> tuple[str, str]:
        return t(
            "この範囲の記録は、解除するまで削除されません。", "these records are kept until the hold is lifted."
        ), "hold"

    answer = carry_out(call, send, HOLDS[1:-1], question)
    if answer is not None:
        tell(t(f"保全 {answer['hold']['id']} を追加しました。", f"hold {answer['hold']['id']} added."))


@changes(holds_group, "rm", "保全の解除 (CISO)", "lift a hold (CISO)")
def rm(call: Call, hold: Annotated[str, typer.Argument(help=t("保全のID", "hold id"))]) -> None:
    """Lift a hold, after showing what can be deleted from then on."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post(f"/v1/audit/holds/{segment(hold)}/remove", shared)

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        records = sum(int(row["records"]) for row in rows)
        return t(f"保全 {hold} を解除すると、直ちに {records} 件を削除できるようになります。",
                 f"lifting hold {hold} lets {records} records be deleted at once."), hold  # fmt: skip

    if carry_out(call, send, FREED, question) is not None:
        tell(t(f"保全 {hold} を解除しました。", f"hold {hold} lifted."))


def _moment(call: Call, option: str, text: str) -> float | None:
    try:
        return parse_moment(text, call.now) if text else None
    except ValueError as error:
        raise Failure(ExitCode.USAGE, f"{option}: {error}") from error
