"""Files that only their owner may read: tokens and set-up letters."""

from __future__ import annotations

import os
from pathlib import Path

from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t

_PRIVATE = 0o600


def write_private(path: Path, text: str, *, replace: bool) -> None:
    """Write `text` to a file of mode 0600; without `replace` an existing file is a Failure, never overwritten."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}") if replace else path
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError as error:
        message = t(f"{path} は既にあります。別の名前を指定してください。", f"{path} exists; choose another name.")
        raise Failure(ExitCode.CONFLICT, message) from error
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{path}: {error.strerror}") from error
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    if replace:
        temporary.replace(path)


def read_private(path: Path) -> str | None:
    """The text, None where there is no file; raises Failure where others may read it."""
    try:
        status = path.stat()
        if os.name == "posix" and status.st_mode & 0o077:
            message = t(
                f"{path} を他の利用者も読めます。削除して sekisho login をやり直してください。",
                f"{path} can be read by others; delete it and sign in again.",
            )
            raise Failure(ExitCode.SIGN_IN_NEEDED, message)
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{path}: {error.strerror}") from error
