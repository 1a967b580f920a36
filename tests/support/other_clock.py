"""The real supervisor whose processes live by a clock that the test sets (libfaketime, read anew at each look).

The steward alone does, whose time counts, or with `OTHER_CLOCK="control too"` also control and the auditor. Workers do
not: they go by the steward's time, and serve nobody with a certificate that the machine's clock calls over.

`python -m tests.support.other_clock --config …`. The offset stands in `run/clock` of the installation, as `+0`, `+1h`,
and outlives the program. The monotonic clocks stay true, as they do on a machine whose wall clock is set.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.reloading.handover import fresh
from gateway.reloading.programs import STEWARD, Accepted, Programs
from gateway.settings import Settings
from gateway.supervision.process import Death, Spec, Supervised
from gateway.supervisor import STATUS, Supervisor

MODULE = "tests.support.other_clock"
_LIBRARIES = "/usr/lib"
_SHARED = Path("/dev/shm")  # where the library keeps its own state, under its process's id


def set_clock(root: Path, offset: str) -> None:
    """Set the steward's wall clock off by `offset` (faketime(1) notation)."""
    written = root / "run" / "clock.new"
    written.write_text(offset + "\n")
    written.replace(root / "run" / "clock")


def forget(pid: int) -> None:
    """Remove what the library keeps for a process, and leaves when that is killed."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        (_SHARED / name).unlink(missing_ok=True)


class OtherClockPrograms(Programs):
    """Everything as it is, but for the environment."""

    def single(self, name: str, accepted: Accepted) -> Spec:
        spec = super().single(name, accepted)
        too = name == STEWARD or os.environ.get("OTHER_CLOCK") == "control too"
        return _clocked(spec, accepted.settings) if too else spec


class OtherClockSupervisor(Supervisor):
    """The real one of these; it removes what a killed process leaves in shared memory."""

    def _made_programs(self) -> Programs:
        return OtherClockPrograms(self._for_steward)

    def _died(self, process: Supervised, death: Death) -> None:
        super()._died(process, death)
        forget(death.pid)


def _clocked(spec: Spec, settings: Settings) -> Spec:
    library = next(Path(_LIBRARIES).rglob("libfaketimeMT.so.1"))
    clock = {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(settings.paths.run / "clock"),
        "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip

    def clocked() -> tuple[Mapping[str, str], tuple[int, ...]]:
        variables, fds = spec.extra()
        return {**variables, **clock}, fds

    return replace(spec, extra=clocked)


async def _main(config: Path) -> None:
    settings = Settings.load(config)
    status = settings.paths.run / STATUS
    for process in json.loads(status.read_text())["processes"] if status.exists() else ():  # of a killed one
        forget(process["pid"] or 0)
    if not (settings.paths.run / "clock").exists():
        set_clock(settings.root, "+0")
    await OtherClockSupervisor(fresh(config)).run()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[2]).resolve()))
