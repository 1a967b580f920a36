"""The files of a trail on this machine: journals, log and public key. Proofs need these and no server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.call import Call
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.files import read_text
from cli.language import t

if TYPE_CHECKING:
    from audit.checkpoint import Checkpoint, Opener, Verifier
    from audit.rotation import Succession

JournalFolder = Annotated[Path | None, typer.Option("--journal", help=t("記録の場所", "journal folder"))]
LogFolder = Annotated[Path | None, typer.Option("--log", help=t("Merkle ログの場所", "log folder"))]
KeyFile = Annotated[Path | None, typer.Option("--key", help=t("公開鍵 (既定は設定の場所)", "public key"))]


@dataclass(frozen=True, slots=True)
class TrailFiles:
    """Where a trail lies, and the key that its checkpoints must be signed with."""

    journal: Path
    log: Path
    key: Path

    def verifier(self) -> Succession:
        """The public key, and the keys that the log's rotations lead to from it; raises Failure."""
        from audit.rotation import succession

        with succession_told():
            return succession(self.log, key_in(self.key))

    def latest(self) -> tuple[str, Checkpoint]:
        """The log's latest checkpoint: its text and what it says; raises Failure, integrity where it is not signed."""
        path = self.log / "checkpoint"
        if not path.is_file():
            message = t("チェックポイントはまだありません。", "there is no checkpoint yet.")
            raise Failure(ExitCode.NOT_FOUND, message, [str(path)])
        note = read_text(path)
        return note, opened(note, path, self.verifier())


def trail_files(call: Call, journal: Path | None, log: Path | None, key: Path | None) -> TrailFiles:
    """Return what was given, and the installation's for the rest."""
    if journal is None or log is None or key is None:
        settings = call.place.settings()
        journal = journal or settings.paths.journal
        log = log or settings.paths.log
        key = key or settings.paths.keys / "checkpoint.pub"
    return TrailFiles(journal, log, key)


@contextmanager
def succession_told() -> Iterator[None]:
    """Tell people what is wrong where the keys of a log do not follow each other."""
    from audit.rotation import SuccessionInvalid

    try:
        yield
    except SuccessionInvalid as error:
        message = t("鍵の引き継ぎが正しくありません。", "the succession of the keys does not hold.")
        raise Failure(ExitCode.INTEGRITY, message, [str(error)]) from error


def key_in(path: Path) -> Verifier:
    """The public key in a file; raises Failure."""
    from audit.checkpoint import read_verifier

    try:
        return read_verifier(read_text(path).strip())
    except ValueError as error:
        raise Failure(ExitCode.FAILED, f"{path}: {error}") from error


def opened(note: str, path: Path, verifier: Opener) -> Checkpoint:
    """The checkpoint that a note proves; raises Failure (integrity) naming the file."""
    from audit.checkpoint import CheckpointInvalid

    try:
        return verifier.open(note)
    except CheckpointInvalid as error:
        message = t(f"{path}: チェックポイントの署名が正しくありません。", f"{path}: the checkpoint does not verify.")
        raise Failure(ExitCode.INTEGRITY, message, [str(error)]) from error
