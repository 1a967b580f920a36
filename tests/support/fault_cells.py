"""Every fault at every system call of a real process, one run a cell.

A `Subject` is a program that works on files below a folder and says what it was told. A first run under strace(1) lists
its calls on these files; each call of that list, by name and number, with each fault, is a cell: the program runs anew
on a fresh copy, the fault strikes at exactly that call, the program (or the next one) goes on, and the subject's own
check, which knows nothing of where it struck, says what is wrong.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.system_calls import Call, calls

KILL_BEFORE, KILL_AFTER = "SIGKILL before", "SIGKILL after"
FAULTS = ("EIO", "ENOSPC", "EINTR", KILL_BEFORE, KILL_AFTER)
NOTHING = "takes nothing"  # a write that returns 0
_HELD = 90  # seconds that a call is held after it was done, for the process to be killed there
_TRIES = 3  # runs that are recorded; runs of a cell until its fault strikes
_LIMIT = 180.0  # seconds of one run
_SAYS = "writev"  # how a subject tells; none of its calls on files, and never struck
_NOT_ITS_OWN = {"execve", "symlink", _SAYS}  # how it is started, fed and heard


@dataclass(frozen=True)
class Run:
    """One run of the program that ended. `trace` holds its calls on the subject's files, and its words."""

    said: list[str]
    trace: list[Call]
    code: int
    errors: str

    @property
    def killed(self) -> bool:
        """Whether it was killed (strace dies as its child did)."""
        return self.code == -signal.SIGKILL


@dataclass(frozen=True)
class Cell:
    """One fault at the `number`th call of that name on the subject's files."""

    call: str
    number: int
    fault: str


@dataclass(frozen=True)
class Subject:
    """A program and what has to hold after it."""

    name: str
    prepare: Callable[[Path], None]  # makes the folder that it finds
    command: Callable[[Path], Sequence[str]]
    paths: Callable[[Path], Iterable[Path]]  # every file and folder that it may touch
    check: Callable[[Path, Run], list[str]]  # goes on after the run and says what is wrong


def run(
    strace: Path, subject: Subject, folder: Path, inject: str = "", environment: dict[str, str] | None = None
) -> Run:
    """Run the program once under strace; `inject` is one of its faults."""
    trace = folder.with_suffix(".trace")
    only = itertools.chain.from_iterable(("-P", str(path)) for path in subject.paths(folder))
    quick = [] if "signal=" in inject else ["--seccomp-bpf"]  # with it strace sends no signals
    command = [
        str(strace), *quick, "-f", "-y", "-qq", "-s", "1000000", "-o", str(trace),
        "-e", f"trace=%file,%desc,{_SAYS}", *only, *(("-e", f"inject={inject}") if inject else ()),
        *subject.command(folder),
    ]  # fmt: skip
    told = folder.with_suffix(".told")
    with told.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.PIPE, env={**os.environ, **(environment or {})}
        )
    if "delay_exit" in inject:
        threading.Thread(target=_kill_where_held, args=(process, trace), daemon=True).start()
    try:
        _, errors = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    text = trace.read_text(encoding="latin-1")
    return Run(told.read_text().splitlines(), calls(text), process.returncode, errors.decode(errors="replace"))


def _kill_where_held(tracer: subprocess.Popen[bytes], trace: Path) -> None:
    """Kill the traced process as soon as strace says that the call was done and is held."""
    while tracer.poll() is None:
        if trace.exists() and "(DELAYED)" in trace.read_text(encoding="latin-1"):
            with contextlib.suppress(OSError):  # they ended by themselves
                for child in Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split():
                    os.kill(int(child), signal.SIGKILL)
            tracer.kill()  # else it waits until it would have let the call go
            return
        time.sleep(0.005)


def cells(recorded: Run, root: Path, faults: Sequence[str] = FAULTS) -> Iterator[Cell]:
    """Yield every cell of the calls that a recording run made on the files under `root`."""
    counts: Counter[str] = Counter()
    for call in recorded.trace:
        if call.name in _NOT_ITS_OWN or not call.under(root):
            continue
        counts[call.name] += 1
        for fault in faults:
            yield Cell(call.name, counts[call.name], fault)
        if call.name == "write":
            yield Cell(call.name, counts[call.name], NOTHING)
            size = call.result or 0
            yield from (Cell(call.name, counts[call.name], f"short {taken}") for taken in {1, size // 2, size - 1})


def one(strace: Path, subject: Subject, template: Path, folder: Path, cell: Cell) -> list[str]:
    """Run one cell on a copy of `template`; return what is wrong."""
    inject, environment = "", None
    if cell.fault.startswith("short"):
        environment = {"SHORT_WRITE": f"{cell.number}:{cell.fault.split()[1]}"}
    elif cell.fault == KILL_AFTER:
        inject = f"{cell.call}:delay_exit={_HELD * 1_000_000}:when={cell.number}"
    else:
        how = {KILL_BEFORE: "signal=SIGKILL", NOTHING: "retval=0"}.get(cell.fault, f"error={cell.fault}")
        inject = f"{cell.call}:{how}:when={cell.number}"
    try:
        for _ in range(_TRIES):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(template, folder, symlinks=True)
            ended = run(strace, subject, folder, inject, environment)
            if environment or ended.killed or any(call.injected for call in ended.trace):
                return subject.check(folder, ended)
        return [f"the fault did not strike in {_TRIES} runs: they make other calls"]
    except Exception as error:  # noqa: BLE001 (whatever it is: it is what is wrong in this cell)
        return [f"{type(error).__name__}: {error}"]


def matrix(
    strace: Path, subject: Subject, folder: Path, chosen: Callable[[list[Cell]], list[Cell]]
) -> dict[Cell, list[str]]:
    """Record runs, run the cells chosen of their calls, several at once; return each cell with what is wrong in it.

    A sync that a timer asks for comes in some runs only: the calls are those of the run that made the fewest.
    """
    template = folder / "template"
    template.mkdir(parents=True)
    subject.prepare(template)
    recorded: list[list[Cell]] = []
    for number in range(_TRIES):
        recording = folder / f"recording-{number}"
        shutil.copytree(template, recording, symlinks=True)
        ended = run(strace, subject, recording)
        if wrong := subject.check(recording, ended):
            raise AssertionError(f"{subject.name}: wrong without any fault: {wrong} {ended.errors[-2000:]}")
        recorded.append(list(cells(ended, recording)))
    picked = chosen(min(recorded, key=len))

    def work(numbered: tuple[int, Cell]) -> tuple[Cell, list[str]]:
        place = folder / f"cell-{numbered[0]}"
        wrong = one(strace, subject, template, place, numbered[1])
        if not wrong:
            shutil.rmtree(place)
            for suffix in (".trace", ".told"):
                place.with_suffix(suffix).unlink(missing_ok=True)
        return numbered[1], wrong

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return dict(pool.map(work, enumerate(picked)))


def each_kind_once(found: list[Cell]) -> list[Cell]:
    """Choose each fault at each kind of call once, in the middle of the calls of that kind."""
    by_kind: dict[tuple[str, str], list[Cell]] = {}
    for cell in found:
        by_kind.setdefault((cell.call, cell.fault.split()[0] if "short" in cell.fault else cell.fault), []).append(cell)
    return [same[len(same) // 2] for same in by_kind.values()]
