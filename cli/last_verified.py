"""The checkpoint up to which this operator verified the trail last.

It is kept apart from the log, among the operator's own files: whoever rolls the log back does not reach it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.private_file import read_private, write_private
from cli.trail_files import opened

if TYPE_CHECKING:
    from audit.checkpoint import Checkpoint, Opener


@dataclass(frozen=True, slots=True)
class LastVerified:
    """The file that remembers, one a log."""

    path: Path

    def checkpoint(self, verifier: Opener) -> Checkpoint | None:
        """What was verified last, None the first time; raises Failure where the file is no checkpoint of this key."""
        note = read_private(self.path)
        return None if note is None else opened(note + "\n", self.path, verifier)

    def remember(self, note: str) -> None:
        """Remember the checkpoint that was verified just now; raises Failure."""
        write_private(self.path, note, replace=True)
