"""The disk of the journals as people are told of it: beyond the alarm, and whose records it no longer takes.

Pure: `Filling.see` is given what was seen and returns what is to be recorded. Each journal minds its own reserve
(`audit.journal`); here stands one record for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from audit.event import Action
from audit.room import Level, Reserve, Room

_BACK: Final = 0.02  # of the disk that must be free beyond the alarm before it counts as recovered


def limited(reserves: Mapping[str, Reserve], room: Room) -> list[str]:
    """Return whose new records are not taken any more with this room, in the order of `reserves`."""
    return [kind for kind, reserve in reserves.items() if reserve.level(room, Level.AMPLE) is not Level.AMPLE]


def fields(room: Room, kinds: list[str]) -> dict[str, Any]:
    """Return what a record or an answer says about the disk."""
    return {
        "sekisho.disk.total": room.total,
        "sekisho.disk.free": room.free,
        "sekisho.disk.used_percent": round(room.used * 100, 1),
        "sekisho.disk.limited": kinds,
    }


class Filling:
    """Follows one disk. A kind stays limited, and the alarm stays on, until there is clearly room again."""

    def __init__(self, alarm: float, reserves: Mapping[str, Reserve]) -> None:
        """`alarm` is the share in use (0 to 1) at which people are told; `reserves` by kind of record."""
        self._alarm = alarm
        self._reserves = reserves
        self._levels = dict.fromkeys(reserves, Level.AMPLE)
        self._told: list[str] | None = None  # None: all is well

    def see(self, room: Room) -> tuple[Action, dict[str, Any]] | None:
        """Return the act to record with its fields, None when nothing changed."""
        for kind, reserve in self._reserves.items():
            self._levels[kind] = reserve.level(room, self._levels[kind])
        kinds = [kind for kind, level in self._levels.items() if level is not Level.AMPLE]
        alarmed = room.used >= self._alarm - (_BACK if self._told is not None else 0.0)
        now = kinds if alarmed or kinds else None
        if now == self._told:
            return None
        self._told = now
        return (Action.DISK_RECOVERED if now is None else Action.DISK_FILLING), fields(room, kinds)
