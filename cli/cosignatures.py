"""Up to where, and until when, a witness vouches for the log: offline, with the witness's public key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.files import read_text
from cli.language import t
from cli.moments import age, shown
from cli.trail_files import TrailFiles, opened

if TYPE_CHECKING:
    from audit.checkpoint import Checkpoint, WitnessKey


def cosigned_by(files: TrailFiles, keys: Sequence[str], now: float) -> tuple[list[Checkpoint], list[str]]:
    """Return the latest checkpoint that each witness cosigned, which the tree must contain, and words about it.

    Raises Failure: usage for what is no witness's key, integrity where one of them cosigned nothing that is stored.
    """
    from audit.checkpoint import read_witness_key

    checkpoints, said = [], []
    for text in keys:
        try:
            witness = read_witness_key(text)
        except ValueError as error:
            raise Failure(ExitCode.USAGE, f"--witness {text}: {error}") from error
        found = _latest(files, witness)
        if found is None:
            message = t(f"証人 {witness.name} の連署がありません。", f"no cosignature by the witness {witness.name}.")
            raise Failure(ExitCode.INTEGRITY, message)
        checkpoint, time = found
        checkpoints.append(checkpoint)
        passed = age(max(0.0, now - time))
        said.append(t(f"証人 {witness.name} は {checkpoint.size} 件までを {shown(time)} ({passed}前) に連署しました。",
                      f"{witness.name} cosigned {checkpoint.size} at {shown(time)}, {passed} ago."))  # fmt: skip
    return checkpoints, said


def _latest(files: TrailFiles, witness: WitnessKey) -> tuple[Checkpoint, int] | None:
    """The larger of what `checkpoint` and `cosigned` have of this witness; a busy log's newest has none yet."""
    from audit.checkpoint import CheckpointInvalid, cosigned

    best: tuple[Checkpoint, int] | None = None
    for name in ("cosigned", "checkpoint"):
        path = files.log / name
        if not path.is_file():
            continue
        note = read_text(path)
        try:
            time = cosigned(note, witness)
        except CheckpointInvalid:
            continue
        checkpoint = opened(note, path, files.verifier().past)
        if best is None or best[0].size <= checkpoint.size:
            best = checkpoint, time
    return best
