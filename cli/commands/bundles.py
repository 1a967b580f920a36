"""`sekisho audit bundle`: evidence for people outside, made by the server, which records who took it and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.bundle_files import arriving
from cli.call import Call, tell
from cli.command import changes
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import parse_moment
from cli.render.table import Column

MADE = (
    Column("file", "証拠一式", "bundle"),
    Column("records", "記録", "records"),
    Column("digest", "目録の SHA-256", "digest of the manifest"),
    Column("uncovered", "署名前で未収録", "not signed yet"),
    Column("policies_missing", "保管されていないポリシー", "policies that are not kept"),
)


def register(group: typer.Typer) -> None:
    """Add the command to `sekisho audit`."""
    changes(group, "bundle", "事案や期間の記録を証明ごと書き出す", "export records with all that proves them")(bundle)


def bundle(
    call: Call,
    out: Annotated[Path, typer.Option("--out", "-O", help=t("新しいフォルダーか .zip", "new folder or .zip"))],
    case: Annotated[str, typer.Option("--case", help=t("事案の番号", "case"))] = "",
    period: Annotated[
        tuple[str, str] | None, typer.Option("--period", metavar="A B", help=t("期間 (B は含まない)", "from A up to B"))
    ] = None,
    user: Annotated[str, typer.Option("--user", help=t("職員ID", "login"))] = "",
    app: Annotated[str, typer.Option("--app", help=t("アプリID", "app id"))] = "",
) -> None:
    """Export one case or one period."""
    body: dict[str, Any] = {**call.change(), **_selection(call, case, period, user, app)}
    if call.dry_run:
        (plan,) = call.client().post("/v1/events/bundle", body)["plan"]
        call.one({"records": plan["records"], "uncovered": sum(plan["uncovered"].values())}, MADE)
        return
    with arriving(out) as files:
        done = None
        for each in call.client().stream("/v1/events/bundle", body):
            if "file" in each:
                files.add(each["file"], each["data"])
            elif "progress" in each:
                _progress(each["progress"])
            else:
                done = each["done"]
        if done is None:
            raise Failure(ExitCode.FAILED, t("最後まで届きませんでした。", "it did not arrive whole."))
        files.keep(done["digest"])
    call.one({**done, "uncovered": sum(done["uncovered"].values()), "file": str(out)}, MADE)
    tell(t("公開鍵 (checkpoint.pub) と上の SHA-256 は、一式とは別の経路で渡してください。",
           "hand over the public key (checkpoint.pub) and the digest by another way than the bundle."))  # fmt: skip
    tell(t("確認: 一式のフォルダーで python verify.py --key 公開鍵 --digest 値",
           "check: in the bundle's folder, python verify.py --key KEY --digest VALUE"))  # fmt: skip


def _selection(call: Call, case: str, period: tuple[str, str] | None, user: str, app: str) -> dict[str, Any]:
    filters = {name: value for name, value in (("user.name", user), ("sekisho.app.id", app)) if value}
    if bool(case) == (period is not None) or (case and filters):
        message = t("--case か --period のどちらか一つを指定してください (--user と --app は --period とだけ)。",
                    "give --case or --period (--user and --app go with --period only).")  # fmt: skip
        raise Failure(ExitCode.USAGE, message)
    if period is None:
        return {"case": case}
    try:
        since, until = (call.now if text == "now" else parse_moment(text, call.now) for text in period)
    except ValueError as error:
        raise Failure(ExitCode.USAGE, f"--period: {error}") from error
    if since >= until:
        raise Failure(ExitCode.USAGE, t("--period: A は B より前です。", "--period: A comes before B."))
    return {"since": since, "until": until, "filters": filters}


def _progress(records: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(t(f"\r{records} 件 …", f"\r{records} records …"))
        sys.stderr.flush()
