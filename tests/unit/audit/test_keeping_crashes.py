"""The keeper dies, or is refused, at each of its calls that change the disk: nothing is lost and it finishes later.

Every call is failed once before it did anything and once after it did everything, as the process's death and as an
error of the disk.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from audit import durable
from audit.checkpoint import generate
from audit.entries import load
from audit.segment import segments
from tests.support.house import DAY, House

YEAR = 365 * DAY
SIGNER = generate("log.example")


class Died(BaseException):
    """The process is gone at this point."""


class Calls:
    """Counts the calls that change files of `folder`, and fails one of them."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.made, self.fail_at, self.after = folder, 0, 0, False
        self.error: Callable[[], BaseException] = Died
        self._ours: set[int] = set()
        for owner, name in ((Path, "rename"), (Path, "unlink"), (durable, "create"), (durable, "sync_directory")):
            patch.setattr(owner, name, self._by_path(getattr(owner, name)))
        patch.setattr(durable, "write_all", self._by_number(durable.write_all))
        patch.setattr(os, "fsync", self._by_number(os.fsync))
        patch.setattr(os, "fchmod", self._by_number(os.fchmod))

    def _by_path(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *given: Any, **named: Any) -> Any:
            if self.folder not in (path, path.parent):
                return real(path, *given, **named)
            number = self._perform(partial(real, path, *given, **named))
            if real.__name__ == "create":
                self._ours.add(number)
            return number

        return call

    def _by_number(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, *given: Any) -> Any:
            if not self._is_ours(descriptor):
                return real(descriptor, *given)
            return self._perform(partial(real, descriptor, *given))

        return call

    def _is_ours(self, descriptor: int) -> bool:
        where = Path(f"/proc/self/fd/{descriptor}").readlink()
        return where.parent == self.folder  # a folder itself is counted as `sync_directory`

    def _perform(self, act: Callable[[], Any]) -> Any:
        self.made += 1
        if self.made == self.fail_at and not self.after:
            raise self.error()
        done = act()
        if self.made == self.fail_at:
            raise self.error()
        return done


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A worker's journal in one segment, covered: made once, each trial works on a copy."""
    folder = tmp_path_factory.mktemp("filled")
    house = House(folder, signer=SIGNER)
    house.filled(records=12)
    house.keep(1)
    assert house.forms() == ["jsonl"]
    return folder


def copied(filled: Path, root: Path, ages: dict[str, float], age: float) -> House:
    shutil.copytree(filled, root)
    house = House(root, ages, SIGNER)
    house.now += age
    return house


def trials(filled: Path, tmp_path: Path, ages: dict[str, float], age: float) -> Iterator[tuple[House, Calls, str]]:
    """Yield a house for each call that can fail, after it failed there in the keeper's first looks."""
    at, total = 1, 1
    while at <= total:
        for after in (False, True):
            for kind in ("died", "refused"):
                house = copied(filled, tmp_path / f"{at}-{after}-{kind}", ages, age)
                with pytest.MonkeyPatch.context() as patch:
                    calls = Calls(house.trail.journals / "worker-0", patch)
                    calls.fail_at, calls.after = at, after
                    if kind == "refused":
                        calls.error = partial(OSError, errno.EIO, "refused by the disk")
                    try:
                        house.keep(6)
                    except (Died, OSError):
                        total = max(total, calls.made)
                    else:
                        total = max(total, at)  # nothing fails so late
                    assert calls.made >= at or at > 1
                if calls.made >= at:
                    yield house, calls, f"call {at}, {'after' if after else 'before'} it, {kind}"
                    total = max(total, at + 1)
        at += 1


def names(house: House) -> list[str]:
    return sorted(path.name for path in (house.trail.journals / "worker-0").iterdir() if path.name != "lock")


@pytest.mark.promise("P5.compressed-proves-alike")
def test_compressing_may_end_anywhere(filled: Path, tmp_path: Path) -> None:
    whole = House(filled, signer=SIGNER)
    lines, entries = whole.lines(), whole.entries()
    tried = 0
    for house, _, where in trials(filled, tmp_path, {}, DAY):
        assert (house.lines(), house.entries()) == (lines, entries), where
        house.verify()
        house.keep(4)
        assert house.forms() == ["jsonl.zst"], where
        assert (house.lines(), house.entries()) == (lines, entries), where
        assert len(names(house)) == 1, (where, names(house))
        tried += 1
    assert tried >= 4 * 9  # unlink, create, write, write, chmod, sync, rename, sync folder; then unlink, sync folder


@pytest.mark.promise("P5.deletion-on-record")
def test_deleting_may_end_anywhere(filled: Path, tmp_path: Path) -> None:
    entries = House(filled, signer=SIGNER).entries()
    tried = 0
    for house, _, where in trials(filled, tmp_path, {"access": YEAR}, 2 * YEAR):
        assert house.entries() == entries, where
        house.verify()
        house.keep(6)
        assert house.forms() == ["entries"], where
        assert house.entries() == entries, where
        assert names(house) == [each.path.name for each in segments(house.trail.journals / "worker-0")], where
        for each in segments(house.trail.journals / "worker-0"):
            assert any(
                told["sekisho.expired.sha256"] == load(each.path).digest.hex() for told in house.told("audit.expired")
            )
        house.verify()
        tried += 1
    assert tried >= 4 * 20  # the same, and again for the entries
