"""`sekisho clock`: after a leap of the machine's clock nothing is served until a person says that the time is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from cli.call import Call, tell
from cli.command import changes
from cli.confirm import carry_out
from cli.language import t
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("時計", "the machine's clock"))

PLAN = (Column("leap", "進み (秒)", "ahead (s)"), Column("now", "今までの時刻", "time until now"))


@changes(group, "accept", "進んだ時計の承認", "vouch for a clock that leapt ahead")
def accept(call: Call) -> None:
    """Go on from the machine's time: sessions, locks and approvals end by it."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/clock/accept", shared)

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        minutes = round(float(rows[0]["leap"]) / 60)
        return t(f"{minutes} 分進んだ時刻で続けます。", f"goes on from a time {minutes} minutes ahead."), "accept"

    answer = carry_out(call, send, PLAN, question)
    if answer is not None:
        tell(t("時刻を承認しました。", "the time is accepted."))
