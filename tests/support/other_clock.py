"""The real supervisor whose steward lives by a clock that the test sets (libfaketime, read anew at each look).

`python -m tests.support.other_clock --config …`. The offset stands in `run/clock` of the installation, as `+0`, `+1h`.
The monotonic clocks stay true, as they do on a machine whose wall clock is set.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.settings import Settings
from gateway.supervision.process import Spec
from gateway.supervisor import Supervisor

MODULE = "tests.support.other_clock"
_LIBRARIES = "/usr/lib"


def set_clock(root: Path, offset: str) -> None:
    """Set the steward's wall clock off by `offset` (faketime(1) notation)."""
    fresh = root / "run" / "clock.new"
    fresh.write_text(offset + "\n")
    fresh.replace(root / "run" / "clock")


class OtherClockSupervisor(Supervisor):
    """Everything as it is, but for the steward's environment."""

    def _specs(self) -> list[Spec]:
        return [replace(each, extra=self._clocked) if each.name == "steward" else each for each in super()._specs()]

    def _clocked(self) -> tuple[Mapping[str, str], tuple[int, ...]]:
        variables, fds = self._for_steward()
        library = next(Path(_LIBRARIES).rglob("libfaketimeMT.so.1"))
        clock = {
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self._settings.paths.run / "clock"),
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip
        return {**variables, **clock}, fds


async def _main(config: Path) -> None:
    settings = Settings.load(config)
    set_clock(settings.root, "+0")
    await OtherClockSupervisor(config, settings).run()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[2]).resolve()))
