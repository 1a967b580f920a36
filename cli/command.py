"""How a function becomes a command: shared options added to its signature, failures turned into exit statuses.

`lists`, `shows` and `changes` register a function whose first parameter is the `Call`; typer sees a signature with the
shared options behind the function's own.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.call import Call, Output, now, tell
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.moments import parse_span
from cli.once import OnceCommand

Function = Callable[..., None]
_SHARED: Final = t("共通のオプション", "Shared options")


def _option(name: str, kind: Any, default: Any, *flags: str, text: str) -> inspect.Parameter:
    annotation = Annotated[kind, typer.Option(*flags, help=text, rich_help_panel=_SHARED)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _basic() -> list[inspect.Parameter]:
    return [
        _option("config", Path | None, None, "--config", "-c", text=t("設定ファイル", "settings file")),
        _option(
            "output", Output | None, None, "--output", "-o", text=t("出力の形式 (既定 table)", "output (default table)")
        ),
        _option("lang", str, "", "--lang", text="ja | en"),
        _option("fields", str, "", "--fields", text=t("表示する項目 (, 区切り)", "fields to show, comma separated")),
    ]


def _listing() -> list[inspect.Parameter]:
    return [
        _option("limit", int, 1000, "--limit", text=t("最大の件数", "most rows")),
        _option("watch", str, "", "--watch", text=t("この間隔で繰り返す (例 5s)", "repeat at this interval, e.g. 5s")),
        _option("no_pager", bool, False, "--no-pager", text=t("ページャーを使わない", "no pager")),
    ]


def _changing() -> list[inspect.Parameter]:
    required = inspect.Parameter.empty
    return [
        _option("reason", str, required, "--reason", text=t("理由 (記録に残ります)", "reason, goes into the record")),
        _option("ticket", str, "", "--ticket", text=t("依頼や案件の番号", "ticket number")),
        _option("dry_run", bool, False, "--dry-run", text=t("実行せず、対象だけを表示", "show what would be hit")),
        _option("yes", bool, False, "--yes", text=t("確認を省く (スクリプト用)", "no confirmation, for scripts")),
    ]


def lists(group: typer.Typer, name: str, ja: str, en: str) -> Callable[[Function], Function]:
    """Register a command that lists."""
    return _register(group, name, t(ja, en), lambda: [*_basic(), *_listing()])


def shows(group: typer.Typer, name: str, ja: str, en: str) -> Callable[[Function], Function]:
    """Register a command that shows or checks."""
    return _register(group, name, t(ja, en), _basic)


def changes(group: typer.Typer, name: str, ja: str, en: str) -> Callable[[Function], Function]:
    """Register a command that changes something: `--reason` is mandatory."""
    return _register(group, name, t(ja, en), lambda: [*_changing(), *_basic()])


def _register(
    group: typer.Typer, name: str, text: str, options: Callable[[], list[inspect.Parameter]]
) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = options()
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

        @functools.wraps(function)
        def run(**given: Any) -> None:
            basis: dict[str, Any] = given.pop("context").obj or {}
            options_given = {parameter.name: given.pop(parameter.name) for parameter in shared}
            guarded(lambda: _repeated(function, options_given, basis, given))

        run.__signature__ = inspect.Signature([context, *keyword, *shared])  # type: ignore[attr-defined]  # read by typer
        run.__annotations__ = {}
        group.command(name, cls=OnceCommand, help=text)(run)
        return function

    return decorate


def _repeated(function: Function, options: dict[str, Any], basis: dict[str, Any], own: dict[str, Any]) -> None:
    watch = options.pop("watch", "")
    interval = _interval(watch) if watch else 0.0
    while True:
        function(_call(options, basis, watching=bool(interval)), **own)
        if not interval:
            return
        time.sleep(interval)
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[H\x1b[2J")


def guarded(work: Callable[[], None]) -> None:
    """Run a command's work; a Failure becomes its words on standard error and its exit status."""
    try:
        work()
    except Failure as failure:
        tell(failure.message, failure.lines)
        raise typer.Exit(failure.code) from None
    except BrokenPipeError:
        # The reader (head, less) has what it wanted; without this Python complains once more at its own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.DONE) from None


def _call(options: dict[str, Any], basis: dict[str, Any], *, watching: bool) -> Call:
    fields = tuple(name.strip() for name in options.get("fields", "").split(",") if name.strip())
    reason = options.get("reason", "")
    if "reason" in options and not reason.strip():
        raise Failure(ExitCode.USAGE, t("--reason に理由を書いてください。", "--reason must not be empty."))
    return Call(
        config=options.get("config") or basis.get("config"),
        output=options.get("output") or basis.get("output") or Output.TABLE,
        fields=fields,
        limit=options.get("limit", 1000),
        pager=not options.get("no_pager", False) and not watching,
        reason=reason,
        ticket=options.get("ticket", ""),
        dry_run=options.get("dry_run", False),
        yes=options.get("yes", False),
        now=now(),
    )


def _interval(text: str) -> float:
    try:
        return max(1.0, parse_span(text))
    except ValueError as error:
        raise Failure(ExitCode.USAGE, f"--watch: {error}") from error
