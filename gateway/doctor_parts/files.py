"""Who may read and write what must be secret: keys, the store, files that settings name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from gateway.doctor_parts.finding import Finding, Told, fault, good
from gateway.keyfiles import ASSERTION_CURRENT, ASSERTION_NEXT, CHECKPOINT, RECEIPTS, SEALING
from gateway.reloading.files import named
from gateway.settings import Settings

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_KEYS = (ASSERTION_CURRENT, ASSERTION_NEXT, CHECKPOINT, RECEIPTS, SEALING)


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each secret file or folder that is missing or open to others; one if there is none."""
    paths = settings.paths
    folders = [paths.keys, paths.device_ca, paths.state]
    files = [*(paths.keys / name for name in _KEYS), paths.store, *secret_files(settings)]
    wrong = [each for each in (*map(_folder, folders), *map(_file, dict.fromkeys(files))) if each is not None]
    yield from wrong
    if not wrong:
        count = len(folders) + len(files)
        yield good(
            "files.secret",
            f"秘密のファイルと場所 {count} 件は、この利用者だけが読めます",
            f"{count} secret files and folders are readable by this user alone",
        )


def secret_files(model: BaseModel) -> Iterator[Path]:
    """Yield the files that settings name because a secret is in them."""
    for key, path in named(model, ""):
        name = key.rpartition(".")[2]
        if name in ("key", "client_key") or name.endswith("_file"):
            yield path


def _file(path: Path) -> Finding | None:
    return _looked_at(path, "600", expected_folder=False)


def _folder(path: Path) -> Finding | None:
    return _looked_at(path, "700", expected_folder=True)


def _looked_at(path: Path, mode: str, *, expected_folder: bool) -> Finding | None:
    check = "files.secret"
    try:
        found = path.stat()
    except OSError as error:
        reason = error.strerror or str(error)
        return fault(
            check,
            Told(f"{path} を読めません({reason})", f"{path} cannot be read ({reason})"),
            Told("設定の場所か、ファイルの持ち主を確かめる", "check the setting, or who owns the file"),
        )
    if stat.S_ISDIR(found.st_mode) is not expected_folder:
        return fault(
            check,
            Told(f"{path} の種類が違います", f"{path} is of another kind"),
            Told("設定を直す", "mend the setting"),
        )
    if found.st_mode & _OTHERS:
        shown = f"{stat.S_IMODE(found.st_mode):o}"
        return fault(
            check,
            Told(f"{path} をほかの利用者が開けます(モード {shown})", f"{path} is open to others (mode {shown})"),
            Told(f"chmod {mode} {path}", f"chmod {mode} {path}"),
        )
    if found.st_uid not in (os.geteuid(), 0):
        return fault(
            check,
            Told(
                f"{path} の持ち主が違います(uid {found.st_uid})", f"{path} belongs to another user (uid {found.st_uid})"
            ),
            Told(f"chown {os.geteuid()} {path}", f"chown {os.geteuid()} {path}"),
        )
    return None
