"""A few entry bundles, hashed and compared with the tiles of level 0. A piece: see `verifying`."""

from __future__ import annotations

from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final, NamedTuple

from audit.log import ENTRY_SIZE, WIDTH, tile_name
from audit.merkle import roots_of_full
from audit.verifying.chains import LENGTH, STRIDE, unpack
from audit.verifying.hashing import PLAIN, Hashing

AT_ONCE: Final = 32  # bundles in one piece


class Work(NamedTuple):
    """Bundles `first` to `last - 1` of the log of `size` leaves under `log`."""

    log: Path
    first: int
    last: int
    size: int
    hashing: Hashing = PLAIN


class Unlike(NamedTuple):
    """A bundle and its tile of level 0 that do not fit each other."""

    number: int
    entries: bytes  # the leaf hashes of the bundle, 32 bytes each; none where it cannot be read
    tile: bytes  # the leaf hashes that the tile has; likewise
    told: str  # why the bundle cannot be read
    tile_told: str


class Hashed(NamedTuple):
    """What some bundles hold."""

    first: int
    last: int  # behind the last one
    entries: bytes  # `STRIDE` bytes each
    roots: tuple[bytes, ...]  # of the full ones: nodes of level 1
    row: bytes  # the leaf hashes of the last one, where it is not full
    unlike: tuple[Unlike, ...]


def hashed(work: Work) -> Hashed:
    """Hash the entries of some bundles; raises OSError. What does not fit is returned, not raised."""
    read = [_read(work.log, number, min(WIDTH, work.size - number * WIDTH)) for number in range(work.first, work.last)]
    entries = b"".join(each.bundle for each in read)
    rows = _rows(read, work.hashing.prefixed(b"\0", unpack(entries), ENTRY_SIZE))
    unlike = tuple(
        Unlike(number, row, each.tile, each.told, each.tile_told)
        for number, (each, row) in enumerate(zip(read, rows, strict=True), work.first)
        if row != each.tile or each.told or each.tile_told
    )
    full = [row for each, row in zip(read, rows, strict=True) if each.width == WIDTH]
    made = iter(split(roots_of_full(b"".join(full), WIDTH, work.hashing.prefixed)))
    roots = tuple(next(made) if row else b"" for row in full)
    return Hashed(work.first, work.last, entries, roots, rows[-1] if len(full) < len(rows) else b"", unlike)


def _rows(read: list[_Read], leaves: bytes) -> list[bytes]:
    """Return each bundle's part of the leaf hashes."""
    ends = list(accumulate(len(each.bundle) // STRIDE * ENTRY_SIZE for each in read))
    return [leaves[start:end] for start, end in pairwise([0, *ends])]


class _Read(NamedTuple):
    width: int
    bundle: bytes
    told: str
    tile: bytes
    tile_told: str


def _read(log: Path, number: int, width: int) -> _Read:
    return _Read(width, *_bundle(log, number, width), *stored(log, "0", number, width))


def _bundle(log: Path, number: int, width: int) -> tuple[bytes, str]:
    data, told = stored(log, "entries", number, width, STRIDE)
    for at in range(len(LENGTH)):
        if data[at::STRIDE] != LENGTH[at : at + 1] * (len(data) // STRIDE):
            return b"", f"got an entry that is not {ENTRY_SIZE} bytes long"
    return data, told


def stored(log: Path, kind: str, number: int, width: int, stride: int = ENTRY_SIZE) -> tuple[bytes, str]:
    """Return a tile's bytes, of its first `width` items, and what is wrong with it (then it has no bytes).

    `kind` is a level or `entries`. A partial tile has exactly its width's bytes; the full one, which may stand in for
    it, those of 256 items. Raises OSError.
    """
    full = log / "tile" / kind / tile_name(number)
    for items in dict.fromkeys((width, WIDTH)):
        path = full if items == WIDTH else full.with_name(full.name + ".p") / str(items)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        if len(data) != items * stride:
            return b"", f"got {len(data)} bytes, expected {items * stride}"
        return data[: width * stride], ""
    return b"", "missing"


def split(hashes: bytes) -> list[bytes]:
    """Return the 32-byte hashes that stand one after the other."""
    return [hashes[at : at + ENTRY_SIZE] for at in range(0, len(hashes), ENTRY_SIZE)]


def path_of(kind: str, number: int, width: int) -> str:
    """Return a tile's name under the log's folder, for people."""
    name = f"tile/{kind}/{tile_name(number)}"
    return name if width == WIDTH else f"{name}.p/{width}"
