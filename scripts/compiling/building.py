"""From sources to a folder with the whole program, its hot modules compiled."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

from scripts.compiling.declarations import declarations
from scripts.compiling.freshness import PACKAGES, digests, stamp
from scripts.compiling.modules import FIRST, HOT
from scripts.compiling.program import Program
from scripts.compiling.staging import staged

_DIRECTIVES: Final = (
    "language_level=3",
    "annotation_typing=False",  # what an annotation means in C is said by the declarations alone
    "nonecheck=True",  # None is refused with an exception, as in Python, not with a crash
    "auto_pickle=False",
    "autotestdict=False",
    "emit_code_comments=False",
)
_MEMORY: Final = 4 * 2**30  # bytes; a compiler that wants more runs away
_SECONDS: Final = 300
_HEADERS: Final = sysconfig.get_path("include")  # asked once: sysconfig is not for threads


class NotCompiled(Exception):
    """What the compilers said, by module."""


def build(root: Path, folder: Path, *, optimise: str = "-O2", modules: tuple[str, ...] = HOT) -> None:
    """Put the program of `root` into `folder`, which must not be there yet, with `modules` compiled.

    Raises NotCompiled with all faults at once; `folder` is then not made.
    """
    made_from = digests(root)
    program = Program(root, modules)
    with tempfile.TemporaryDirectory() as name:
        stage, made = Path(name) / "stage", Path(name) / "made"
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(root / package, made / package, ignore=ignored)
            for each in (root / package).rglob("__init__.py"):
                (stage / each.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(each, stage / each.relative_to(root))
        for module in modules:
            source = stage / _path(module)
            source.write_text(staged(program, module), encoding="utf-8")
            source.with_suffix(".pxd").write_text(declarations(program, module), encoding="utf-8")
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            said = list(pool.map(lambda module: _compile(stage, made, module, optimise), modules))
        if faults := [f"{module}: {fault}" for module, fault in zip(modules, said, strict=True) if fault]:
            raise NotCompiled("\n".join(faults))
        for package, first in FIRST.items():
            with (made / _path(f"{package}.__init__")).open("a", encoding="utf-8") as file:
                file.write(f"\nimport {first}  # noqa: E402, F401  # as C structures, its modules need each other\n")
        stamp(made, made_from)
        shutil.copytree(made, folder)


def _path(module: str) -> str:
    return module.replace(".", "/") + ".py"


def _compile(stage: Path, made: Path, module: str, optimise: str) -> str:
    """Compile one module; return what is wrong with it, "" = nothing."""
    source = _path(module)
    directives = [argument for each in _DIRECTIVES for argument in ("-X", each)]
    cython = [sys.executable, "-m", "cython", *directives, "--module-name", module, source]
    library = made / source.replace(".py", EXTENSION_SUFFIXES[0])
    compiler = shlex.split(os.environ.get("CC", "cc"))
    include = f"-I{_HEADERS}"
    c = [
        *compiler,
        "-shared",
        "-fPIC",
        optimise,
        "-fwrapv",
        "-DNDEBUG",
        "-w",
        include,
        source[:-3] + ".c",
        "-o",
        library,
    ]
    for command in (cython, c):
        try:
            done = subprocess.run(
                ["prlimit", f"--as={_MEMORY}", *command],
                cwd=stage, capture_output=True, text=True, timeout=_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode:
            return (done.stdout + done.stderr)[-4000:]
    return ""
