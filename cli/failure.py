"""How a command ends when it cannot do what was asked."""

from __future__ import annotations

from collections.abc import Sequence

from cli.exit_codes import ExitCode


class Failure(Exception):
    """The command ends with `code`; `message` and `lines` go to standard error."""

    def __init__(self, code: ExitCode, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.lines = tuple(lines)
