"""`sekisho alerts`: whether the system reaches people on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from cli.call import Call
from cli.command import changes, lists
from cli.confirm import carry_out
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("通知 (メール、Webhook)", "alerts by mail and webhook"))

COLUMNS = (
    Column("name", "経路", "channel"),
    Column("sent", "送信済み", "sent"),
    Column("waiting", "送信待ち", "waiting"),
    Column("failed", "失敗", "failed"),
    Column("dropped", "破棄", "dropped"),
    Column("last_fault", "直近の不具合", "last fault"),
)
TESTED = (
    Column("channel", "経路", "channel"),
    Column("delivered", "送信", "handed over"),
    Column("fault", "不具合", "fault"),
)


@lists(group, "status", "通知の経路の状態", "how every way out is doing")
def status(call: Call) -> None:
    """Show the ways out."""
    answer = call.client().get("/v1/alerts")
    empty = t(
        "通知の送り先はありません。設定は sekisho.toml の [alerts] です。", "no ways out; they are set in [alerts]."
    )
    call.rows(answer["items"], COLUMNS, empty, answer["total"])


@changes(group, "test", "試験の通知を送る", "send a test on every way out")
def test(call: Call) -> None:
    """Send a test."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/alerts/test", shared)

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        names = "、".join(str(row["channel"]) for row in rows)
        return t(f"{names} に試験の通知を送ります。", f"sends a test by {names}."), "test"

    answer = carry_out(call, send, TESTED[:1], question)
    if answer is None:
        return
    call.rows(answer["items"], TESTED, "")
    faults = [f"{row['channel']}: {row['fault']}" for row in answer["items"] if row["fault"]]
    if faults:
        raise Failure(ExitCode.FAILED, t("送れなかった経路があります。", "not every way out works."), faults)
