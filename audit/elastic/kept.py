"""Whether a checkpoint that the copy keeps is one that our log signed and still leads to.

This is what the copy is for in promise P5: whoever truncates, rolls back or forks the trail on this machine has to
change what another machine keeps. The public key and the stored tiles are all that is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from audit.checkpoint import CheckpointInvalid, Opener
from audit.elastic.checkpoints import checkpoint_document
from audit.elastic.copy import Stored
from audit.elastic.differences import Kind
from audit.log import LogDamaged, root_at

Judge = Callable[[Stored], tuple[Kind, str] | None]


def judge_of(log: Path, opener: Opener) -> Judge:
    """Return what says in which way a stored checkpoint is wrong, None where it is right.

    `opener` is the key, or `audit.rotation.Succession.past`: the copy keeps what earlier keys signed.
    """

    def judge(stored: Stored) -> tuple[Kind, str] | None:
        text = stored.body.get("sekisho.checkpoint.text")
        if not isinstance(text, str):
            return Kind.FOREIGN, "no signed text"
        try:
            checkpoint = opener.open(text)
        except CheckpointInvalid as fault:
            return Kind.FOREIGN, str(fault)
        try:
            root = root_at(log, checkpoint.size)
        except LogDamaged as fault:
            return Kind.CHECKPOINT, f"the log has no {checkpoint.size} entries: {fault}"
        if root != checkpoint.root:
            return Kind.CHECKPOINT, f"root at size {checkpoint.size}: got {root.hex()}, signed {checkpoint.root.hex()}"
        ours = checkpoint_document(text, 0.0)
        if stored.id != ours.id or _timeless(stored.body) != _timeless(ours.body):
            return Kind.CHANGED, "the fields beside the signed text are not those of its size"
        return None

    return judge


def _timeless(body: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if name != "@timestamp"}
