"""Compresses a sealed segment. Synchronous; `audit.keeping.keeper` calls it for segments that a checkpoint covers.

Order of steps, and why a crash between any two is harmless:

1. `.jsonl.zst.tmp` is written and synced. A crash leaves a file that no reader looks at; the next try replaces it.
2. What was written is decompressed and compared, byte by byte, with the plain segment.
3. It is renamed to `.jsonl.zst` and the folder is synced. Both are there now, and the plain one counts
   (`segment.FORMS`), so nothing changed for anyone.
4. In a later look both are compared once more, from their final names; only then the plain one goes and the folder is
   synced. Whoever lists the folder meanwhile finds at least one of them.

The code that goes on after a crash is the code that goes on after a pause: `compress` looks what is there.
"""

from __future__ import annotations

import os
from pathlib import Path

from audit import durable
from audit.seekable import SegmentDamaged, packed, table, unpacked
from audit.segment import COMPRESSED, PLAIN, Segment


class NotEqual(Exception):
    """What was compressed does not give back what it was made from: the plain segment stays."""


def compress(segment: Segment) -> bool:
    """Take the next step with a plain segment; return whether only its compressed form is left now.

    Raises `NotEqual`, OSError; FileNotFoundError when a bounded writer deleted the segment meanwhile.
    """
    plain, made = segment.under(PLAIN).path, segment.under(COMPRESSED).path
    if made.exists() and _same(plain, made):
        plain.unlink()
        durable.sync_directory(plain.parent)
        return True
    temporary = made.with_name(made.name + ".tmp")
    _write(plain, temporary)
    if not _same(plain, temporary):
        temporary.unlink()
        raise NotEqual(f"{plain.parent.name}/{plain.name}: what was compressed does not give its bytes back")
    temporary.rename(made)
    durable.sync_directory(made.parent)
    if not plain.exists():  # its writer deleted it, on record, while it was being compressed
        made.unlink(missing_ok=True)
        durable.sync_directory(made.parent)
        raise FileNotFoundError(str(plain))
    return False


def _write(plain: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with plain.open("rb") as lines:
        descriptor = durable.create(target)
        try:
            for part in packed(lines):
                durable.write_all(descriptor, part)
            os.fchmod(descriptor, 0o400)
            os.fsync(descriptor)
        finally:
            durable.close(descriptor)


def _same(plain: Path, made: Path) -> bool:
    """Tell whether `made` decompresses to exactly the bytes of `plain`; a frame of both is in memory at a time."""
    with plain.open("rb") as lines:
        try:
            for part in unpacked(made, table(made)):
                if lines.read(len(part)) != part:
                    return False
        except SegmentDamaged:
            return False
        return not lines.read(1)
