"""Pieces of work done ahead of need, in order, in this process or in several.

The joining process asks for results one after the other; a bounded number of pieces is under way before they are asked
for, so memory does not grow with the trail. Children are spawned, never forked: a fork would copy threads and locks.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Self, TypeVar

from audit.verifying.hashing import PLAIN, Hashing

P = TypeVar("P")
T = TypeVar("T")


def jobs_for(asked: int, records: int, hashing: Hashing) -> int:
    """Return how many processes to use: `asked`, 0 for one a core, but no more than so many records are worth."""
    return max(1, min(asked or os.cpu_count() or 1, records // hashing.worth))


class Pieces:
    """Processes that check pieces; with one job everything is done when it is asked for, in this process."""

    def __init__(self, jobs: int, hashing: Hashing = PLAIN) -> None:
        """`jobs` is at least 1; `hashing` is what the pieces hash with."""
        self.jobs = jobs
        self.hashing = hashing
        self._pool = (
            ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) if jobs > 1 else None
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def ahead(self, check: Callable[[T], P], work: Iterable[T], window: int) -> Iterator[P]:
        """Yield `check(item)` for each item in order, `window` of them under way beyond the one asked for.

        `check` is a module's function, items and results can be pickled. Raises what `check` raises, OSError when
        one of the processes is ended from outside.
        """
        if self._pool is None:
            yield from map(check, work)
            return
        rest = iter(work)
        under_way: deque[Future[P]] = deque()
        most = 2  # who needs only the first result shall not hold many
        while True:
            try:
                while len(under_way) < most and (item := next(rest, None)) is not None:
                    under_way.append(self._pool.submit(check, item))
                if not under_way:
                    return
                result = under_way.popleft().result()
            except BrokenProcessPool as error:
                raise OSError(errno.ECHILD, "a process that checked a part was ended from outside") from error
            most = window + 1
            yield result
