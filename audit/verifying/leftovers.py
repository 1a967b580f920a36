"""Partial tiles that a fuller one has made superfluous: a crash may leave them; they may not say otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from audit.log import ENTRY_SIZE, WIDTH
from audit.reader import IntegrityError
from audit.verifying.bundles import stored
from audit.verifying.chains import STRIDE

_SUFFIX: Final = ".p"


def check_leftovers(log: Path, size: int) -> None:
    """Compare every partial tile within the proved `size` with the tile it became; raises `IntegrityError`, OSError.

    What lies beyond the signed size was promised to nobody and is passed over.
    """
    for folder in sorted((log / "tile").iterdir()) if size else ():
        entries = folder.name == "entries"
        if not entries and not folder.name.isdecimal():
            continue
        stride, count = (STRIDE, size) if entries else (ENTRY_SIZE, size >> (8 * int(folder.name)))
        for partial in sorted(folder.rglob("*" + _SUFFIX)):
            number = _number(partial.relative_to(folder))
            present = min(WIDTH, count - number * WIDTH) if number is not None else 0
            for path in sorted(partial.iterdir()):
                width = int(path.name) if path.name.isdecimal() else WIDTH
                if number is not None and 0 < width < present:
                    _compare(log, path, (folder.name, number, present, stride), width)


def _compare(log: Path, path: Path, tile: tuple[str, int, int, int], width: int) -> None:
    kind, number, present, stride = tile
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # the auditor removes them, too
        return
    expected = stored(log, kind, number, present, stride)[0][: width * stride]
    if data != expected:
        at = next(
            (at for at in range(width) if data[at * stride :][:stride] != expected[at * stride :][:stride]), width
        )
        got, wanted = (each[at * stride :][:stride].hex() or "nothing" for each in (data, expected))
        name = str(path.relative_to(log))
        raise IntegrityError("log", name, at + 1, (number * WIDTH + at), "tile", got, wanted)


def _number(path: Path) -> int | None:
    """Return the number that a tile's path (C2SP tlog-tiles) says, None where it is none."""
    parts = [*path.parts[:-1], path.name.removesuffix(_SUFFIX)]
    digits = "".join(part.removeprefix("x") for part in parts)
    return int(digits) if digits.isdecimal() else None
