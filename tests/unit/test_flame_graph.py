"""The flame graph in docs/: how samples become a picture, and that what it and its table name is there."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from benchmarks import flame, folded
from benchmarks.flame_svg import COLOURS, WIDTH, kind, label, render

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
READ = "gateway/edge/upstream.py UpstreamConnection.data_received"
LOOP = "0x7f (libc.so.6);main (gateway/worker.py:1);Runner.run (asyncio/runners.py:9);uv_run (core.c)"
KEEP = "gateway/gatekeeper.py WorkerGatekeeper.keep"


def qualified(node: ast.AST, prefix: str = "") -> Iterator[str]:
    """Yield the functions inside, as they name themselves, and by their last name alone."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}{each.name}"
            if not isinstance(each, ast.ClassDef):
                yield name
                yield each.name
            yield from qualified(each, f"{name}." if isinstance(each, ast.ClassDef) else f"{name}.<locals>.")
        else:
            yield from qualified(each, prefix)


@cache
def functions(path: str) -> frozenset[str]:
    return frozenset(qualified(ast.parse((ROOT / path).read_text(encoding="utf-8"))))


def is_there(frame: str) -> bool:
    path, _, function = frame.partition(" ")
    inner = function.rpartition(".")[2]
    return (ROOT / path).is_file() and (inner.startswith("<") or inner == "__init__" or function in functions(path))


def drawn() -> list[str]:
    """Return the frames of the picture in docs/ that are functions of ours."""
    picture = ET.fromstring(flame.PICTURE.read_text(encoding="utf-8"))  # noqa: S314  # our own
    titles = [each.text or "" for each in picture.iter(f"{SVG}title")]
    return sorted({title.rpartition(" · ")[0] for title in titles if title.startswith(folded.OURS)})


def test_the_picture_names_functions_that_are_there() -> None:
    assert len(drawn()) > 20
    assert [frame for frame in drawn() if not is_there(frame)] == []


def test_a_function_that_is_not_there_is_noticed() -> None:
    assert is_there(KEEP)
    assert not is_there("gateway/gatekeeper.py WorkerGatekeeper.kept_no_more")
    assert not is_there("gateway/no_module.py keep")


def test_the_blocks_are_functions_that_are_there_and_stand_in_the_document() -> None:
    text = flame.DOCUMENT.read_text(encoding="utf-8")
    assert [name for each in flame.BLOCKS.values() for name in each if not is_there(name)] == []
    begin, end = flame.MARKS
    rows = text.partition(begin)[2].partition(end)[0]
    shares = re.findall(r"^\| (.+?) \| (\d+) % \|$", rows, re.MULTILINE)
    assert {name for name, _ in shares} == {*flame.BLOCKS, flame.BETWEEN}
    assert sum(int(share) for _, share in shares) == pytest.approx(100, abs=len(shares) / 2)
    assert f"]({flame.PICTURE.name})" in text


def test_frames_are_told_as_people_know_them() -> None:
    raw = [
        f"{LOOP};UpstreamConnection.data_received (gateway/edge/upstream.py:117);PyBytes_Find (python3.11) 3",
        "Thread._bootstrap (threading.py);WriterThread._run (audit/journal_thread.py);write (libc.so.6) 2",
        "Thread._bootstrap (threading.py);WriterThread._run (audit/journal_thread.py);sem_post (libc.so.6) 2",
        f"{LOOP};uv__io_poll (linux.c);__GI_epoll_wait (libc.so.6) 7",
        "WriterThread._run (audit/journal_thread.py);PyThread_acquire_lock_timed (python3.11);0x7f (libc.so.6) 9",
        f"{LOOP};uv__read (stream.c);read (libc.so.6) 1",
        "WorkerGatekeeper.keep (gateway/gatekeeper.py);0x7f (orjson.so);0x8f (libc.so.6) 4",
        "WorkerGatekeeper.keep (gateway/gatekeeper.py);Py_DECREF (object.h);f (loop.c);Py_DECREF (object.h) 1",
        "WorkerGatekeeper.keep (gateway/gatekeeper.py) 5",
    ]
    thread = "audit/journal_thread.py WriterThread._run"
    assert folded.read(raw) == {
        (READ, "interpreter"): 3, (thread, "kernel: write"): 2, (thread, "kernel: futex"): 2, ("kernel: read",): 1,
        (KEEP, "libc: memory and strings"): 4, (KEEP, "uvloop"): 1, (KEEP,): 5,
    }  # fmt: skip


@pytest.mark.parametrize("line", ["no number at all", "a (b.py) -1", ""])
def test_what_is_no_sample_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="folded stack"):
        folded.read([line])


def test_a_sample_belongs_to_the_innermost_block() -> None:
    stacks = {(READ, KEEP, "libc: memory and strings"): 3, (READ, "interpreter"): 6, ("kernel: read",): 1}
    blocks = {"answer": frozenset({READ}), "record": frozenset({KEEP})}
    assert folded.shares(stacks, blocks) == {"answer": 0.6, "record": 0.3, "": 0.1}


def test_boxes_are_as_wide_as_their_share() -> None:
    text = render({(READ, KEEP): 1, (READ,): 2, ("kernel: write",): 1}, "a < b & c")
    picture = ET.fromstring(text)  # noqa: S314  # our own
    boxes = {
        (group.findtext(f"{SVG}title") or "").rpartition(" · ")[0]: group.find(f"{SVG}rect")
        for group in picture.iter(f"{SVG}g")
    }
    widths = {name: float(box.attrib["width"]) for name, box in boxes.items() if box is not None}
    whole = widths.pop("worker")
    assert whole == pytest.approx(WIDTH - 16, abs=1)
    assert widths == {
        READ: pytest.approx(whole * 3 / 4, abs=1), KEEP: pytest.approx(whole / 4, abs=1),
        "kernel: write": pytest.approx(whole / 4, abs=1),
    }  # fmt: skip
    assert next(each.text for each in picture.iter(f"{SVG}text")) == "a < b & c"
    assert "script" not in flame.PICTURE.read_text(encoding="utf-8")


def test_a_picture_of_nothing_is_none() -> None:
    with pytest.raises(ValueError, match="samples"):
        render({}, "nothing")


def test_each_kind_of_code_has_its_colour() -> None:
    assert [kind(name) for name in (READ, "gateway/gate/judge.py judge", "audit/journal.py append")] == [
        "edge", "gate", "audit",
    ]  # fmt: skip
    assert [kind(name) for name in ("kernel: write", "uvloop", "threading.py run")] == ["kernel", "native", "python"]
    assert {kind(KEEP), "python", "native", "kernel", "edge", "audit"} == set(COLOURS)


@pytest.mark.parametrize(
    ("room", "words"),
    [(60, "upstream.UpstreamConnection.data_received"), (40, "UpstreamConnection.data_received"),
     (13, "data_received"), (12, "data_receiv…"), (4, "dat…"), (3, "")],
)  # fmt: skip
def test_a_narrow_box_keeps_its_functions_name(room: int, words: str) -> None:
    assert label(READ, room) == words
    assert label("kernel: write", 20) == "kernel: write"


def test_the_table_stands_between_its_marks_and_nowhere_else() -> None:
    begin, end = flame.MARKS
    assert flame.put(f"a\n{begin}old{end}\nb", "new") == f"a\n{begin}new{end}\nb"
    with pytest.raises(ValueError, match="marks"):
        flame.put("a\nb", "new")
