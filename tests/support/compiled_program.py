"""A compiled copy of the program, and the tests of its parts run against it in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

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
    """Return the files that a process of that program takes `modules` from, or why it cannot.

    Each is the first that its process imports: what works in one order only is found.
    """
    done = subprocess.run(
        [sys.executable, "-c", _EACH_FIRST, *modules], cwd=program, env={**os.environ, "PYTHONPATH": str(program)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


_EACH_FIRST: Final = """
import importlib, os, sys
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            told = importlib.import_module(name).__file__
        except BaseException as error:
            told = f"{name}: {error!r}"
        print(told, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
