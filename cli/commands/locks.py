"""`sekisho locks`: standing refusals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.call import Call, tell
from cli.client import segment
from cli.command import changes, lists
from cli.commands.sessions import ended
from cli.confirm import carry_out
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import parse_span, short
from cli.render.table import Column

group = typer.Typer(no_args_is_help=True, help=t("利用の停止 (ロック)", "standing refusals"))

COLUMNS = (
    Column("id", "ID", "ID", keep=True),
    Column("target", "種類", "target"),
    Column("label", "対象", "of"),
    Column("reason", "理由", "reason"),
    Column("created_by", "設定者", "by"),
    Column("expires_at", "期限", "expires", short),
)
PLAN = (*COLUMNS[1:4], Column("sessions", "影響するセッション", "live sessions"))


@lists(group, "ls", "ロックの一覧", "list locks")
def ls(call: Call) -> None:
    """List locks."""
    answer = call.client().get("/v1/locks", limit=call.limit)
    empty = t("ロックはありません。追加は sekisho locks add", "no locks; add one with locks add.")
    call.rows(answer["items"], COLUMNS, empty, answer["total"])


@changes(group, "add", "利用を止める (通信中の接続も切断)", "refuse from now on; live connections end")
def add(
    call: Call,
    user: Annotated[str, typer.Option("--user", help=t("職員ID", "login"))] = "",
    device: Annotated[str, typer.Option("--device", help=t("端末", "device"))] = "",
    session: Annotated[str, typer.Option("--session", help=t("セッションID", "session id"))] = "",
    group_name: Annotated[str, typer.Option("--group", help=t("グループ", "group"))] = "",
    app: Annotated[str, typer.Option("--app", help=t("アプリ", "app"))] = "",
    message: Annotated[str, typer.Option("--message", help=t("本人に表示する文", "words for the person"))] = "",
    expires: Annotated[str, typer.Option("--expires", help=t("期間 (例 8h、7d)。既定は解除まで", "e.g. 8h, 7d"))] = "",
    receipt: Annotated[Path | None, typer.Option("--receipt", help=t("受領証の保存先", "file for the receipt"))] = None,
) -> None:
    """Add a lock."""
    named = {"user": user, "device": device, "session": session, "group": group_name, "app": app}
    given = [(target, name) for target, name in named.items() if name]
    if len(given) != 1:
        message_ = t("対象を一つだけ指定してください (--user など)。", "name exactly one target, such as --user.")
        raise Failure(ExitCode.USAGE, message_)
    target, name = given[0]
    body = {"target": target, "target_id": name, "message": message, "duration": _duration(expires)}
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post("/v1/locks", {**body, **shared})

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        label = str(rows[0]["label"])
        return t(f"{target} {label} の利用を止めます。", f"refuses {target} {label} from now on."), label

    answer = carry_out(call, send, PLAN, question)
    if answer is not None:
        tell(t(f"ロック {answer['lock']['id']} を追加しました。", f"lock {answer['lock']['id']} added."))
        ended(call, answer, receipt)


@changes(group, "rm", "ロックの解除", "remove a lock")
def rm(call: Call, lock: Annotated[str, typer.Argument(help=t("ロックID", "lock id"))]) -> None:
    """Remove a lock."""
    client = call.client()

    def send(shared: Mapping[str, Any]) -> dict[str, Any]:
        return client.post(f"/v1/locks/{segment(lock)}/remove", shared)

    def question(rows: list[dict[str, Any]]) -> tuple[str, str]:
        label = str(rows[0]["label"])
        return t(f"{label} のロックを解除します。", f"removes the lock of {label}."), label

    if carry_out(call, send, PLAN[:-1], question) is not None:
        tell(t("ロックを解除しました。", "lock removed."))


def _duration(expires: str) -> float | None:
    try:
        return parse_span(expires) if expires else None
    except ValueError as error:
        raise Failure(ExitCode.USAGE, f"--expires: {error}") from error
