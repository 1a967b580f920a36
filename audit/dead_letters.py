"""Documents that the index would not take, as the shipper set them aside, and which of them were settled since.

Two files that only grow: `dead-letters.ndjson` by the shipper, `dead-letters.settled` (line numbers) by `retry`. So the
two never write to the same file, and nothing that was set aside is ever lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from audit import durable

LETTERS: Final = "dead-letters.ndjson"
SETTLED: Final = "dead-letters.settled"


@dataclass(frozen=True, slots=True)
class Letter:
    """One document set aside. `number` is its line in the file, from 1; `at` in seconds since the epoch."""

    number: int
    at: float
    id: str
    dataset: str
    status: int
    reason: str
    body: dict[str, Any]


def letters(folder: Path) -> list[Letter]:
    """Return the letters that are not settled, oldest first; raises OSError."""
    path, settled = folder / LETTERS, _settled(folder / SETTLED)
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [
        Letter(number, **orjson.loads(line)) for number, line in enumerate(lines, 1) if number not in settled
    ]  # fmt: skip


def letters_ever(path: Path) -> int:
    """Return how many letters were ever set aside in this file; raises OSError."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def mend(path: Path) -> None:
    """Cut what a crash left of a letter behind the last whole one: its document is still to be sent. Raises OSError."""
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            durable.cut(path, whole)


def settle(folder: Path, numbers: Iterable[int]) -> None:
    """Note that these letters were delivered after all; raises OSError."""
    lines = "".join(f"{number}\n" for number in numbers)
    if lines:
        durable.append(folder / SETTLED, lines.encode())


def _settled(path: Path) -> frozenset[int]:
    if not path.exists():
        return frozenset()
    return frozenset(int(line) for line in path.read_text().split("\n")[:-1])
