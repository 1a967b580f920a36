"""Files that a person names: read whole, as text, with a clear word where that fails."""

from __future__ import annotations

import sys
from pathlib import Path

from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t


def read_text(path: Path) -> str:
    """The text of a file, or of standard input for `-`; raises Failure."""
    try:
        if str(path) == "-":
            return sys.stdin.read()
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failure(ExitCode.FAILED, t(f"{path} が UTF-8 ではありません。", f"{path} is not UTF-8.")) from error
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{path}: {error.strerror}") from error


def read_secret(path: Path) -> str:
    """The first line of a file that holds a secret (`-` = standard input); raises Failure."""
    lines = read_text(path).splitlines()
    if not lines or not lines[0]:
        raise Failure(ExitCode.FAILED, t(f"{path} は空です。", f"{path} is empty."))
    return lines[0]
