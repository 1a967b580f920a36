"""`sekisho audit reveal`: find records by a value that they hold as a digest only. Two people, each types it."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.call import Call, tell
from cli.client import segment
from cli.command import changes, shows
from cli.commands.events import COLUMNS, seen
from cli.confirm import carry_out
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import parse_moment
from cli.render.table import Column

group = typer.Typer()  # joins `audit`
PLAN = (
    Column("app", "アプリ", "app"),
    Column("field", "項目", "field"),
    Column("requested_by", "申請者", "by"),
    Column("reason", "理由", "reason"),
)
Name = Annotated[str, typer.Argument(help=t("申請ID", "proposal id"))]
Period = Annotated[str, typer.Option("--since", help=t("この時刻から (既定は全期間)", "from (default: all there is)"))]


@changes(
    group,
    "reveal",
    "伏せた値で記録を照合 (別の人の承認が必要)",
    "find records by a masked value; needs another person",
)
def reveal(
    call: Call,
    app: Annotated[str, typer.Option("--app", help=t("アプリID", "app id"))],
    field: Annotated[str, typer.Option("--field", help=t("path か query:名前", "path, or query:NAME"))],
    since: Period = "",
) -> None:
    """Ask. The value is typed, never an argument: arguments are seen by everybody on the machine."""
    client, begin = call.client(), _moment(call, since)
    body = {"app": app, "field": field, "value": _value(), "since": begin}

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/reveals", {**body, **shared})

    words = t("別の管理者に照合の承認を求めます。", "asks another person for it.")
    answer = carry_out(call, send, PLAN, lambda _: (words, app))
    if answer is not None:
        name = answer["approvals"][0]["id"]
        ja = f"申請 {name} を登録しました (24時間有効)。別の人が sekisho audit reveal-grant {name} で承認し、"
        ja += f"その後に sekisho audit reveal-records {name} で受け取ってください。"
        en = f"{name} waits 24 h: another person runs reveal-grant {name}, then you run reveal-records {name}."
        tell(t(ja, en))


@changes(group, "reveal-grant", "照合を承認 (同じ値を入力)", "grant such a search by typing the same value")
def reveal_grant(call: Call, name: Name) -> None:
    """Grant another person's question."""
    client, value = call.client(), _value()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post(f"/v1/reveals/{segment(name)}/grant", {"value": value, **shared})

    words = t("照合を承認します。", "grants it.")
    answer = carry_out(call, send, PLAN, lambda _: (words, name))
    if answer is not None:
        who = answer["requested_by"]
        tell(t(f"申請 {name} を承認しました。{who} が結果を受け取れます。", f"{name} granted; {who} may read it."))


@shows(group, "reveal-records", "承認された照合の記録を表示", "the records of a granted search")
def reveal_records(call: Call, name: Name) -> None:
    """Show what was granted."""
    found = call.client().post(f"/v1/reveals/{segment(name)}/answer", {"value": _value(), "limit": call.limit})
    empty = t("この値の記録はありません。", "no record is about this value.")
    call.rows([seen(record) for record in found["items"]], COLUMNS, empty, found["total"])


def _moment(call: Call, text: str) -> float | None:
    try:
        return parse_moment(text, call.now) if text else None
    except ValueError as error:
        raise Failure(ExitCode.USAGE, f"--since: {error}") from error


def _value() -> str:
    """The value, unseen as it is typed; from standard input, its first line."""
    asks = sys.stdin.isatty()
    value = getpass.getpass(t("照合する値: ", "value: ")) if asks else sys.stdin.readline().rstrip("\n")
    if not value.strip():
        raise Failure(ExitCode.USAGE, t("値を入力してください。", "type a value."))
    return value
