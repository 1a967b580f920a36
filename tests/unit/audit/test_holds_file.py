"""The file of holds: what each names, who may write at once, what its absence means, how long records are kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from audit import holds
from audit.holds import FILE, LOCK, Hold, HoldsUnreadable, add, holding, load, remove
from audit.retention import Retention, RetentionClass, class_of, read_ages

DAY = 86_400.0
NOW = 1_700_000_000.0


def hold(name: str = "H1", **named: object) -> Hold:
    wanted: dict[str, object] = {
        "id": name, "writers": (), "classes": (), "since": None, "until": None, "case": "", "reason": "審査請求",
        "created_by": "suzuki", "created_at": NOW, **named,
    }  # fmt: skip
    return Hold(**wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("named", "writer", "first", "last", "held"),
    [
        ({}, "anyone", 0.0, 1.0, True),
        ({"writers": ("worker-0",)}, "worker-0", 0.0, 1.0, True),
        ({"writers": ("worker-0",)}, "worker-1", 0.0, 1.0, False),
        ({"writers": ("worker-0",), "classes": (RetentionClass.SYSTEM,)}, "auditor", 0.0, 1.0, True),
        ({"classes": (RetentionClass.ACCESS,)}, "worker-12", 0.0, 1.0, True),
        ({"classes": (RetentionClass.ACCESS,)}, "worker-1.anonymous", 0.0, 1.0, False),
        ({"classes": (RetentionClass.ACCESS,)}, "importer", 0.0, 1.0, False),
        ({"since": NOW}, "w", NOW - DAY, NOW - 601, False),
        ({"since": NOW}, "w", NOW - DAY, NOW - 599, True),  # in doubt it is held
        ({"until": NOW}, "w", NOW + 599, NOW + DAY, True),
        ({"until": NOW}, "w", NOW + 600, NOW + DAY, False),
        ({"since": NOW, "until": NOW + DAY}, "w", NOW - DAY, NOW + 2 * DAY, True),
    ],
)
def test_what_a_hold_names(named: dict[str, object], writer: str, first: float, last: float, held: bool) -> None:
    assert hold(**named).holds(writer, first, last) is held


def test_holds_come_back_as_they_were_kept(tmp_path: Path) -> None:
    assert load(tmp_path) == ()
    first = hold(writers=("worker-0", "control"), classes=(RetentionClass.SYSTEM,), since=1.5, until=2.5, case="公開 1")
    add(tmp_path, first)
    add(tmp_path, hold("H2"))
    assert load(tmp_path) == (first, hold("H2"))
    assert remove(tmp_path, "H3") is None
    assert remove(tmp_path, "H1") == first
    assert load(tmp_path) == (hold("H2"),)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_nobody_has_held_anything_until_somebody_did(tmp_path: Path) -> None:
    with holding(tmp_path):
        assert load(tmp_path) == ()
    assert (tmp_path / FILE).exists()
    (tmp_path / FILE).unlink()
    with pytest.raises(HoldsUnreadable, match="gone"):
        load(tmp_path)
    with pytest.raises(HoldsUnreadable, match="gone"):
        add(tmp_path, hold())
    assert not (tmp_path / FILE).exists()


def test_a_start_that_died_with_the_lock_alone_begins_again(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    assert load(tmp_path) == ()
    add(tmp_path, hold())
    assert load(tmp_path) == (hold(),)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "JSONDecodeError"), (b"[]", "TypeError"), (b'{"v":2,"holds":[]}', "version: got 2, expected 1"),
        (b'{"v":1}', "KeyError"), (b'{"v":1,"holds":[{}]}', "classes"), (b'{"v":1,"holds":[{"classes":["x"]}]}', "'x'"),
        (b'{"v":1,"holds":[{"classes":[],"writers":[],"since":null}]}', "missing"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(HoldsUnreadable, match=says) as caught:
        load(tmp_path)
    assert str(tmp_path / FILE) in str(caught.value)


def test_many_at_once_lose_no_hold(tmp_path: Path) -> None:
    names = [f"H{number}" for number in range(24)]
    together = threading.Barrier(8)

    def one(name: str) -> None:
        if int(name[1:]) < 8:
            together.wait(60)  # also the very first use of the folder is by many
        add(tmp_path, hold(name))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, names))
    assert sorted(each.id for each in load(tmp_path)) == sorted(names)


def test_who_deletes_keeps_others_from_holding_meanwhile(tmp_path: Path) -> None:
    order: list[str] = []

    def keep() -> None:
        add(tmp_path, hold())
        order.append("held")

    with ThreadPoolExecutor(1) as pool:
        with holding(tmp_path):
            waiting = pool.submit(keep)
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
            order.append("deleted")
        waiting.result(60)
    assert order == ["deleted", "held"]
    assert [each.id for each in holds.load(tmp_path)] == ["H1"]


def test_each_kind_of_writer_has_its_class_and_age() -> None:
    kinds = {name: class_of(name) for name in ("worker-0", "worker-63", "worker-0.anonymous", "control", "steward",
                                               "supervisor", "auditor", "worker", "worker-a", "x")}  # fmt: skip
    assert kinds == {
        "worker-0": RetentionClass.ACCESS, "worker-63": RetentionClass.ACCESS,
        "worker-0.anonymous": RetentionClass.ANONYMOUS, "control": RetentionClass.ADMINISTRATION,
        "steward": RetentionClass.ADMINISTRATION, "supervisor": RetentionClass.SYSTEM,
        "auditor": RetentionClass.SYSTEM, "worker": None, "worker-a": None, "x": None,
    }  # fmt: skip
    retention = read_ages(["access=10", "system=2.5"])
    assert retention == Retention({RetentionClass.ACCESS: 10.0, RetentionClass.SYSTEM: 2.5})
    assert (retention.ends("worker-0", 5.0), retention.ends("control", 5.0), retention.ends("x", 5.0)) == (
        15.0,
        None,
        None,
    )


@pytest.mark.parametrize("text", ["acess=1", "access", "access=", "access=0", "access=-1", "access=x", "=1"])
def test_an_age_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="retention: got"):
        read_ages([text])
