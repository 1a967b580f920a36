"""A few entry bundles, hashed and compared with the tiles of level 0. A piece: see `verifying`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from audit.log import ENTRY_SIZE, WIDTH, tile_name
from audit.merkle import root_of_full, sha256_short
from audit.verifying.chains import LENGTH, STRIDE

AT_ONCE: Final = 32  # bundles in one piece


class Work(NamedTuple):
    """Bundles `first` to `last - 1` of the log of `size` leaves under `log`."""

    log: Path
    first: int
    last: int
    size: int


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
    found: list[bytes] = []
    roots: list[bytes] = []
    unlike: list[Unlike] = []
    row = b""
    for number in range(work.first, work.last):
        width = min(WIDTH, work.size - number * WIDTH)
        bundle, told = _bundle(work.log, number, width)
        tile, tile_told = stored(work.log, "0", number, width)
        starts = range(len(LENGTH), len(bundle), STRIDE)
        leaves = [sha256_short(b"\0" + bundle[at : at + ENTRY_SIZE]).digest() for at in starts]
        row = b"".join(leaves)
        if row != tile or told or tile_told:
            unlike.append(Unlike(number, row, tile, told, tile_told))
        found.append(bundle)
        if width == WIDTH:
            roots.append(root_of_full(leaves) if leaves else b"")
            row = b""
    return Hashed(work.first, work.last, b"".join(found), tuple(roots), row, tuple(unlike))


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
