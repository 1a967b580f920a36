"""The fault matrix's own honesty: its checkers name each thing that may go wrong, on trails made to be wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.event import Action, event
from audit.journal import Journal
from tests.support.fault_cells import FAULTS, KILL_AFTER, Cell, Run, cells, each_kind_once
from tests.support.power_loss import told_too_early
from tests.support.system_calls import Call, calls
from tests.support.trail_checker import lost_or_forged, read

W = "worker-0"


def trail(root: Path, count: int = 6) -> Path:
    """Write a small journal in two segments and return its folder."""

    async def main() -> None:
        journal = Journal(root, W, segment_bytes=1200, segment_age=3600, stall_limit=30)
        journal.open(asyncio.get_running_loop())
        for number in range(count):
            await journal.record(event(Action.REQUEST_DECIDED, 1.0, {"sekisho.count": number}))
        journal.close(5)

    asyncio.run(main())
    return root / W


def last(folder: Path) -> Path:
    return max(folder.glob("*.jsonl"))


def rewritten(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def cut(folder: Path) -> None:
    rewritten(last(folder), last(folder).read_bytes()[:-40])


def forge(folder: Path) -> None:
    rewritten(last(folder), last(folder).read_bytes().replace(b'"sekisho.count":5', b'"sekisho.count":7'))
    with last(folder).open("ab") as file:
        file.write(last(folder).read_bytes().splitlines(keepends=True)[-1])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (cut, "ends within a record"),
        (forge, "got ('worker-0'"),
        (lambda folder: min(folder.glob("*.jsonl")).unlink(), "does not begin with record 1"),
        (lambda folder: (folder / "x.tmp").touch(), "a file that nothing explains"),
        (lambda folder: (folder / "000001-000000000009.torn").write_text("tail"), "no record tells of them"),
        (lambda folder: (folder / f"{last(folder).stem}.active").touch(), "also sealed"),
    ],
)  # fmt: skip
def test_a_spoilt_folder_is_told(tmp_path: Path, spoil: Callable[[Path], object], says: str) -> None:
    folder = trail(tmp_path)
    found, wrong = read(folder)
    assert ([each.body.get("sekisho.count") for each in found][1:], wrong) == (list(range(6)), [])
    spoil(folder)
    assert any(says in one for one in read(folder)[1]), read(folder)[1]


def test_lost_forged_doubled_and_untold_records_are_told(tmp_path: Path) -> None:
    found, _ = read(trail(tmp_path))
    told = [("s" if number % 2 else "w", number) for number in range(6)]
    assert lost_or_forged(found, told, set(range(6)), died=False) == []
    assert lost_or_forged(found, [*told, ("s", 6)], set(range(7)), died=False) == [
        "record 6 was acknowledged and is missing"
    ]
    assert lost_or_forged(found, told[:5], set(range(5)), died=True) == ["record 5 was never submitted"]
    assert lost_or_forged([*found, found[-1]], told, set(range(6)), died=True) == ["record 5 is stored 2 times"]
    assert lost_or_forged(found, told[:5], set(range(6)), died=False) == ["nobody was told of record 5"]
    refused = lost_or_forged(found, [*told[:5], ("x", 5)], set(range(6)), died=False)
    assert refused == ["record 5 was refused, is stored, and no gap says so"]


LINE = r'"{\"sekisho.count\":4}}\n", 23'
TOLD = '8  writev(1</told>, [{iov_base="s 4'
GOOD = f"""\
7  openat(AT_FDCWD</x>, "/j/a.active", O_WRONLY|O_CREAT, 0600) = 5</j/a.active>
7  write(5</j/a.active>, {LINE}) = 23
8  writev(1</told>, [{{iov_base="w 4\\n", iov_len=4}}], 1) = 4
7  fdatasync(5</j/a.active> <unfinished ...>
8  writev(1</told>, [{{iov_base="w 4\\n", iov_len=4}}], 1) = 4
7  <... fdatasync resumed>) = 0
7  fsync(6</j>) = 0
8  writev(1</told>, [{{iov_base="s 4\\n", iov_len=4}}], 1) = 4
"""


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("", "", 0),
        ("7  fsync(6</j>) = 0\n", "", 1),  # the name is not durable
        ("7  <... fdatasync resumed>) = 0", "7  <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)", 1),
        ("= 0\n7  fsync", "= -1 EIO (I/O error)\n7  fdatasync(5</j/a.active>) = 0\n7  fsync", 1),  # tried again
        ("= 0\n7  fsync", "= -1 EINTR (x)\n7  fdatasync(5</j/a.active>) = 0\n7  fsync", 0),
        (f"{LINE}) = 23", f"{LINE}) = 10", 3),  # a short write, never continued
        ("7  write(5", "7  pread64(5", 3),
        (TOLD, f'7  unlink("/j/a.active") = 0\n7  fsync(6</j>) = 0\n{TOLD}', 1),
    ],
)  # fmt: skip
def test_what_was_told_before_a_power_failure_would_leave_it_is_told(old: str, new: str, wrong: int) -> None:
    assert old in GOOD
    assert len(told_too_early(calls(GOOD.replace(old, new)))) == wrong


def test_the_cells_are_every_call_with_every_fault() -> None:
    root = Path("/j")
    made = [
        Call(1, name, f'"/j/{name}"', 9, "", injected=False) for name in ("openat", "write", "openat", "execve")
    ] + [Call(1, "openat", '"/elsewhere"', 9, "", injected=False)]
    found = list(cells(Run([], made, 0, ""), root))
    assert [each for each in found if each.fault == "EIO"] == [
        Cell("openat", 1, "EIO"), Cell("write", 1, "EIO"), Cell("openat", 2, "EIO"),
    ]  # fmt: skip
    assert len(found) == 3 * len(FAULTS) + 4
    assert {(each.call, each.fault) for each in each_kind_once(found)} >= {("openat", KILL_AFTER), ("write", "ENOSPC")}
