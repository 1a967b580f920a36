"""One bit of a trail changed at a time, and the whole verification asked each time."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from backports import zstd

from audit.checkpoint import CheckpointInvalid, Verifier, generate
from audit.event import Action, event
from audit.keeping.compressing import compress
from audit.seekable import table, unpacked
from audit.segment import COMPRESSED, segments, writers
from audit.verify import IntegrityError, verify_journals
from tests.support.trails import Trail

NOTES = frozenset({"places", "auditor.json", "lock"})
"""Files of a log that nothing is proved by: the auditor's own notes and its lock."""
_NOT_FOUND: Final = "not found"


@dataclass(frozen=True)
class Flip:
    """One bit of one file."""

    path: Path  # under the trail's folder
    bit: int

    def __str__(self) -> str:
        return f"{self.path} byte {self.bit // 8} bit {self.bit % 8}"


def files(root: Path) -> list[Path]:
    """Return every file that the proof rests on, relative to the trail's folder (`journal`, `log`)."""
    found = [path for path in root.rglob("*") if path.is_file()]
    return sorted(path.relative_to(root) for path in found if path.name not in NOTES)


def every(root: Path) -> Iterator[Flip]:
    """Yield every bit of the trail."""
    for path in files(root):
        yield from (Flip(path, bit) for bit in range((root / path).stat().st_size * 8))


def some(root: Path, count: int, seed: int) -> list[Flip]:
    """Return `count` bits, each as likely as any other; the same for the same seed."""
    sizes = [(path, (root / path).stat().st_size * 8) for path in files(root)]
    chance = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    return [
        Flip(path, chance.randrange(size))
        for path, size in chance.choices(sizes, weights=[size for _, size in sizes], k=count)
    ]


def survivors(root: Path, verifier: Verifier, flips: Iterable[Flip]) -> tuple[list[str], int]:
    """Flip each bit, verify, and put it back; return those that were not found, or by which another file was named.

    Not among them, only counted: bits of a compressed segment that its records do not depend on. Zstandard has such
    bits; whoever decompresses the file, by our table or as one stream, reads the same records.
    """
    missed: list[str] = []
    harmless = 0
    for flip in flips:
        path = root / flip.path
        path.chmod(0o600)
        before = readings(path)
        at, changed = divmod(flip.bit, 8)
        with path.open("r+b", buffering=0) as file:
            file.seek(at)
            (byte,) = file.read(1)
            _put(file, at, byte ^ 1 << changed)
            try:
                told = _verified(root, verifier, flip)
                if told == _NOT_FOUND and before and readings(path) == before:
                    told, harmless = "", harmless + 1
            finally:
                _put(file, at, byte)
        if told:
            missed.append(f"{flip}: {told}")
    return missed, harmless


def readings(path: Path) -> tuple[bytes, ...]:
    """Return what a compressed segment holds, as we read it and as any other reader does; nothing of another file."""
    if not path.name.endswith(COMPRESSED):
        return ()
    return b"".join(unpacked(path, table(path))), zstd.decompress(path.read_bytes())


def _put(file: FileIO, at: int, byte: int) -> None:
    file.seek(at)
    file.write(bytes((byte,)))


def _verified(root: Path, verifier: Verifier, flip: Flip) -> str:
    kind, *inside = flip.path.parts
    try:
        verify_journals(root / "journal", root / "log", verifier)
    except IntegrityError as error:
        named = error.segment if kind == "log" else f"{error.writer}/{error.segment}"
        return "" if named == "/".join(inside) else f"another file is named: {error}"
    except CheckpointInvalid as error:
        return "" if inside == ["checkpoint"] else f"another file is named: {error}"
    return _NOT_FOUND


def small(root: Path, *, compressed: bool) -> Trail:
    """Return a trail of about a hundred short records: two writers, two epochs, partial tiles of two sizes."""
    trail = Trail(root / "journal", root / "log", generate("log.example"))
    for writer in ("w0", "w1"):
        trail.write(writer, [event(Action.REQUEST_DECIDED, at, {"user.name": "sato"}) for at in range(47)], 6000)
    trail.sign()
    trail.write("w1", [event(Action.REQUEST_DECIDED, 100.0 + at, {"user.name": "kato"}) for at in range(3)])
    trail.sign()
    if compressed:
        for writer in writers(trail.journals):
            for segment in segments(trail.journals / writer):
                while not compress(segment):
                    continue
    return trail
