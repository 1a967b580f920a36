"""Before something is changed: show what will be hit, and have it typed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cli.call import Call, tell
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.render.cells import visible
from cli.render.table import Column


def carry_out(
    call: Call,
    send: Callable[[Mapping[str, Any]], dict[str, Any]],
    columns: Sequence[Column],
    question: Callable[[list[dict[str, Any]]], tuple[str, str]],
) -> dict[str, Any] | None:
    """Ask the server for the plan, show it, have it confirmed, then send the change.

    `send` takes the shared part of the body. `question` gives, for the plan, what will happen in words and what has to
    be typed. Returns the answer, None after a dry run or where nothing would be hit.
    """
    if call.yes and not call.dry_run:
        return send(call.change())
    plan = send(call.change(dry_run=True))
    rows: list[dict[str, Any]] = list(plan.get("plan", ()))
    if call.dry_run:
        call.rows(rows, columns, t("対象はありません。", "nothing would be hit."), int(plan.get("hit", 0)))
        return None
    if not plan.get("hit"):
        tell(t("対象はありません。何も変更していません。", "nothing to do; nothing was changed."))
        return None
    words, expected = question(rows)
    _show(rows, columns)
    _have_typed(words, expected)
    return send(call.change())


def _show(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    from rich.console import Console

    from cli.render.table import description, listing

    console = Console(stderr=True, highlight=False)
    if len(rows) == 1:
        console.print(description({column.key: rows[0].get(column.key) for column in columns}, columns))
    else:
        console.print(listing(rows, columns, console.width))


def _have_typed(words: str, expected: str) -> None:
    if not sys.stdin.isatty():
        message = t(
            f"{words}\n確認の入力ができないため、何も変更していません。スクリプトでは --yes を付けてください。",
            f"{words}\nNo terminal to confirm on; nothing was changed. Use --yes in scripts.",
        )
        raise Failure(ExitCode.USAGE, message)
    tell(words)
    answer = visible(expected)
    sys.stderr.write(t(f"実行するには {answer} と入力してください: ", f"type {answer} to go on: "))
    sys.stderr.flush()
    typed = sys.stdin.readline().strip()
    if typed != expected:
        raise Failure(ExitCode.FAILED, t("一致しません。何も変更していません。", "no match; nothing was changed."))
