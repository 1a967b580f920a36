"""Whether a compiled copy is of these sources: it carries a digest of every file that it was made from.

A copy of other sources runs and measures well, and says nothing of these.
"""

from __future__ import annotations

import hashlib
import json
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

PACKAGES: Final = ("audit", "cli", "gateway", "mdm_sim", "policies")
"""What a copy holds."""

_STAMP: Final = "made-from.json"
_MAKERS: Final = "scripts/compiling"


def digests(root: Path) -> dict[str, str]:
    """Return the SHA-256 of each file under `root` that a copy is made from, and for which Python (`"python"`)."""
    found = [path for package in (*PACKAGES, _MAKERS) for path in (root / package).rglob("*") if path.is_file()]
    kept = [path for path in found if path.parent.name != "__pycache__" and path.suffix != ".so"]
    told = {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(kept)}
    return told | {"python": EXTENSION_SUFFIXES[0]}


def stamp(copy: Path, made_from: dict[str, str]) -> None:
    """Write down in a copy what it was made from; raises OSError."""
    (copy / _STAMP).write_text(json.dumps(made_from, indent=1) + "\n", encoding="utf-8")


def outdated(copy: Path, root: Path) -> list[str]:
    """Return the names of the files that differ from those the copy was made from, sorted; none: it is of `root`.

    A copy without a stamp, or with one that cannot be read, differs by the stamp's name.
    """
    try:
        before: dict[str, str] = dict(json.loads((copy / _STAMP).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return [_STAMP]
    now = digests(root)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
