"""Samples of a worker's stacks as py-spy writes them ("raw": `frame;frame;… number`), read for people.

Frames of Python are told as `gateway/edge/relay.py received`. What a function of ours does in C is one frame on top of
it, named after the library; time in the kernel is told by its system call. What lies under our own code (start of the
process, uvloop's turns) is cut off, so that a stack begins where the loop or the thread calls us.

A thread that waits takes no CPU, and is left out: for a lock or the interpreter's, for the disk, for the next events.
With the last goes what asking for events costs, some hundredths of a request.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

Stack = tuple[str, ...]  # from the root to the leaf

OURS: Final = ("gateway/", "audit/", "policies/")
_FRAME: Final = re.compile(r"(?P<function>.*) \((?P<file>[^()]*?)(?::\d+)?\)")
# glibc's wrappers of the calls on this path; the time in them is the kernel's.
_CALLS: Final = re.compile(
    r"_*(?:GI_|libc_)*(read|write|writev|send|sendto|sendmsg|recv|recvfrom|recvmsg|readv|epoll_ctl|accept4?|close|"
    r"shutdown)(?:64)?"
)
_WAKES: Final = re.compile(r"_*(?:pthread_|sem_|futex|lll_).*")
_WAITS: Final = re.compile(
    r"_*(?:GI_|libc_)*(?:PyThread_acquire_lock_timed|take_gil|pthread_cond_(?:timed|clock)?wait|"
    r"sem_(?:timed|clock)?wait|epoll_p?wait|poll|select|fdatasync|(?:clock_)?nanosleep).*"
)
# What lies under everything that a loop or a thread does.
_BENEATH: Final = frozenset(
    {"asyncio/runners.py Runner.run", "threading.py Thread.run", "threading.py Thread._bootstrap"}
)
_MEMORY: Final = "libc: memory and strings"
_LIBRARIES: Final = (
    ("libcrypto", "libcrypto: hashes"), ("_hashlib", "libcrypto: hashes"), ("_sha", "libcrypto: hashes"),
    ("uvloop", "uvloop"), ("httptools", "httptools"), ("orjson", "orjson"), ("libc.", _MEMORY), ("ld-linux", _MEMORY),
    ("vdso", _MEMORY), ("python", "interpreter"), ("<string>", "interpreter"),
)  # fmt: skip
# Where a library carries its own line numbers, frames are named by source file.
_SOURCES: Final = {
    "uvloop": frozenset({
        "loop.c", "core.c", "stream.c", "tcp.c", "linux.c", "linux-core.c", "epoll.c", "loop-watcher.c", "uv-common.c",
        "timer.c", "async.c", "poll.c", "queue.h",
    }),
    "httptools": frozenset({"parser.c", "llhttp.c", "http.c", "api.c"}),
}  # fmt: skip


def read(raw: Iterable[str]) -> Counter[Stack]:
    """Return the samples by stack; raises ValueError for a line that is none."""
    stacks: Counter[Stack] = Counter()
    for line in raw:
        frames, space, number = line.rstrip("\n").rpartition(" ")
        if not space or not number.isdecimal():
            raise ValueError(f"no folded stack: {line[:200]!r}")
        stack = folded(frames.split(";"))
        if stack is not None:
            stacks[stack] += int(number)
    return stacks


def folded(frames: list[str]) -> Stack | None:
    """Return one stack as it is drawn; None for one that waits."""
    found: list[str] = []
    native: list[tuple[str, str]] = []
    for frame in frames:
        match = _FRAME.fullmatch(frame)
        if match is None:
            continue
        function, file = match["function"], match["file"]
        if file.endswith(".py"):
            found.append(f"{next((file[file.index(root) :] for root in OURS if root in file), file)} {function}")
            native = []
        else:
            native.append((function, file))
    if any(_WAITS.fullmatch(function) for function, _ in native):
        return None
    begun = max((place + 1 for place, name in enumerate(found) if name in _BENEATH), default=0)
    return (*found[begun:], leaf(native)) if native else tuple(found[begun:])


def leaf(native: Sequence[tuple[str, str]]) -> str:
    """Return how frames in C, innermost last, are told: by system call or library of the first that is known."""
    for function, file in reversed(native):
        name = file.rpartition("/")[2]
        if name.startswith("libc."):
            if call := _CALLS.fullmatch(function):
                return f"kernel: {call[1]}"
            if _WAKES.fullmatch(function):
                return "kernel: futex"
        for title, sources in _SOURCES.items():
            if name in sources:
                return title
        for part, title in _LIBRARIES:
            if part in name:
                return title
    return native[-1][1]


def shares(stacks: Mapping[Stack, int], blocks: Mapping[str, frozenset[str]]) -> dict[str, float]:
    """Return the part of all samples that lies in each block: the innermost of its functions that a stack goes through.

    `blocks` names functions as `gateway/edge/relay.py received`. What goes through none is under "" .
    """
    block_of = {function: name for name, functions in blocks.items() for function in functions}
    found: Counter[str] = Counter()
    for stack, samples in stacks.items():
        found[next((block_of[name] for name in reversed(stack) if name in block_of), "")] += samples
    total = sum(found.values())
    return {name: found[name] / total for name in (*blocks, "")}
