"""What an attacker with the disk can do: change records and mend the chain behind them, rebuild a log, go back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from audit import stored
from audit.checkpoint import Checkpoint, Signer, generate
from audit.keeping.compressing import compress
from audit.log import TileLog
from audit.seekable import packed
from audit.segment import COMPRESSED, GENESIS, Link, body_of, name_of, segments, writers
from tests.support.trails import Trail, decision

ACTS = (
    "edit",
    "delete",
    "insert",
    "reorder",
    "truncate",
    "roll back",
    "fork",
    "re-sign",
    "re-sign with the stolen key",
)
Lines = list[bytes]
_PREV = re.compile(rb'"seq":\d+,"prev":"[0-9a-f]{64}"')


@dataclass(frozen=True)
class Signed:
    """A trail of which everything is covered, as it is now and as it was before its last records."""

    now: Trail
    before: Trail

    @property
    def kept(self) -> Checkpoint:
        """The checkpoint that somebody else has, too."""
        return self.now.signer.verifier.open((self.now.log / "checkpoint").read_text())

    def copy(self, folder: Path) -> Signed:
        """Return a copy to tamper with."""
        return Signed(_copy(self.now, folder / "now"), _copy(self.before, folder / "before"))


def signed(folder: Path, *, compressed: bool) -> Signed:
    """Return a trail of two writers, two epochs and several segments, with full and partial tiles."""
    now = Trail(folder / "journal", folder / "log", generate("log.example"))
    now.write("worker-0", [decision(at) for at in range(140)], 9000)
    now.write("worker-1", [decision(1000 + at) for at in range(140)], 9000)
    now.sign()
    before = _copy(now, folder / "before")
    now.write("worker-0", [decision(140 + at) for at in range(20)])
    now.sign()
    if compressed:
        for trail in (now, before):
            for writer in writers(trail.journals):
                for segment in segments(trail.journals / writer):
                    while not compress(segment):
                        continue
    return Signed(now, before)


def _copy(trail: Trail, folder: Path) -> Trail:
    shutil.copytree(trail.journals, folder / "journal")
    shutil.copytree(trail.log, folder / "log")
    return replace(trail, journals=folder / "journal", log=folder / "log")


def lines_in(trail: Trail, number: int, writer: str = "worker-0") -> Lines:
    """Return the lines of a segment in whichever form it is stored."""
    return list(stored.lines(segments(trail.journals / writer)[number]))


def put(trail: Trail, number: int, lines: Lines, writer: str = "worker-0") -> tuple[str, str]:
    """Replace a segment's lines, in the form that it has; returns its writer and file."""
    segment = segments(trail.journals / writer)[number]
    write(segment.path, b"".join(packed(lines)) if segment.form == COMPRESSED else b"".join(lines))
    return writer, segment.path.name


def write(path: Path, data: bytes) -> None:
    """Replace a file, sealed or not."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def rewrite(trail: Trail, change: Callable[[Lines], None], number: int, writer: str = "worker-0") -> tuple[str, str]:
    """Change a segment's lines and mend every number and link behind them, in all later files; as `put`."""
    found = segments(trail.journals / writer)
    form = found[0].form
    contents = [list(stored.lines(segment)) for segment in found]
    change(contents[number])
    link = Link(0, 0, GENESIS)
    for segment, lines in zip(found, contents, strict=True):
        segment.path.unlink()
        if segment.epoch != link.epoch:
            link = Link(segment.epoch, 0, link.entry)
        first = link.seq + 1
        mended: Lines = []
        for line in lines:
            relinked, link = _relinked(line, link)
            mended.append(relinked)
        data = b"".join(packed(mended)) if form == COMPRESSED else b"".join(mended)
        (trail.journals / writer / name_of(segment.epoch, first, form)).write_bytes(data)
    return writer, segments(trail.journals / writer)[number].path.name


def _relinked(line: bytes, after: Link) -> tuple[bytes, Link]:
    line = _PREV.sub(b'"seq":%d,"prev":"%b"' % (after.seq + 1, after.entry.hex().encode()), line, count=1)
    entry = sha256(bytes.fromhex(line[9:41].decode()) + body_of(line)).digest()
    return line, Link(after.epoch, after.seq + 1, entry)


def other_log(trail: Trail, signer: Signer | None = None) -> None:
    """Build the log anew over the journals as they are; signed by `signer`, else with the checkpoint that was there."""
    note = (trail.log / "checkpoint").read_text()
    shutil.rmtree(trail.log)
    if signer is None:
        fresh = replace(trail, signer=generate("log.example"))
        fresh.sign()
        (trail.log / "checkpoint").write_text(note)
    else:
        replace(trail, signer=signer).sign()


def log_over(folder: Path, entries: Lines) -> TileLog:
    """Write the tiles over these entries."""
    log = TileLog(folder)
    for entry in entries:
        log.append(entry)
    log.flush()
    return log


def edit(lines: Lines) -> None:
    """Say that somebody else did it."""
    lines[3] = lines[3].replace(b'"user.name":"sato"', b'"user.name":"kato"')


def delete(lines: Lines) -> None:
    """Take a record away."""
    del lines[3]


def insert(lines: Lines) -> None:
    """Bring in a record that never was."""
    lines.insert(3, lines[3].replace(b'"user.name":"sato"', b'"user.name":"kato"'))


def reorder(lines: Lines) -> None:
    """Let two records change places."""
    lines[3], lines[4] = lines[4], lines[3]


def truncate(lines: Lines) -> None:
    """Forget the last two records."""
    del lines[-2:]
