"""What a power failure would leave of a journal, worked out from its system calls alone.

Linux promises no more than this: data are on disk once a sync of their file returned 0 after they were written, names
once a sync of their folder did. After a sync that failed, what was written before it is held to be gone for ever,
whatever a later sync says; one that was interrupted has neither failed nor done anything (PEP 475: it is made again).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.support.system_calls import Call

_NUMBER = re.compile(rb'"sekisho\.count":(\d+)\D[^\n]*\n')
_TOLD = re.compile(r'iov_base="([wsx]) (\d+)\\n"')
_DATA = re.compile(r'^[^,]*, "((?:[^"\\]|\\.)*)"', re.DOTALL)
_DIRTY, _DURABLE, _LOST = range(3)


class _File:
    """What was written, and for each byte whether it is on disk."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.state = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data
        self.state += bytes([_DIRTY]) * len(data)

    def sync(self, *, done: bool) -> None:
        self.state = self.state.replace(bytes([_DIRTY]), bytes([_DURABLE if done else _LOST]))

    def numbers(self, state: bytes) -> set[int]:
        """The numbers of the whole records of which every byte is in one of these states."""
        return {int(line[1]) for line in _NUMBER.finditer(self.data)
                if not self.state[self.data.rfind(b"\n", 0, line.start()) + 1 : line.end()].strip(state)}  # fmt: skip


def _data(call: Call) -> bytes:
    """The bytes that a write took."""
    match = _DATA.match(call.text)
    taken = match[1].encode("latin-1").decode("unicode_escape").encode("latin-1") if match else b""
    return taken[: call.result or 0]


class Disk:
    """Files by name, as processes see them and as a power failure would leave them."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._names: dict[str, _File] = {}

    def take(self, call: Call) -> None:
        """Follow one call that ended."""
        done = call.result is not None and call.result >= 0
        paths = call.paths
        match call.name:
            case "openat" if done and "O_CREAT" in call.text and call.made:
                self._files.setdefault(call.made, _File())
            case "write" if done and not call.injected and paths and paths[0] in self._files:
                self._files[paths[0]].write(_data(call))
            case "fdatasync" | "fsync" if paths and (done or "EINTR" not in call.remark):
                self._sync(paths[0], done=done)
            case "rename" if done:
                self._files[paths[-1]] = self._files.pop(paths[0])
            case "unlink" if done:
                self._files.pop(paths[-1], None)

    def _sync(self, path: str, *, done: bool) -> None:
        file = self._files.get(path)
        if file is not None:
            file.sync(done=done)
        elif done:  # a folder: what it names now, and no longer what it named
            inside = {name: each for name, each in self._files.items() if name.rpartition("/")[0] == path}
            self._names = {name: each for name, each in self._names.items() if name.rpartition("/")[0] != path} | inside

    def left(self) -> set[int]:
        """The numbers of the records that a power failure at this moment would leave."""
        return _numbers(self._names, bytes([_DURABLE]))

    def seen(self) -> set[int]:
        """The numbers of the records that the death of every process would leave."""
        return _numbers(self._files, bytes([_DIRTY, _DURABLE, _LOST]))


def _numbers(files: dict[str, _File], state: bytes) -> set[int]:
    segments = (file for name, file in files.items() if name.endswith((".active", ".jsonl")))
    return set().union(*(file.numbers(state) for file in segments))


def told_too_early(trace: Iterable[Call]) -> list[str]:
    """Return each record that was told as kept although it was not, one sentence a record."""
    disk, wrong = Disk(), list[str]()
    for call in trace:
        disk.take(call)
        for kind, number in _TOLD.findall(call.text) if call.name == "writev" else ():
            if kind == "s" and int(number) not in disk.left():
                wrong.append(f"record {number} was told as synced; a power failure would take it")
            if kind == "w" and int(number) not in disk.seen():
                wrong.append(f"record {number} was told as written; it was not")
    return wrong
