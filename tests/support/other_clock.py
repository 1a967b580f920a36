"""The real supervisor whose processes live by a clock that the test sets (libfaketime, read anew at each look).

The steward alone does, whose time counts, or everything with `OTHER_CLOCK=everything`.

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

from gateway.settings import Settings
from gateway.supervision.process import Death, Spec, Supervised
from gateway.supervisor import STATUS, Extra, Supervisor

MODULE = "tests.support.other_clock"
_LIBRARIES = "/usr/lib"
_SHARED = Path("/dev/shm")  # where the library keeps its own state, under its process's id


def set_clock(root: Path, offset: str) -> None:
    """Set the steward's wall clock off by `offset` (faketime(1) notation)."""
    fresh = root / "run" / "clock.new"
    fresh.write_text(offset + "\n")
    fresh.replace(root / "run" / "clock")


def forget(pid: int) -> None:
    """Remove what the library keeps for a process, and leaves when that is killed."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        (_SHARED / name).unlink(missing_ok=True)


class OtherClockSupervisor(Supervisor):
    """Everything as it is, but for the environment, and what a killed process leaves in shared memory."""

    def _died(self, process: Supervised, death: Death) -> None:
        super()._died(process, death)
        forget(death.pid)

    def _specs(self) -> list[Spec]:
        everything = os.environ.get("OTHER_CLOCK") == "everything"
        return [
            replace(each, extra=self._clocked(each.extra)) if everything or each.name == "steward" else each
            for each in super()._specs()
        ]

    def _clocked(self, extra: Extra) -> Extra:
        library = next(Path(_LIBRARIES).rglob("libfaketimeMT.so.1"))
        clock = {
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self._settings.paths.run / "clock"),
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip

        def clocked() -> tuple[Mapping[str, str], tuple[int, ...]]:
            variables, fds = extra()
            return {**variables, **clock}, fds

        return clocked


async def _main(config: Path) -> None:
    settings = Settings.load(config)
    status = settings.paths.run / STATUS
    for process in json.loads(status.read_text())["processes"] if status.exists() else ():  # of a killed one
        forget(process["pid"] or 0)
    if not (settings.paths.run / "clock").exists():
        set_clock(settings.root, "+0")
    await OtherClockSupervisor(config, settings).run()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[2]).resolve()))
