"""The one thread that writes the store, so that an fsync never stops the steward's heartbeat.

Two lanes: what takes rights away goes before everything else that waits. Results come back to the loop in the order
of their commits, because the feed tells changes by revision.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")

_Job = tuple[Callable[[], object], Callable[[object], None], "asyncio.Future[object]"]


class Writer:
    """Runs jobs one after the other in its own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._urgent: deque[_Job] = deque()
        self._usual: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="store writer", daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[], T], committed: Callable[[T], None], *, urgent: bool = False) -> T:
        """Run `job` in the thread; `committed` is called in the loop with its result, before this returns it.

        What `job` raises is raised here, and `committed` is not called.
        """
        future: asyncio.Future[object] = self._loop.create_future()
        entry: _Job = (job, cast("Callable[[object], None]", committed), future)
        with self._wake:
            (self._urgent if urgent else self._usual).append(entry)
            self._wake.notify()
        return cast("T", await asyncio.shield(future))

    def close(self) -> None:
        """Finish what waits, then end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._urgent or self._usual or self._stopping):
                    self._wake.wait()
                if not (self._urgent or self._usual):
                    return
                job, committed, future = (self._urgent or self._usual).popleft()
            try:
                result = job()
            except BaseException as fault:  # noqa: BLE001 (handed to the caller, who decides)
                self._loop.call_soon_threadsafe(_fail, future, fault)
            else:
                self._loop.call_soon_threadsafe(_finish, committed, result, future)


def _finish(committed: Callable[[object], None], result: object, future: asyncio.Future[object]) -> None:
    committed(result)
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[object], fault: BaseException) -> None:
    if not future.done():
        future.set_exception(fault)
