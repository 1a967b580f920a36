"""How much room a file system has, and how much of it one journal leaves to those that matter more.

Every journal has a `Reserve`: below its first floor only what others wait for is kept (the journal is *sparing*),
below its second nothing is (it *refuses*). Floors fall from strangers over staff to administration and to what holds
everything together, so that a disk that fills stops them in this order, and each before a write fails. A floor is a
share of the file system, but never more than a number of bytes: a tenth of a large disk would stand empty (as
Elasticsearch's `disk.watermark.*.max_headroom` does). What is left once a floor was passed is taken again only with a
quarter more than the floor, so that a disk at its floor does not flap.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

LOOK_EACH: Final = 1.0  # seconds between two looks
_UNLOOKED: Final = 4 * 2**20  # bytes after which a writer looks before that
_BACK: Final = 1.25  # times the floor that must be free before it counts as kept again
_NODES: Final = 10_000  # files that a floor asks for at most


@dataclass(frozen=True, slots=True)
class Room:
    """One look at a file system: bytes and files (inodes), all of them and those still free to a user."""

    total: int
    free: int
    nodes: int  # 0: the file system does not count them
    free_nodes: int

    @property
    def used(self) -> float:
        """The share in use, from 0 to 1, as df(1) shows it: of bytes or of files, whichever is more."""
        by_files = 1 - self.free_nodes / self.nodes if self.nodes else 0.0
        return max(1 - self.free / self.total if self.total else 1.0, by_files)


@dataclass(frozen=True, slots=True)
class Floor:
    """What must stay free: a share (0 to 1) of the file system, at most `most` bytes."""

    share: float
    most: int

    def kept(self, room: Room, times: float = 1.0) -> bool:
        """Whether at least `times` the floor is free, in bytes and in files."""
        files = min(self.share * room.nodes, _NODES)
        return room.free >= times * min(self.share * room.total, self.most) and room.free_nodes >= times * files


class Level(IntEnum):
    """What a journal may still take."""

    AMPLE = 0
    SPARING = 1  # only what others wait for
    REFUSING = 2


@dataclass(frozen=True, slots=True)
class Reserve:
    """The floors of one journal; `last` is not above `first`."""

    first: Floor
    last: Floor

    def level(self, room: Room, before: Level) -> Level:
        """Return what may be taken with this room, after `before`."""
        if not self.last.kept(room, _BACK if before is Level.REFUSING else 1.0):
            return Level.REFUSING
        if not self.first.kept(room, _BACK if before is not Level.AMPLE else 1.0):
            return Level.SPARING
        return Level.AMPLE


def look(folder: Path) -> Room:
    """Ask the file system that holds `folder`; raises OSError (statvfs(3))."""
    found = os.statvfs(folder)
    used = found.f_blocks - found.f_bfree  # blocks that only root may take count for nobody
    used_nodes = found.f_files - found.f_ffree
    return Room(
        (used + found.f_bavail) * found.f_frsize, found.f_bavail * found.f_frsize,
        used_nodes + found.f_favail if found.f_files else 0, found.f_favail if found.f_files else 0,
    )  # fmt: skip


class Watch:
    """One writer's looks at its file system, each second and after much was written. For its thread only."""

    def __init__(self, folder: Path, reserve: Reserve) -> None:
        self._folder = folder
        self._reserve = reserve
        self._due = 0.0
        self._written = 0
        self.level = Level.AMPLE

    def wait(self, now: float) -> float:
        """Seconds until the next look, at monotonic time `now`."""
        return max(0.0, self._due - now)

    def wrote(self, count: int) -> None:
        """Count bytes; many of them bring the next look forward."""
        self._written += count
        if self._written >= _UNLOOKED:
            self._due = 0.0

    def sealed(self) -> None:
        """A segment ended: look now."""
        self._due = 0.0

    def look(self, now: float) -> Room | None:
        """Look if it is time; return what was seen if the level is another than before.

        A file system that does not answer changes nothing: what it refuses to write is noticed by the write.
        """
        if now < self._due:
            return None
        self._due, self._written = now + LOOK_EACH, 0
        try:
            room = look(self._folder)
        except OSError:
            return None
        before, self.level = self.level, self._reserve.level(room, self.level)
        return room if self.level is not before else None
