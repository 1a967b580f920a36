"""`python -m scripts.compiling FOLDER [--quick]`: a compiled copy of the program, in place of the last."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from scripts.compiling.building import NotCompiled, build

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Build."""
    parser = argparse.ArgumentParser(prog="scripts.compiling")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="compile in less time what runs slower")
    asked = parser.parse_args()
    fresh = asked.folder.with_name(asked.folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        build(ROOT, fresh, optimise="-O0" if asked.quick else "-O2")
    except NotCompiled as fault:
        sys.exit(f"scripts.compiling: nothing was changed\n{fault}")
    shutil.rmtree(asked.folder, ignore_errors=True)
    fresh.rename(asked.folder)


if __name__ == "__main__":
    main()
