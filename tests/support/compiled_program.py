"""A compiled copy of the program, and the tests of its parts run against it in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.compiling.building import build
from tests.support.steward_process import ROOT


def compiled(folder: Path, modules: tuple[str, ...]) -> Path:
    """Compile `modules` into a copy of the program under `folder`, in less time than for use; returns the copy."""
    made = folder / "compiled"
    build(ROOT, made, optimise="-O0", modules=modules)
    return made


def run_against(program: Path, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run pytest with `arguments` against that program in place of the sources."""
    paths = f"pythonpath={program} {ROOT}"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", paths, *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(program)}, capture_output=True, text=True, timeout=seconds,
        check=False,
    )  # fmt: skip


def origins(program: Path, modules: tuple[str, ...]) -> list[str]:
    """Return the files that a process of that program takes `modules` from."""
    told = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", told, *modules], cwd=program, env={**os.environ, "PYTHONPATH": str(program)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()
