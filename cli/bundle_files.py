"""An evidence bundle as it arrives: parts of files into a folder that has its name only once everything is there."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t

_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)?[A-Za-z0-9_-][A-Za-z0-9._-]*")


class BundleFiles:
    """Takes parts until it is kept; what is not kept leaves nothing behind."""

    def __init__(self, path: Path) -> None:
        """`path` is the folder, or the ZIP file where it ends in `.zip`; raises Failure where it exists."""
        if path.exists():
            message = t(f"{path} は既にあります。別の名前を指定してください。", f"{path} exists; choose another name.")
            raise Failure(ExitCode.CONFLICT, message)
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}")
        self._files: dict[str, BinaryIO] = {}

    def add(self, name: str, data: str) -> None:
        """Append a part (base64) to a file; raises Failure for a name that is none, OSError."""
        if not _NAME.fullmatch(name):
            raise Failure(ExitCode.FAILED, t(f"ファイル名ではありません: {name}", f"no file name: {name}"))
        file = self._files.get(name)
        if file is None:
            target = self._partial / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._files[name] = target.open("xb")
        file.write(base64.b64decode(data, validate=True))

    def keep(self, digest: str) -> None:
        """Give the bundle its name; raises Failure where its manifest is not the one of `digest`, OSError."""
        self._close()
        if hashlib.sha256((self._partial / "manifest.json").read_bytes()).hexdigest() != digest:
            message = t("目録が送られてきた値と違います。", "the manifest is not the one that was announced.")
            raise Failure(ExitCode.INTEGRITY, message)
        if self._path.suffix != ".zip":
            self._partial.rename(self._path)
            return
        packed = self._partial.with_name(self._partial.name + ".zip")
        try:
            with zipfile.ZipFile(packed, "x", zipfile.ZIP_DEFLATED) as archive:
                for name in sorted(self._files):
                    archive.write(self._partial / name, f"{self._path.stem}/{name}")
            packed.chmod(0o600)
            packed.rename(self._path)
        finally:
            packed.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave nothing but what was kept."""
        self._close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def _close(self) -> None:
        for file in self._files.values():
            file.close()


@contextmanager
def arriving(path: Path) -> Iterator[BundleFiles]:
    """The files of a bundle while it arrives; an OSError becomes a Failure that names the file."""
    files = BundleFiles(path)
    try:
        yield files
    except OSError as error:
        raise Failure(ExitCode.FAILED, f"{error.filename or path}: {error.strerror}") from error
    finally:
        files.discard()
