"""`sekisho doctor`: what is wrong with this installation, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.call import Call, Output, tell
from cli.command import shows
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.render.table import Column

if TYPE_CHECKING:
    from gateway.doctor import Finding

_JA: Final = {"good": "良好", "note": "注意", "fault": "異常"}
COLUMNS: Final = (
    Column("state", "状態", "state"),
    Column("check", "項目", "check"),
    Column("found", "分かったこと", "found"),
    Column("remedy", "すること", "to do"),
)


def register(app: typer.Typer) -> None:
    """Add the command to the top level."""
    shows(app, "doctor", "この導入を診断 (接続不要、何も変えない)", "examine this installation; changes nothing")(
        doctor
    )


def doctor(
    call: Call,
    offline: Annotated[
        bool, typer.Option("--offline", help=t("外のサービスに接続しない", "ask no other service"))
    ] = False,
    every: Annotated[bool, typer.Option("--all", help=t("良好な項目も表示", "show what is good as well"))] = False,
) -> None:
    """Show what is wrong, or worth knowing; exit status 1 where something is a fault."""
    from gateway.doctor import State, examine

    found: list[Finding] = []
    for finding in examine(call.place.settings(), call.now, offline=offline):
        found.append(finding)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K{t('調べています', 'looking at')}: {finding.check}")
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[2K")
    rows = [_row(each) for each in found if every or each.state is not State.GOOD]
    if call.output is Output.TABLE and not call.fields:
        call.lines(line for row in rows for line in _told(row))  # a command to copy stands on one line
    else:
        call.rows(rows, COLUMNS, "")
    looked = t(f"{len(found)} 項目を調べました。", f"{len(found)} checks. ")
    faults = sum(each.state is State.FAULT for each in found)
    if faults:
        raise Failure(ExitCode.FAILED, looked + t(f"異常が {faults} 件あります。", f"faults: {faults}."))
    tell(looked + t("異常はありません。", "No faults."))


def _row(finding: Finding) -> dict[str, str]:
    told = {"found": t(*finding.found), "remedy": t(*finding.remedy)}
    return {"state": finding.state.value, "check": finding.check, **told}


def _told(row: dict[str, str]) -> Iterator[str]:
    yield f"{t(_JA[row['state']], row['state'])}  {row['check']}: {row['found']}"
    if row["remedy"]:
        yield f"      → {row['remedy']}"
