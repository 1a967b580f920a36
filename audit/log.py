"""The transparency log on disk: C2SP tlog-tiles under one folder.

`checkpoint` is the signed head. `tile/<L>/<N>` holds 256 hashes of level 8·L, `tile/<L>/<N>.p/<W>` the first W of one
that is not full yet; `tile/entries/<N>[.p/<W>]` the entries themselves, each as uint16 length and 32 bytes.
`places` tells which record each leaf is (`<index> <writer> <epoch> <seq> <count>` a line, a later line overrides): it
is a convenience for naming records and is never trusted.

Tiles are written before anything that refers to them; what lies beyond the size of the last checkpoint was never
promised to anyone and may be written again with other content after a crash.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from audit import durable
from audit.merkle import Frontier, prefixed, roots_of_full

WIDTH: Final = 256
ENTRY_SIZE: Final = 32
_LENGTH: Final = ENTRY_SIZE.to_bytes(2)
STRIDE: Final = ENTRY_SIZE + len(_LENGTH)
"""Bytes of one entry in an entry bundle, its length before it."""


class LogDamaged(Exception):
    """A tile or an entry bundle is missing or malformed."""


def tile_name(number: int) -> str:
    """Return a tile's index as the path of C2SP tlog-tiles: 1234067 → `x001/x234/067`."""
    parts = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        parts.append(f"x{number % 1000:03d}")
    return "/".join(reversed(parts))


def _path(folder: Path, number: int, width: int) -> Path:
    name = tile_name(number)
    return folder / name if width == WIDTH else folder / f"{name}.p" / str(width)


class TileLog:
    """The growing log. `append` is in memory; `flush` makes all tiles up to the present size durable."""

    def __init__(self, folder: Path, size: int = 0) -> None:
        """Resume at `size` leaves; raises `LogDamaged` when the tiles of that size are not there."""
        self.folder = folder
        self.prefixed = prefixed  # what hashes many leaves or nodes: this, or what does the same faster
        self.size = size
        self._rows = [bytearray(_row(folder, level, size)) for level in range(_levels(size))]  # hashes, level by level
        self._bundle = bytearray().join(_bundle(folder, size // WIDTH, size % WIDTH) if size % WIDTH else ())
        self._full: list[tuple[Path, bytes]] = []
        self._flushed = size

    def append(self, entry: bytes) -> None:
        """Add one 32-byte entry as the next leaf."""
        self.extend(entry)

    def extend(self, entries: bytes) -> None:
        """Add entries of 32 bytes, one behind the other, as the next leaves."""
        start = 0
        while start < len(entries):
            end = start + (WIDTH - self.size % WIDTH) * ENTRY_SIZE
            part = entries[start:end]
            start = end
            self._bundle += part
            self.size += len(part) // ENTRY_SIZE
            if len(self._bundle) == WIDTH * ENTRY_SIZE:
                number = self.size // WIDTH - 1
                self._full.append((_path(self.folder / "tile/entries", number, WIDTH), _packed(self._bundle)))
                self._bundle.clear()
            self._push(self.prefixed(b"\0", part, ENTRY_SIZE))

    def _push(self, nodes: bytes) -> None:
        """Add hashes of leaves, no more than the lowest tile has room for."""
        level = 0
        while True:
            if level == len(self._rows):
                self._rows.append(bytearray())
            row = self._rows[level]
            row += nodes
            if len(row) < WIDTH * ENTRY_SIZE:
                return
            number = (self.size >> (8 * level)) // WIDTH - 1
            full = bytes(row)
            self._full.append((_path(self.folder / f"tile/{level}", number, WIDTH), full))
            nodes, level = roots_of_full(full, WIDTH, self.prefixed), level + 1
            row.clear()

    def root(self) -> bytes:
        """Return the root hash at the present size."""
        return _frontier(self.size, self._rows).root()

    def flush(self) -> None:
        """Write every tile that changed; they are durable when this returns."""
        if self.size == self._flushed:
            return
        full, self._full = self._full, []
        pending = list(full)
        if self._bundle:
            pending.append(
                (_path(self.folder / "tile/entries", self.size // WIDTH, self.size % WIDTH), _packed(self._bundle))
            )
        for level, row in enumerate(self._rows):
            if row and self.size >> (8 * level) != self._flushed >> (8 * level):
                number = (self.size >> (8 * level)) // WIDTH
                width = len(row) // ENTRY_SIZE
                pending.append((_path(self.folder / f"tile/{level}", number, width), bytes(row)))
        folders = {path.parent for path, _ in pending}
        for folder in folders:
            durable.make_directory(folder)
        durable.replace_all(pending)
        for folder in folders:
            durable.sync_directory(folder)
        self._flushed = self.size
        for path, _ in full:  # a full tile makes its partial ones superfluous; most had none
            partial = f"{path}.p"
            if os.path.exists(partial):  # noqa: PTH110 (asked for each tile)
                shutil.rmtree(partial, ignore_errors=True)


def entries(folder: Path, size: int) -> Iterator[bytes]:
    """Yield the entries of the first `size` leaves; raises `LogDamaged`."""
    for number in range(size // WIDTH):
        yield from _bundle(folder, number, WIDTH)
    if size % WIDTH:
        yield from _bundle(folder, size // WIDTH, size % WIDTH)


def root_at(folder: Path, size: int) -> bytes:
    """Return the root hash that the stored tiles give at `size`; raises `LogDamaged`."""
    return _frontier(size, [_row(folder, level, size) for level in range(_levels(size))]).root()


def place_of(folder: Path, index: int) -> tuple[str, int, int] | None:
    """Return (writer, epoch, seq) of leaf `index` as `places` tells it, None when it does not."""
    found = None
    path = folder / "places"
    if not path.exists():
        return None
    with path.open() as file:
        for line in file:
            parts = line.split()
            if len(parts) != 5 or not all(part.isdecimal() for part in (parts[0], *parts[2:])):
                continue
            start, epoch, seq, count = int(parts[0]), int(parts[2]), int(parts[3]), int(parts[4])
            if start <= index < start + count:
                found = (parts[1], epoch, seq + index - start)
    return found


def _levels(size: int) -> int:
    return max(1, (size.bit_length() + 7) // 8)


def _row(folder: Path, level: int, size: int) -> bytes:
    """Return the hashes of the tile that is not full yet, one behind the other."""
    count = size >> (8 * level)
    width = count % WIDTH
    if not width:
        return b""
    data = read_tile(folder / f"tile/{level}", count // WIDTH, width)
    if len(data) % ENTRY_SIZE or len(data) < width * ENTRY_SIZE:
        name = f"tile/{level}/{tile_name(count // WIDTH)}"
        raise LogDamaged(f"{name}: got {len(data)} bytes, expected {width * ENTRY_SIZE}")
    return data[: width * ENTRY_SIZE]


def _bundle(folder: Path, number: int, width: int) -> Iterator[bytes]:
    data = read_tile(folder / "tile/entries", number, width)
    if len(data) < width * STRIDE:
        raise LogDamaged(f"tile/entries/{tile_name(number)}: got {len(data)} bytes, expected {width * STRIDE}")
    for at in range(0, width * STRIDE, STRIDE):
        if data[at : at + 2] != _LENGTH:
            raise LogDamaged(f"tile/entries/{tile_name(number)}: an entry is not {ENTRY_SIZE} bytes long")
        yield data[at + 2 : at + STRIDE]


def read_tile(folder: Path, number: int, width: int) -> bytes:
    """Return a tile's bytes: the partial one of this width, else the full one, of which it is the start.

    `folder` is `tile/<level>` or `tile/entries` of a log; raises `LogDamaged` where neither is there.
    """
    for path in (_path(folder, number, width), _path(folder, number, WIDTH)):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            continue
    raise LogDamaged(f"{folder.name}/{tile_name(number)}: missing")


def _packed(bundle: bytes | bytearray) -> bytes:
    return b"".join([_LENGTH + bundle[at : at + ENTRY_SIZE] for at in range(0, len(bundle), ENTRY_SIZE)])


def _frontier(size: int, rows: Sequence[bytes | bytearray]) -> Frontier:
    roots: list[bytes] = []
    for row in reversed(rows):
        start, count = 0, len(row) // ENTRY_SIZE
        for bit in reversed(range(8)):
            if count & 1 << bit:
                end = start + (ENTRY_SIZE << bit)
                roots.append(roots_of_full(bytes(row[start:end]), 1 << bit))
                start = end
    return Frontier(size, roots)
