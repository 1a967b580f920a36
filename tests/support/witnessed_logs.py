"""Small logs for a witness: a tree of numbered leaves, its checkpoints and the requests that submit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.checkpoint import Checkpoint, Signer
from audit.merkle import leaf_hash, root_of
from audit.witness.protocol import Submission


@dataclass(frozen=True)
class SmallLog:
    """A log whose leaf `n` is `<name><n>`; from `fork` on the leaves are others."""

    signer: Signer
    fork: int = 1_000_000

    def leaves(self, size: int) -> list[bytes]:
        return [leaf_hash(b"%d%s" % (at, b"" if at < self.fork else b" forged")) for at in range(size)]

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.signer.name, size, root_of(self.leaves(size)))

    def note(self, size: int) -> str:
        return self.signer.sign(self.checkpoint(size))

    def request(self, old: int, size: int) -> bytes:
        """Return the body of the request that goes from `old` to `size`, with the true proof of this log."""
        return Submission(old, tuple(consistency(old, self.leaves(size))), self.note(size)).encode()


def consistency(old: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the proof by the definition of RFC 6962 §2.1.2, recursive: an oracle, not the program's way."""
    if old == 0 or old == len(leaves):
        return []
    return _subproof(old, leaves, whole=True)


def _subproof(old: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    count = len(leaves)
    if old == count:
        return [] if whole else [root_of(leaves)]
    split = 1 << (count - 1).bit_length() - 1
    if old <= split:
        return [*_subproof(old, leaves[:split], whole=whole), root_of(leaves[split:])]
    return [*_subproof(old - split, leaves[split:], whole=False), root_of(leaves[:split])]
