"""Lines compressed by Zstandard so that any part can be read alone: the "zstd seekable format", version 0.1.0.

Frames (RFC 8878), each `FRAME` bytes of whole lines with its size and a checksum, then one skippable frame with the
sizes of all of them (facebook/zstd, contrib/seekable_format/zstd_seekable_compression_format.md). `zstd -d` reads it as
it reads any other file. Independent frames instead of one: a search that comes from the end, and a reader that goes on
in the middle, decompress what they need and hold one frame in memory, however long the file is.

The table has to account for every byte of the file, and each frame for every byte it claims: so reading by the table
and reading from the start never differ, and a file that was tampered with cannot hold a second text.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from backports import zstd

FRAME: Final = 1 << 20  # bytes of lines in a frame, unless one line is longer
LEVEL: Final = 1  # on journals as good as level 9 (8.8 : 1, salts and digests stay) for a seventh of its CPU
_LARGEST: Final = 4 * FRAME  # bytes that one frame may claim: it holds at most `FRAME` and one line
_WINDOW: Final = 23  # log2 of the most memory that a frame may ask for: 8 MiB, what RFC 8878 asks of every decoder

_SKIPPABLE: Final = 0x184D2A5E
_SEEKABLE: Final = 0x8F92EAB1
_HEADER: Final = struct.Struct("<II")  # magic, size of what follows
_ENTRY: Final = struct.Struct("<II")  # compressed size, decompressed size
_FOOTER: Final = struct.Struct("<IBI")  # number of frames, descriptor, magic
_COMPRESS: Final[dict[int, int]] = {
    zstd.CompressionParameter.compression_level: LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
    zstd.CompressionParameter.content_size_flag: 1,
}
_DECOMPRESS: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: _WINDOW}


class SegmentDamaged(OSError):
    """A stored segment cannot be read: its bytes are not what was written."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(errno.EIO, what, str(path))


class Frame(NamedTuple):
    """Where one frame stands, compressed and plain; both in bytes."""

    at: int
    size: int
    start: int
    length: int

    @property
    def end(self) -> int:
        """The plain offset behind it."""
        return self.start + self.length


def packed(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the file's parts, one a frame and the table last; `lines` end in newlines and are not changed."""
    sizes: list[tuple[int, int]] = []
    for plain in _frames_of(lines):
        frame = zstd.compress(plain, options=_COMPRESS)
        sizes.append((len(frame), len(plain)))
        yield frame
    entries = b"".join(_ENTRY.pack(*each) for each in sizes)
    yield _HEADER.pack(_SKIPPABLE, len(entries) + _FOOTER.size) + entries + _FOOTER.pack(len(sizes), 0, _SEEKABLE)


def _frames_of(lines: Iterable[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        if waiting and size + len(line) > FRAME:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(line)
        size += len(line)
    if waiting:
        yield b"".join(waiting)


def table(path: Path) -> tuple[Frame, ...]:
    """Return the frames of a file in order; raises FileNotFoundError, OSError, `SegmentDamaged`."""
    with path.open("rb") as file:
        return _table(path, file)


def _table(path: Path, file: BinaryIO) -> tuple[Frame, ...]:
    total = file.seek(0, os.SEEK_END)
    if total < _HEADER.size + _FOOTER.size:
        raise SegmentDamaged(path, f"{total} bytes, too short for a compressed segment")
    file.seek(total - _FOOTER.size)
    count, descriptor, magic = _FOOTER.unpack(file.read(_FOOTER.size))
    if magic != _SEEKABLE:
        raise SegmentDamaged(path, f"ends in {magic:#010x}, expected the seek table's magic number {_SEEKABLE:#010x}")
    if descriptor != 0:
        raise SegmentDamaged(path, f"seek table of kind {descriptor:#04x}, expected 0x00 (no checksums of its own)")
    size = count * _ENTRY.size + _FOOTER.size
    start = total - size - _HEADER.size
    if start < 0:
        raise SegmentDamaged(path, f"the seek table names {count} frames, more than the file can hold")
    file.seek(start)
    if _HEADER.unpack(file.read(_HEADER.size)) != (_SKIPPABLE, size):
        raise SegmentDamaged(path, "the seek table's frame does not begin where it should")
    frames: list[Frame] = []
    at = plain = 0
    for packed_size, length in _ENTRY.iter_unpack(file.read(size - _FOOTER.size)):
        frames.append(Frame(at, packed_size, plain, length))
        at, plain = at + packed_size, plain + length
    if at != start:
        raise SegmentDamaged(path, f"the seek table accounts for {at} bytes of {start}")
    return tuple(frames)


def unpacked(path: Path, frames: Iterable[Frame]) -> Iterator[bytes]:
    """Yield the plain bytes of these frames; raises FileNotFoundError, OSError, `SegmentDamaged`."""
    with path.open("rb") as file:
        for frame in frames:
            if frame.length > _LARGEST:
                raise SegmentDamaged(path, f"a frame claims {frame.length} bytes, expected at most {_LARGEST}")
            file.seek(frame.at)
            data = file.read(frame.size)
            decompressor = zstd.ZstdDecompressor(options=_DECOMPRESS)
            try:
                plain = decompressor.decompress(data, max_length=frame.length + 1)
            except zstd.ZstdError as error:
                raise SegmentDamaged(path, f"the frame at byte {frame.at}: {error}") from error
            if not decompressor.eof or decompressor.unused_data or len(plain) != frame.length:
                raise SegmentDamaged(path, f"the frame at byte {frame.at} does not hold the {frame.length} bytes named")
            yield plain
