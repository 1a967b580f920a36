"""What the keeper does with sealed segments: compressed when covered, deleted at their end, held, told, and proved."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit import holds
from audit.entries import load
from audit.holds import Hold
from audit.keeping import expiring
from audit.query import Query
from audit.reader import IntegrityError
from audit.retention import RetentionClass
from audit.search import search
from audit.segment import segments
from tests.support.house import DAY, START, House

YEAR = 365 * DAY


def hold(**named: object) -> Hold:
    wanted: dict[str, object] = {
        "id": "H1", "writers": (), "classes": (), "since": None, "until": None, "case": "情報公開 12",
        "reason": "審査請求", "created_by": "suzuki", "created_at": START, **named,
    }  # fmt: skip
    return Hold(**wanted)  # type: ignore[arg-type]


@pytest.mark.promise("P5.compressed-proves-alike")
def test_covered_segments_are_compressed_and_everything_reads_as_before(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.filled()
    before = house.lines(), house.entries(), list(search(house.trail.journals, Query(limit=1000)))
    assert len(set(house.forms())) == 1
    assert len(house.forms()) >= 3
    house.now += DAY
    house.keep(2)
    assert set(house.forms()) == {"jsonl.zst"}
    assert [path.suffix for path in (house.trail.journals / "worker-0").iterdir() if path.name != "lock"] == [
        ".zst"
    ] * len(house.forms())
    worker = [event for event in search(house.trail.journals, Query(limit=1000)) if event["event.id"][:6] == "worker"]
    assert (house.lines(), house.entries(), worker) == before
    house.filled(first=100)  # a restarted writer goes on where the compressed ones end
    house.keep(1)
    assert house.verify().writers["worker-0"].epochs == 2


def test_what_no_checkpoint_covers_is_left_alone(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": 1.0})
    house.filled()
    house.now += YEAR

    async def look(_auditor: object, keeper: object) -> None:
        assert not await keeper.look()  # type: ignore[attr-defined]

    house.with_keeper(look)
    assert set(house.forms()) == {"jsonl"}


def test_what_is_young_is_not_compressed(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.filled()
    house.compress_after = 30.0
    house.now += 59.0
    house.keep(3)
    forms = house.forms()
    assert forms == sorted(forms, reverse=True)
    assert set(forms) == {"jsonl", "jsonl.zst"}


@pytest.mark.promise("P5.deletion-on-record")
def test_at_the_end_of_retention_only_the_entries_are_left_and_everything_verifies(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": YEAR})
    house.filled()
    house.filled("control")
    entries = house.entries()
    house.keep(2)
    house.now += YEAR + 30  # the first half of the records is older than a year
    house.keep(4)
    forms = house.forms()
    gone = forms.count("entries")
    assert forms == ["entries"] * gone + ["jsonl.zst"] * (len(forms) - gone)
    assert 0 < gone < len(forms)
    assert set(house.forms("control")) == {"jsonl.zst"}  # its class is kept for ever here
    assert house.entries() == entries
    proved = house.verify()
    told = house.told("audit.expired")
    assert len(told) == gone
    assert {each["sekisho.expired.class"] for each in told} == {"access"}
    assert proved.writers["worker-0"].expired == sum(each["sekisho.expired.records"] for each in told)
    assert all(each["sekisho.expired.last_at"] < "2023-11-14T22:13:51" for each in told)
    found = {str(event["http.request.id"]) for event in search(house.trail.journals, Query(limit=1000))
             if event["event.id"].startswith("worker")}  # fmt: skip
    assert "R000000000000000" not in found
    assert "R000000000000059" in found


@pytest.mark.promise("P5.deletion-on-record")
@pytest.mark.parametrize("covered", [True, False])
def test_entries_without_a_record_of_their_deletion_are_named(tmp_path: Path, covered: bool) -> None:
    house = House(tmp_path)
    house.filled()
    house.keep(2)
    if not covered:
        house.filled("worker-1")
    writer = "worker-0" if covered else "worker-1"
    found = segments(house.trail.journals / writer)
    held = expiring.entries_of(found[1], [found[0], found[2]])
    expiring.leave(found[1], held)
    assert house.verify().writers[writer].expired == 0  # the lines are there and count
    expiring.delete(found[1])
    with pytest.raises(IntegrityError, match=r"audit\.expired") as caught:
        house.verify()
    assert (caught.value.writer, caught.value.segment) == (writer, found[1].under("entries").path.name)
    assert caught.value.seq == found[1].first_seq


def test_a_record_of_a_deletion_counts_only_under_a_checkpoint(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": 1.0})
    house.filled()
    house.now += YEAR
    left: list[int] = []

    async def never_signed_again(auditor: object, keeper: object) -> None:
        while auditor.poll():  # type: ignore[attr-defined]
            continue
        auditor.commit()  # type: ignore[attr-defined]
        for _ in range(4):
            await keeper.look()  # type: ignore[attr-defined]
        left.append(sum(1 for path in (house.trail.journals / "worker-0").glob("*.entries")))

    house.with_keeper(never_signed_again)
    assert left == [0]
    assert house.told("audit.expired")


@pytest.mark.promise("P5.hold-keeps")
@pytest.mark.parametrize(
    "named",
    [
        {"writers": ("worker-0",)},
        {"classes": (RetentionClass.ACCESS,)},
        {},
        {"since": START - 10, "until": START + 70},
        {"writers": ("worker-0",), "until": START + 70},
    ],
)
def test_a_hold_keeps_what_it_names_until_it_is_lifted(tmp_path: Path, named: dict[str, object]) -> None:
    house = House(tmp_path, {"access": 1.0})
    house.filled()
    house.filled("worker-1", first=1_000_000)
    holds.add(house.trail.journals, hold(**named))
    house.now += YEAR
    house.keep(6)
    assert set(house.forms()) == {"jsonl.zst"}
    other = "jsonl.zst" if named in ({"classes": (RetentionClass.ACCESS,)}, {}) else "entries"
    assert set(house.forms("worker-1")) == {other}
    assert holds.remove(house.trail.journals, "H1") is not None
    house.keep(6)
    assert set(house.forms()) == set(house.forms("worker-1")) == {"entries"}
    house.verify()


def test_a_hold_that_comes_between_record_and_deletion_still_keeps(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": 1.0})
    house.filled()
    house.now += YEAR
    for step in range(1, 4):  # after the record, after the entries were left, after one more look
        house.keep(step)
        if "entries" in house.forms():
            break
        holds.add(house.trail.journals, hold(id=f"H{step}"))
        house.keep(4)
        assert "entries" not in house.forms()
        holds.remove(house.trail.journals, f"H{step}")
    assert "entries" in house.forms()
    house.verify()


@pytest.mark.promise("P5.hold-keeps")
@pytest.mark.parametrize("damage", ["gone", "cut", "version", "class", "folder"])
def test_nothing_is_deleted_while_nobody_can_tell_what_is_held(tmp_path: Path, damage: str) -> None:
    house = House(tmp_path, {"access": 1.0})
    house.filled()
    holds.add(house.trail.journals, hold(writers=("worker-7",)))
    path = house.trail.journals / holds.FILE
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes({"cut": whole[:-5], "version": whole.replace(b'"v": 1', b'"v": 2'),
                          "class": whole.replace(b'"classes": []', b'"classes": ["acess"]')}[damage])  # fmt: skip
    house.now += YEAR
    house.keep(6)
    assert "entries" not in house.forms()
    (told,) = house.told("audit.not_kept")
    assert told["error.message"].startswith("nothing is deleted")
    assert holds.FILE in told["error.message"]
    if damage == "folder":
        path.rmdir()
    path.write_bytes(whole)
    house.keep(6)
    assert set(house.forms()) == {"entries"}


def test_a_clock_that_leapt_ahead_deletes_nothing_for_a_day(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": YEAR})
    house.filled()
    ticks = iter([0.0, 2 * YEAR, 0.0, 0.0, 0.0, 0.0])

    def leap() -> None:
        house.now += next(ticks)
        house.machine += 5.0

    house.keep(6, leap)
    assert set(house.forms()) == {"jsonl.zst"}
    assert "leapt" in house.told("audit.not_kept")[0]["error.message"]
    house.keep(6)  # a start later the machine's clocks agree: somebody saw to it
    assert set(house.forms()) == {"entries"}


def test_a_segment_that_was_tampered_with_is_kept_as_evidence(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": 1.0})
    house.filled()
    house.keep(1)
    second = segments(house.trail.journals / "worker-0")[1].path
    data = second.read_bytes()
    second.chmod(0o600)
    second.write_bytes(data.replace(b'"sato"', b'"kato"', 1))
    house.now += YEAR
    house.keep(6)
    assert [form == "entries" for form in house.forms()] == [at != 1 for at in range(len(house.forms()))]
    assert any("not deleted" in each["error.message"] for each in house.told("audit.not_kept"))
    with pytest.raises(IntegrityError) as caught:
        house.verify()
    assert (caught.value.writer, caught.value.segment[:19]) == ("worker-0", second.name[:19])


def test_the_auditors_own_journal_expires_and_its_deletions_stay_on_record(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": 1.0, "system": 1.0})
    house.filled(records=200)
    house.now += YEAR
    for _ in range(3):
        house.keep(8)
        house.now += DAY
        house.verify()
    own = [each for each in segments(house.trail.journals / "auditor") if each.expired]
    assert own
    assert sum(len(load(each.path).kept) for each in own) > 0
    assert set(house.forms()) == {"entries"}
    kept = [line for each in own for line in load(each.path).kept.values()]
    assert all(b'"event.action":"audit.expired"' in line for line in kept)


def test_a_writer_of_whom_everything_expired_goes_on_in_its_chain(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": 1.0})
    house.filled()
    house.now += YEAR
    house.keep(6)
    assert set(house.forms()) == {"entries"}
    assert house.lines() == []
    house.filled(first=500)
    house.keep(1)
    assert len(house.lines()) == 61
    assert house.verify().writers["worker-0"].epochs == 2


def test_the_unknown_writers_records_are_never_deleted(tmp_path: Path) -> None:
    house = House(tmp_path, {name.value: 1.0 for name in RetentionClass})
    house.filled("importer")
    house.now += 100 * YEAR
    house.keep(6)
    assert set(house.forms("importer")) == {"jsonl.zst"}


@pytest.mark.parametrize("damage", ["compressed", "entries"])
def test_one_damaged_segment_keeps_nobody_else_from_being_kept(tmp_path: Path, damage: str) -> None:
    house = House(tmp_path, {"access": 1.0})
    house.filled()
    house.filled("worker-1")
    house.now += 0.5 * DAY
    house.retention = type(house.retention)({})
    house.keep(3)
    victim = segments(house.trail.journals / "worker-0")[1]
    if damage == "entries":
        neighbours = [segments(house.trail.journals / "worker-0")[at] for at in (0, 2)]
        held = expiring.entries_of(victim, neighbours)
        expiring.leave(victim, held)
        victim.path.unlink()
        victim = victim.under("entries")
    victim.path.chmod(0o600)
    whole = victim.path.read_bytes()
    victim.path.write_bytes(whole[:-7])
    house.retention = type(house.retention)({RetentionClass.ACCESS: 1.0})
    house.now += YEAR
    house.keep(8)
    assert set(house.forms("worker-1")) == {"entries"}
    left = [number for number, form in enumerate(house.forms()) if form != "entries"]
    assert left == ([0, 1, 2] if damage == "compressed" else [0, 2])  # what stands beside it cannot be checked
    with pytest.raises(IntegrityError) as caught:
        house.verify()
    assert (caught.value.writer, caught.value.segment) == ("worker-0", victim.path.name)
    victim.path.write_bytes(whole)  # found again, say, in a copy
    house.keep(8)
    assert set(house.forms()) == {"entries"}


@pytest.mark.promise("P5.deletion-on-record")
def test_records_of_a_wrong_clock_are_kept_as_long_as_those_around_them(tmp_path: Path) -> None:
    house = House(tmp_path, {"access": YEAR})
    for first in (-int(50 * YEAR), 0, -int(2 * YEAR), 100, int(30 * YEAR), 200):  # what its clock said at each start
        house.filled(records=14, first=first)
    house.now += DAY
    house.keep(4)
    assert "entries" not in house.forms()
    house.now += YEAR
    house.keep(8)
    assert set(house.forms()) == {"entries"}
    house.verify()
