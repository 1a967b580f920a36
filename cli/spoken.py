"""Help and usage errors in the person's language: what the parser's library says in English is said here.

Every noun and verb is made of these two classes; the program is `Program`, which also turns the parser's exceptions
into exit statuses (`exit_codes`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from cli.call import tell
from cli.exit_codes import ExitCode
from cli.language import t
from cli.usage import explain


class _Spoken:
    """Headings, usage line and the help option of one command or noun."""

    def check(self, ctx: Any, args: list[str]) -> None:
        """Refuse what the parser would take; nothing here."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; a fault that the parser tells without its command gets it here."""
        try:
            self.check(ctx, args)
            parsed: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]  # the class beside this one has it
        except TyperException as error:
            if getattr(error, "ctx", ctx) is None:
                error.ctx = ctx  # type: ignore[attr-defined]  # a usage error's
            raise
        return parsed

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option for help, with its meaning in words."""
        option: Any = super().get_help_option(ctx)  # type: ignore[misc]  # the class beside this one has it
        if option is not None:
            option.help = t("この説明を表示して終わる", "show this help and exit")
        return option

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write the line that says how the command is typed."""
        words = {
            "[OPTIONS]": t("[オプション]", "[OPTIONS]"),
            "COMMAND [ARGS]...": t("コマンド [引数]...", "COMMAND [ARGS]..."),
        }
        pieces = [words.get(piece, piece) for piece in self.collect_usage_pieces(ctx)]  # type: ignore[attr-defined]
        formatter.write_usage(ctx.command_path, " ".join(pieces), prefix=t("使い方: ", "Usage: "))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with headings in the person's language."""
        from typer import rich_utils  # imports rich: only where help is shown

        rich_utils.ARGUMENTS_PANEL_TITLE = t("引数", "Arguments")
        rich_utils.OPTIONS_PANEL_TITLE = t("オプション", "Options")
        rich_utils.COMMANDS_PANEL_TITLE = t("コマンド", "Commands")
        rich_utils.DEFAULT_STRING = t("[既定: {}]", "[default: {}]")
        rich_utils.REQUIRED_LONG_STRING = t("[必須]", "[required]")
        super().format_help(ctx, formatter)  # type: ignore[misc]  # the class beside this one has it


class SpokenCommand(_Spoken, TyperCommand):
    """A verb."""


class SpokenGroup(_Spoken, TyperGroup):
    """A noun."""


class Program(SpokenGroup):
    """The program itself: usage errors in words, statuses as documented."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run and exit with the command's status."""
        del standalone_mode  # always: the process ends with the command
        try:
            status = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except TyperException as error:
            sys.exit(_told(error))
        except typer.Abort:
            tell(t("中止しました。", "aborted."))
            sys.exit(ExitCode.FAILED)
        sys.exit(status if isinstance(status, int) else ExitCode.DONE)


def _told(error: Any) -> int:
    """Tell of a usage error; a noun without a verb has shown its help already."""
    if not hasattr(error, "ctx"):
        tell(error.format_message())
    elif type(error).__name__ != "NoArgsIsHelpError":
        tell(*explain(error))
    return int(error.exit_code)
