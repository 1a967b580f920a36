"""The real supervisor with the real steward and auditor, and small stand-ins for control and the workers.

`python -m tests.support.small_supervisor --config …` runs it; with `child NAME` it is such a stand-in, which says
that it is ready and then waits to be stopped.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.reloading.handover import fresh
from gateway.reloading.programs import AUDITOR, STEWARD, Accepted, Programs
from gateway.supervision import child
from gateway.supervision.process import Spec
from gateway.supervisor import Supervisor

MODULE = "tests.support.small_supervisor"


class SmallPrograms(Programs):
    """Everything as it is, but for what two of the programs do."""

    def single(self, name: str, accepted: Accepted) -> Spec:
        spec = super().single(name, accepted)
        return spec if name in (STEWARD, AUDITOR) else replace(spec, module=MODULE, args=("child", name))

    def worker(self, slot: int, place: int, accepted: Accepted, listeners: Mapping[str, socket.socket]) -> Spec:
        spec = super().worker(slot, place, accepted, listeners)
        return replace(spec, module=MODULE, args=("child", spec.name))


class SmallSupervisor(Supervisor):
    """The real one, of stand-ins."""

    def _made_programs(self) -> Programs:
        return SmallPrograms(self._for_steward)


async def _stand_in() -> None:
    stop = child.stop_event(asyncio.get_running_loop())
    child.ready()
    await stop.wait()


async def _main(config: Path) -> None:
    await SmallSupervisor(fresh(config)).run()


if __name__ == "__main__":
    if sys.argv[1] == "child":
        asyncio.run(_stand_in())
        if sys.argv[2] == "worker-1":
            time.sleep(0.3)  # drains for a moment: the others have to wait for it
    else:
        asyncio.run(_main(Path(sys.argv[2])))
