"""What strace(1) wrote, as calls in the order in which they ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed>)(.*)$", re.DOTALL)
_RESULT = re.compile(r"\)\s+= (-?\d+)(?:<([^>]*)>)?(.*)$", re.DOTALL)
_PATH = re.compile(r'"(/[^"]*)"|\d+<(/[^>]*)>')


@dataclass(frozen=True)
class Call:
    """One system call. `result` is None where the process died within it."""

    thread: int
    name: str
    text: str  # its arguments, as strace shows them
    result: int | None
    made: str  # the path of the descriptor that it returned
    injected: bool
    remark: str = ""  # what strace says behind the result: the error's name

    @property
    def paths(self) -> list[str]:
        """The paths among the arguments, by name or by descriptor, deleted ones without that remark."""
        return [(name or held).removesuffix(" (deleted)") for name, held in _PATH.findall(self.text)]

    def under(self, root: Path) -> bool:
        """Whether it is about a file or folder under `root`."""
        return any(path == str(root) or path.startswith(f"{root}/") for path in self.paths)


def calls(trace: str) -> list[Call]:
    """Parse the output of `strace -f -y`."""
    begun: dict[int, str] = {}
    found: list[Call] = []
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, name, resumed, rest = int(match[1]), match[2], match[3] != "(", match[4]
        if rest.endswith("<unfinished ...>"):
            begun[thread] = f"{name}({rest.removesuffix('<unfinished ...>')}"
            continue
        if resumed:
            rest = begun.pop(thread, "(").partition("(")[2] + rest
        ended = _RESULT.search(rest)
        if ended is None:
            found.append(Call(thread, name, rest, None, "", injected=False))
            continue
        text, remark = rest[: ended.start()], ended[3]
        found.append(Call(thread, name, text, int(ended[1]), ended[2] or "", "INJECTED" in remark, remark))
    for thread, rest in begun.items():
        name, _, text = rest.partition("(")
        found.append(Call(thread, name, text, None, "", injected=False))
    return found
