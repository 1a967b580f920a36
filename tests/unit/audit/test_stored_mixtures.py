"""Whatever form each segment has, the journal reads as the same chain, and a search finds the same records."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import seekable, stored
from audit.event import Action, event
from audit.keeping import expiring
from audit.query import Query
from audit.reader import JournalReader, Record
from audit.scan import at
from audit.search import search, show
from audit.segment import COMPRESSED, Link, segments
from tests.support.house import START, House
from tests.support.trails import decision

W = "worker-0"
FORMS = st.lists(st.sampled_from(["plain", "compressed", "both", "expired", "left"]), min_size=8, max_size=8)
QUERIES = [
    Query(limit=1000), Query(limit=7), Query(limit=1000, newest_first=False), Query(filters={"user.name": "sato"}),
    Query(filters={"http.request.id": "R000000000000033"}), Query(text="R00000000000002"), Query(limit=5, text="0000"),
    Query(since=START + 20, until=START + 50, limit=1000), Query(filters={"event.id": f"{W}:1:12"}),
    Query(actions=frozenset({"request.completed"}), limit=1000), Query(text="nothing has this"),
]  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight sealed segments over two epochs, with completions far behind their decisions."""
    house = House(tmp_path_factory.mktemp("plain"))
    events = [decision(number) for number in range(60)]
    for number in range(0, 60, 3):
        ended = {"http.request.id": f"R{number:015d}", "event.outcome": "success"}
        events.insert(min(len(events), 2 * number + 15), event(Action.REQUEST_COMPLETED, START + number + 5, ended))
    house.trail.write(W, events[:50], 5000, lambda: START)
    house.trail.write(W, events[50:], 5000, lambda: START + 50)
    assert len(house.forms()) == 8
    return house.trail.journals


def made(plain: Path, root: Path, forms: list[str]) -> set[tuple[int, int]]:
    """Copy the journal and give each segment its form; returns the keys of those whose lines are gone."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(plain, root)
    found = segments(root / W)
    gone: set[tuple[int, int]] = set()
    for number, (segment, form) in enumerate(zip(found, forms, strict=True)):
        if form in ("compressed", "both"):
            with segment.path.open("rb") as lines:
                segment.under(COMPRESSED).path.write_bytes(b"".join(seekable.packed(lines)))
        if form in ("expired", "left"):
            neighbours = [*found[max(0, number - 1) : number], *found[number + 1 : number + 2]]
            expiring.leave(segment, expiring.entries_of(segment, neighbours))
        if form == "expired":
            gone.add(segment.key)
            segment.path.unlink()
        elif form == "compressed":
            segment.path.unlink()
    return gone


def read(root: Path, limit: int = 1 << 20, after: Link | None = None, *, expired: bool = True) -> list[Record]:
    reader = JournalReader(root, W, after, expired=expired)
    found: list[Record] = []
    while records := reader.read(limit):
        found += records
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forms=FORMS, limit=st.sampled_from([1, 700, 1 << 20]), resume=st.integers(0, 79), frame=st.integers(300, 6000))
@pytest.mark.promise("P5.compressed-proves-alike")
def test_any_mixture_reads_as_the_same_chain_and_is_searched_alike(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forms: list[str], limit: int, resume: int, frame: int
) -> None:
    monkeypatch.setattr(seekable, "FRAME", frame)
    whole, root = read(plain), tmp_path / "mixed"
    gone = made(plain, root, forms)
    hidden = [max(each.key for each in segments(root / W) if each.key <= (r.epoch, r.seq)) in gone for r in whole]
    mixed = read(root, limit)
    assert [(r.epoch, r.seq, r.entry) for r in mixed] == [(r.epoch, r.seq, r.entry) for r in whole]
    assert [r.line for r in mixed] == [b"" if out else r.line for r, out in zip(whole, hidden, strict=True)]
    left = [record.line for record, out in zip(whole, hidden, strict=True) if not out]
    assert [r.line for r in read(root, limit, expired=False)] == left
    record = whole[resume]
    rest = read(root, limit, Link(record.epoch, record.seq, record.entry))
    assert [r.entry for r in rest] == [r.entry for r in whole[resume + 1 :]]
    lines = {(r.epoch, r.seq): r.line for r, out in zip(whole, hidden, strict=True) if not out}
    for record in whole:
        found = at(root, W, (record.epoch, record.seq))
        assert (found.line if found else None) == lines.get((record.epoch, record.seq))
    if not gone:
        for query in QUERIES:
            assert list(search(root, query)) == list(search(plain, query)), query
        assert show(root, "R000000000000003") == show(plain, "R000000000000003")
    assert [stored.last_of(each) for each in segments(root / W)] == [
        stored.last_of(each) for each in segments(plain / W)
    ]
