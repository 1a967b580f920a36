"""`sekisho devices`: what the MDM tells."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.call import Call
from cli.client import segment
from cli.command import lists, shows
from cli.language import t
from cli.moments import age, shown
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("端末", "devices"))

COLUMNS = (
    Column("name", "端末名", "name"),
    Column("owner", "利用者", "owner"),
    Column("os", "OS", "OS"),
    Column("os_version", "版", "version"),
    Column("state", "状態", "state"),
    Column("failing", "不足", "failing"),
    Column("seen_age", "最終確認", "seen", age, keep=True),
)
DETAIL = (
    Column("patched_at", "更新プログラム", "patched", shown),
    Column("seen_at", "MDMの最終確認", "seen by MDM", shown),
    Column("read_at", "読み取り", "read", shown),
    Column("seen_age", "確認からの時間", "seen age", age),
    Column("read_age", "読み取りからの時間", "read age", age),
)


@lists(group, "ls", "端末の一覧", "list devices")
def ls(
    call: Call,
    owner: Annotated[str, typer.Option("--owner", help=t("職員ID", "login"))] = "",
    state: Annotated[str, typer.Option("--state", help="compliant | noncompliant | unknown")] = "",
) -> None:
    """List devices."""
    answer = call.client().get("/v1/devices", owner=owner, state=state, limit=call.limit)
    empty = t("端末はありません。MDM の設定は sekisho.toml の [mdm] です。", "no devices; the MDM is set in [mdm].")
    call.rows(answer["items"], COLUMNS, empty, answer["total"])


@shows(group, "show", "端末の詳細", "show one device")
def show(call: Call, device: Annotated[str, typer.Argument(help=t("端末", "device"))]) -> None:
    """Show one device."""
    answer = call.client().get(f"/v1/devices/{segment(device)}")
    answer.pop("request_id", None)
    call.one(answer, DETAIL)
