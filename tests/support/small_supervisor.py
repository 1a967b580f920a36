"""The real supervisor with the real steward and auditor, and small stand-ins for control and the workers.

`python -m tests.support.small_supervisor --config …` runs it; with `child NAME` it is such a stand-in, which says
that it is ready and then waits to be stopped.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

from gateway.settings import Settings
from gateway.supervision import child
from gateway.supervision.process import Spec
from gateway.supervisor import Supervisor

MODULE = "tests.support.small_supervisor"


class SmallSupervisor(Supervisor):
    """Everything as it is, but for what two of the programs do."""

    def _specs(self) -> list[Spec]:
        return [
            each if each.name in ("steward", "auditor") else replace(each, module=MODULE, args=("child", each.name))
            for each in super()._specs()
        ]


async def _stand_in() -> None:
    stop = child.stop_event(asyncio.get_running_loop())
    child.ready()
    await stop.wait()


async def _main(config: Path) -> None:
    await SmallSupervisor(config, Settings.load(config)).run()


if __name__ == "__main__":
    if sys.argv[1] == "child":
        asyncio.run(_stand_in())
        if sys.argv[2] == "worker-1":
            time.sleep(0.3)  # drains for a moment: the others have to wait for it
    else:
        asyncio.run(_main(Path(sys.argv[2])))
