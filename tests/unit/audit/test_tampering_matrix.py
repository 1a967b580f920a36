"""Every tampering with every part of the trail: found with what P5 allows, and the first bad record or file named.

A cell is what is done, what the verifier needs (the public key; or the key and one checkpoint kept elsewhere), and what
it names. Where a tampering cannot be a threat the cell says why, and the test shows that nothing changes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit.checkpoint import Checkpoint, CheckpointInvalid, generate
from audit.log import entries
from audit.merkle import root_of
from audit.segment import segments
from audit.verify import IntegrityError, Verified, verify_journals
from audit.verifying import hashing
from tests.support import tampering
from tests.support.tampering import ACTS, Lines, Signed, lines_in, log_over, other_log, put, rewrite, write
from tests.support.trails import decision

PLACES = ("journal", "compressed journal", "tiles", "bundles", "checkpoint", "places", "auditor.json")
Named = tuple[str, str, int]
"""Writer (`log` for the log's files), file, line or item; what is named where it is found."""


@dataclass(frozen=True)
class Found:
    """A tampering that is found. `change` does it and returns what has to be named, None for the signature."""

    change: Callable[[Signed], Named | None]
    kept: bool = False  # whether a checkpoint kept elsewhere is needed


@dataclass(frozen=True)
class Harmless:
    """A tampering that changes nothing: why, and what to do to show it."""

    why: str
    change: Callable[[Signed], object] = lambda _signed: None


Cell = Found | Harmless


@pytest.fixture(autouse=True, params=["plain", "side by side"])
def hashed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell with both ways to hash, however short its trail is."""
    if request.param == "side by side":
        monkeypatch.setattr(hashing, "WORTH", 0)
        assert hashing.fastest(0) is not hashing.PLAIN


def in_segment(change: Callable[[Lines], None], line: int, number: int = 1) -> Callable[[Signed], Named]:
    """Change a segment's lines and nothing else."""

    def done(trail: Signed) -> Named:
        lines = lines_in(trail.now, number)
        named = line if line > 0 else len(lines) + 1 + line
        change(lines)
        return (*put(trail.now, number, lines), named)

    return done


def mended(change: Callable[[Lines], None], line: int) -> Callable[[Signed], Named]:
    """Change a segment's lines and make the chain fit again, to the journal's end."""
    return lambda trail: (*rewrite(trail.now, change, 1), line)


def journal_of_before(trail: Signed) -> Named:
    shutil.rmtree(trail.now.journals)
    shutil.copytree(trail.before.journals, trail.now.journals)
    last = segments(trail.now.journals / "worker-0")[-1]
    return "worker-0", last.path.name, len(lines_in(trail.now, -1)) + 1


def other_end(trail: Signed) -> Named:
    """Another second epoch, which the log has never seen."""
    form = segments(trail.now.journals / "worker-0")[0].form
    journal_of_before(trail)
    trail.now.write("worker-0", [decision(5000 + at) for at in range(40)])
    first = next(item for item in segments(trail.now.journals / "worker-0") if item.epoch == 2)
    assert form in ("jsonl", "jsonl.zst")
    return "worker-0", first.path.name, 1


def whole_trail(signer: Callable[[Signed], Any]) -> Callable[[Signed], Named | None]:
    """Change a record, mend the chain, build the log anew and sign it."""

    def done(trail: Signed) -> Named | None:
        rewrite(trail.now, tampering.edit, 1)
        key = signer(trail)
        other_log(trail.now, key)
        return ("log", "checkpoint", 0) if key is trail.now.signer else None

    return done


BY_ANOTHER = Found(whole_trail(lambda _trail: generate("log.example")))
BY_THE_THIEF = Found(whole_trail(lambda trail: trail.now.signer), kept=True)
UNSIGNED = "it carries no signature: who re-signs has to rebuild the log, which is the checkpoint's row"


def journal_cells() -> Mapping[str, Cell]:
    """The same for both forms."""
    return {
        "edit": Found(in_segment(tampering.edit, 4)),
        "edit, chain mended": Found(mended(tampering.edit, 4)),
        "delete": Found(in_segment(tampering.delete, 4)),
        "delete, chain mended": Found(mended(tampering.delete, 4)),
        "insert": Found(in_segment(tampering.insert, 4)),
        "insert, chain mended": Found(mended(tampering.insert, 4)),
        "reorder": Found(in_segment(tampering.reorder, 4)),
        "reorder, chain mended": Found(mended(tampering.reorder, 4)),
        "truncate": Found(in_segment(tampering.truncate, -2, -1)),
        "roll back": Found(journal_of_before),
        "fork": Found(other_end),
        "re-sign": BY_ANOTHER,
        "re-sign with the stolen key": BY_THE_THIEF,
    }


def in_file(kind: str, stride: int, change: Callable[[list[bytes]], object], item: int) -> Callable[[Signed], Named]:
    """Change the items of the first full tile or bundle."""

    def done(trail: Signed) -> Named:
        path = trail.now.log / "tile" / kind / "000"
        data = path.read_bytes()
        items = [data[at : at + stride] for at in range(0, len(data), stride)]
        change(items)
        write(path, b"".join(items))
        return "log", f"tile/{kind}/000", item

    return done


def gone(kind: str) -> Callable[[Signed], Named]:
    def done(trail: Signed) -> Named:
        (trail.now.log / "tile" / kind / "000").unlink()
        return "log", f"tile/{kind}/000", 1

    return done


def of_before(kind: str) -> Callable[[Signed], Named]:
    def done(trail: Signed) -> Named:
        folder = trail.now.log / "tile" / kind
        present = max((path.name for path in (folder / "001.p").iterdir()), key=int)
        shutil.rmtree(folder)
        shutil.copytree(trail.before.log / "tile" / kind, folder)
        return "log", f"tile/{kind}/001.p/{present}", 1

    return done


def flip(items: list[bytes]) -> None:
    items[10] = items[10][:-1] + bytes([items[10][-1] ^ 1])


def swap(items: list[bytes]) -> None:
    items[10], items[11] = items[11], items[10]


def log_of_others(trail: Signed) -> Named:
    """Tiles and bundles that agree with each other, over one changed entry; the checkpoint stays."""
    own = list(entries(trail.now.log, trail.kept.size))
    own[100] = bytes(32)
    shutil.rmtree(trail.now.log / "tile")
    log_over(trail.now.log, own)
    return "log", "checkpoint", 0


def tile_cells(kind: str, stride: int) -> Mapping[str, Cell]:
    """The same for tiles and entry bundles."""
    return {
        "edit": Found(in_file(kind, stride, flip, 11)),
        "delete": Found(gone(kind)),
        "delete an item": Found(in_file(kind, stride, lambda items: items.pop(10), 1)),
        "insert": Found(in_file(kind, stride, lambda items: items.insert(10, bytes(stride)), 1)),
        "reorder": Found(in_file(kind, stride, swap, 11)),
        "truncate": Found(in_file(kind, stride, lambda items: items.pop(), 1)),
        "roll back": Found(of_before(kind)),
        "fork": Found(log_of_others),
        "re-sign": Harmless(UNSIGNED),
        "re-sign with the stolen key": Harmless(UNSIGNED),
    }


def in_note(change: Callable[[list[str]], object]) -> Callable[[Signed], None]:
    def done(trail: Signed) -> None:
        path = trail.now.log / "checkpoint"
        lines = path.read_text().splitlines(keepends=True)
        change(lines)
        write(path, "".join(lines).encode())

    return done


def no_note(trail: Signed) -> Named:
    (trail.now.log / "checkpoint").unlink()
    return "log", "checkpoint", 0


def all_of_before(trail: Signed) -> Named:
    for folder in (trail.now.journals, trail.now.log):
        shutil.rmtree(folder)
    shutil.copytree(trail.before.journals, trail.now.journals)
    shutil.copytree(trail.before.log, trail.now.log)
    return "log", "checkpoint", 2


def other_branch(trail: Signed) -> Named:
    """The log's own key signs another tree of the same size: two stories for two listeners."""
    own = list(entries(trail.now.log, trail.kept.size))
    journal_of_before(trail)
    (trail.now.log / "checkpoint").unlink()
    other_log_after = [decision(7000 + at) for at in range(19)]
    shutil.rmtree(trail.now.log)
    shutil.copytree(trail.before.log, trail.now.log)
    trail.now.write("worker-0", other_log_after)
    while trail.now.sign() < len(own):
        trail.now.write("worker-0", [decision(8000)])
    return "log", "checkpoint", 0


CHECKPOINT: Mapping[str, Cell] = {
    "edit": Found(in_note(lambda lines: lines.__setitem__(1, "7\n"))),
    "delete": Found(no_note, kept=True),
    "insert": Found(in_note(lambda lines: lines.insert(3, "extension\n"))),
    "insert a stranger's signature": Harmless(
        "C2SP signed-note: signatures by keys that the verifier does not know are passed over",
        in_note(
            lambda lines: lines.append(generate("x").sign(Checkpoint("x", 0, root_of([]))).splitlines()[-1] + "\n")
        ),
    ),
    "reorder": Found(in_note(lambda lines: lines.reverse())),
    "truncate": Found(in_note(lambda lines: lines.pop())),
    "roll back": Found(all_of_before, kept=True),
    "fork": Found(other_branch, kept=True),
    "re-sign": BY_ANOTHER,
    "re-sign with the stolen key": BY_THE_THIEF,
}


def notes(name: str, change: Callable[[list[bytes]], object]) -> Callable[[Signed], None]:
    def done(trail: Signed) -> None:
        path = trail.now.log / name
        lines = path.read_bytes().splitlines(keepends=True)
        change(lines)
        write(path, b"".join(lines))

    return done


def old_notes(name: str) -> Callable[[Signed], object]:
    return lambda trail: shutil.copy(trail.before.log / name, trail.now.log / name)


def note_cells(name: str) -> Mapping[str, Cell]:
    """The auditor's own notes: never trusted by who verifies."""
    why = "a note of the auditor's, never trusted: verification gives the same result and names the same records"
    mixed = notes(
        name, lambda lines: lines.__setitem__(0, lines[0].replace(b"1", b"2").replace(b"worker-0", b"worker-1"))
    )
    return {
        "edit": Harmless(why, mixed),
        "delete": Harmless(why, lambda trail: (trail.now.log / name).unlink()),
        "insert": Harmless(why, notes(name, lambda lines: lines.append(b"0 worker-1 1 1 9999\n"))),
        "reorder": Harmless(why, notes(name, lambda lines: lines.reverse())),
        "truncate": Harmless(why, notes(name, lambda lines: lines.pop())),
        "roll back": Harmless(why, old_notes(name)),
        "fork": Harmless(why, mixed),
        "re-sign": Harmless(UNSIGNED),
        "re-sign with the stolen key": Harmless(UNSIGNED),
    }


MATRIX: Mapping[str, Mapping[str, Cell]] = {
    "journal": journal_cells(), "compressed journal": journal_cells(), "tiles": tile_cells("0", 32),
    "bundles": tile_cells("entries", 34), "checkpoint": CHECKPOINT, "places": note_cells("places"),
    "auditor.json": note_cells("auditor.json"),
}  # fmt: skip
CELLS = [(place, act, cell) for place, acts in MATRIX.items() for act, cell in acts.items()]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    return tampering.signed(tmp_path_factory.mktemp("plain"), compressed=False)


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    return tampering.signed(tmp_path_factory.mktemp("compressed"), compressed=True)


@pytest.fixture(scope="module")
def forms(plain: Signed, compressed: Signed) -> Mapping[str, Signed]:
    return {"compressed journal": compressed, **{place: plain for place in PLACES if place != "compressed journal"}}


def prove(trail: Signed, *kept: Checkpoint) -> Verified:
    return verify_journals(trail.now.journals, trail.now.log, trail.now.signer.verifier, kept)


def test_every_tampering_with_every_part_has_its_cell() -> None:
    for place, acts in MATRIX.items():
        assert set(ACTS) <= set(acts), place
    assert set(PLACES) == set(MATRIX)  # the index has its own cells: test_tampering_index


def test_an_untouched_trail_is_proved_in_both_forms(forms: Mapping[str, Signed]) -> None:
    for place in ("journal", "compressed journal"):
        proved = prove(forms[place], forms[place].kept)
        assert (proved.tail_records, proved.records) == (0, forms[place].kept.size)
    assert all(item.form == "jsonl.zst" for item in segments(forms["compressed journal"].now.journals / "worker-0"))


@pytest.mark.parametrize(("place", "act", "cell"), CELLS, ids=[f"{place}-{act}" for place, act, _ in CELLS])
@pytest.mark.promise("P5.every-tampering-named")
def test_a_tampering_is_found_and_named(
    forms: Mapping[str, Signed], tmp_path: Path, place: str, act: str, cell: Cell
) -> None:
    trail = forms[place].copy(tmp_path)
    kept = trail.kept
    if isinstance(cell, Harmless):
        expected = prove(trail, kept)
        cell.change(trail)
        assert prove(trail, kept) == expected
        return
    named = cell.change(trail)
    if cell.kept:
        prove(trail)  # what the key alone cannot tell: it is the checkpoint elsewhere that does
    with pytest.raises((IntegrityError, CheckpointInvalid)) as caught:
        prove(trail, *([kept] if cell.kept else []))
    error = caught.value
    if named is None:
        assert isinstance(error, CheckpointInvalid), error
        assert "checkpoint" in str(error)
    else:
        assert isinstance(error, IntegrityError), error
        assert (error.writer, error.segment, error.line) == named, error
    assert act  # named in the id


@pytest.mark.parametrize("act", ["edit", "delete", "insert", "reorder", "truncate", "roll back"])
@pytest.mark.parametrize("name", ["places", "auditor.json"])
def test_lying_notes_do_not_change_which_record_is_named(plain: Signed, tmp_path: Path, name: str, act: str) -> None:
    for number, change in enumerate(
        (in_segment(tampering.edit, 4), mended(tampering.edit, 4), in_segment(tampering.delete, 4))
    ):
        trail = plain.copy(tmp_path / str(number))
        change(trail)
        with pytest.raises(IntegrityError) as honest:
            prove(trail)
        cell = MATRIX[name][act]
        assert isinstance(cell, Harmless)
        cell.change(trail)
        with pytest.raises(IntegrityError) as lied:
            prove(trail)
        assert str(lied.value) == str(honest.value)
