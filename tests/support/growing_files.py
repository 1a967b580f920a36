"""Files that other processes write while a test reads them: whole lines only, and files may be gone between two looks.

A write(2) of several pages can be seen half done; a journal's segment is renamed when it is sealed, and after a crash
written anew under the sealed name before the old one goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SEGMENTS = (".jsonl", ".active")  # what a crash left behind the last whole record is none


def whole_lines(path: Path) -> list[bytes]:
    """The lines that have their end, without it; none where the file is not there."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def segments_of(journals: Path, writers: str = "*") -> list[Path]:
    """The segments of some writers in order, each under one name."""
    found = sorted(path for path in journals.glob(f"{writers}/*") if path.suffix in _SEGMENTS)
    sealed = {path for path in found if path.suffix == ".jsonl"}
    return [path for path in found if path in sealed or path.with_suffix(".jsonl") not in sealed]


def lines_of(journals: Path, writers: str = "*") -> list[bytes]:
    """The whole lines of some writers' journals in order; read again where a segment was renamed meanwhile."""
    while True:
        paths = segments_of(journals, writers)
        found = [line for path in paths for line in whole_lines(path)]
        if segments_of(journals, writers)[: len(paths)] == paths:
            return found


def records_of(journals: Path, writers: str = "*") -> list[dict[str, Any]]:
    """The records in these lines."""
    return [json.loads(line)["body"] for line in lines_of(journals, writers)]


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below `folder` with its bytes, but for those that went while they were looked for."""
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file():
                yield path, path.read_bytes()
        except FileNotFoundError:
            continue
