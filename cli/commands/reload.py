"""`sekisho reload`: the settings, the certificates or the program itself, taken up without a lost request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.call import Call
from cli.command import changes
from cli.confirm import carry_out
from cli.language import t
from cli.render.table import Column

PLAN = (
    Column("key", "設定・プロセス", "setting or process"), Column("before", "今まで", "before"),
    Column("after", "これから", "after"), Column("concerns", "対象", "concerns"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command to the top level."""
    changes(app, "reload", "設定と証明書を読み直す (要求は失われない)", "settings and certificates, losing nothing")(
        reload
    )


def reload(
    call: Call,
    program: Annotated[
        bool, typer.Option("--program", help=t("入れ替えたプログラムで動かす", "become the program installed now"))
    ] = False,
) -> None:
    """Take up what the settings file says now, or say everything that is wrong with it."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/reload", {**shared, "program": program})

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        names = ", ".join(row["key"] for row in rows if row["concerns"] == ["replaced"])
        words = f"{names} を入れ替えます。開いている WebSocket は timeouts.drain のあとで閉じます。"
        return t(words, f"{names} will be replaced; open WebSockets are closed after timeouts.drain."), "reload"

    answer = carry_out(call, send, PLAN, question)
    if answer is not None:
        call.one({"changed": [each["key"] for each in answer["changed"]], "replaced": answer["replaced"]})
