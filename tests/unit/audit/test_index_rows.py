"""A passed request's row made of its lines' bytes is the row that its document becomes, whatever it asked for."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.completion import OWN
from audit.documents import Folder
from audit.event import timestamp
from audit.index.files import COLUMNS, FOLDED, load
from audit.index.indexing import Indexing
from audit.index.rows import row_of
from audit.index.writer import IndexWriter
from audit.reader import JournalReader
from audit.segment import GENESIS, SALT, encode_all, event_at, head, name_of, record_of
from gateway.completion import completion_bytes
from gateway.edge.services import Outcome
from tests.support.passages import laid, passages

NOW = 1_790_000_000.0
NAMES = ("ts", "writer", "epoch", "seq", *COLUMNS.values(), FOLDED, "event")
_LINE = passages()[0]
_BEGIN = event_at("worker-0", 1) + 1
MEMBERS = _LINE[_BEGIN : _LINE.index(OWN)]
"""What the decisions of one person in one second have in common, as the gate writes it."""

Unchained = list[tuple[bytes, bytes]]


def decided(number: int, members: bytes = MEMBERS, own: dict[str, Any] | None = None) -> tuple[bytes, bytes]:
    fields = {
        "@timestamp": timestamp(NOW + number / 1000), "http.request.id": f"1M3250V3V9A9YSQ{number}",
        "http.request.method": "GET", "url.path": "/", **(own or {}),
    }  # fmt: skip
    return members, orjson.dumps(fields)


def completed(number: int, outcome: Outcome) -> tuple[bytes, bytes]:
    return b"", completion_bytes(f"1M3250V3V9A9YSQ{number}", outcome, NOW + 1 + number / 1000)


def answered(status: int = 200, first_byte: float | None = 0.0119) -> Outcome:
    return Outcome(status, "", False, 120, 4096, 0.0125, first_byte)


def written(root: Path, records: Unchained) -> Path:
    salts = bytes(SALT * len(records))
    lines, _ = encode_all(head("worker-0", 1), 1, GENESIS.hex().encode(), salts, records)
    return laid(root, [lines])


def expected(journals: Path) -> list[tuple[Any, ...]]:
    """The rows of the documents that the journal calls for."""
    folder, reader, rows = Folder(), JournalReader(journals, "worker-0"), []
    while records := reader.read():
        rows += [row_of(made) for record in records for made in folder.take(record_of(record.line), NOW)]
    ordered = sorted(rows, key=lambda row: int(row["seq"]))
    return [tuple(_shown(row[name]) for name in NAMES) for row in ordered]


def _shown(value: object) -> object:
    return value if value is None else str(value)


def stored(folder: Path) -> list[tuple[Any, ...]]:
    files = [str(folder / name) for name, _, _ in load(folder).files]
    columns = ", ".join(f'"{name}"' for name in NAMES)
    with duckdb.connect() as database:
        found = database.execute(f"SELECT {columns} FROM read_parquet(?) ORDER BY epoch, seq", [files]).fetchall()  # noqa: S608
    return [tuple(_shown(value) for value in row) for row in found]


def indexed(journals: Path, folder: Path) -> tuple[int, int]:
    """Index everything; returns how many rows were made of bytes, and how many of documents."""
    writer = IndexWriter(journals, folder)
    while writer.poll(NOW):
        pass
    made = len(writer._rows), len(writer._documents)
    writer.flush()
    return made


PIECES = ["a", "/", "%", "%s", "多い", "ｶﾞ", "（", "\N{COMBINING ACUTE ACCENT}", "ハ\u3099", '"', "\\", "\t", "\x01",
          "\x7f", "\u2028", " ", "\N{OLD PERSIAN SIGN A}", ",", "'", "@timestamp"]  # fmt: skip
paths = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
outcomes = st.builds(
    Outcome, st.sampled_from([0, 200, 304, 502]), st.sampled_from(["", "", "app_timed_out"]),
    st.sampled_from([False, False, True]), st.integers(0, 2**40), st.integers(0, 2**40),
    st.floats(0, 1e5), st.one_of(st.none(), st.floats(0, 1e4)),
)  # fmt: skip
requests = st.tuples(
    paths, st.one_of(st.none(), paths), st.booleans(), st.one_of(st.none(), outcomes, st.just(answered()))
)


@settings(max_examples=12, deadline=None)
@given(st.lists(requests, min_size=1, max_size=20))
def test_rows_of_bytes_are_those_of_documents(drawn: list[tuple[str, str | None, bool, Outcome | None]]) -> None:
    records: Unchained = []
    for number, (path, query, other, _) in enumerate(drawn):
        own = {"url.path": path} | ({} if query is None else {"url.query": query})
        records.append(decided(number, MEMBERS, own | ({"user_agent.original": "Other/1.0"} if other else {})))
    records += [completed(number, outcome) for number, (*_, outcome) in enumerate(drawn) if outcome is not None]
    with tempfile.TemporaryDirectory() as name:
        journals = written(Path(name) / "journal", records)
        indexed(journals, Path(name) / "index")
        wanted = expected(journals)
        open_requests = {number for number, (*_, outcome) in enumerate(drawn) if outcome is None}

        manifest = load(Path(name) / "index")
        assert {each["at"][2] - 1 for each in manifest.open_requests.values()} == open_requests
        assert (stored(Path(name) / "index") if manifest.files else []) == wanted


def test_an_ordinary_request_is_not_read_whole(tmp_path: Path) -> None:
    second = decided(2, MEMBERS, {"url.path": "/多い/頁", "url.query": "~0011"})
    records = [decided(1), second, completed(2, answered(404, 0.0))]
    journals = written(tmp_path / "journal", [*records, completed(1, answered())])

    assert indexed(journals, tmp_path / "index") == (2, 0)
    assert stored(tmp_path / "index") == expected(journals)


EXTRA = b'"sekisho.observed":["rule"],'
ODD = [
    MEMBERS.replace(b'"event.outcome":"success"', b'"event.outcome":"failure"'),
    MEMBERS.replace(b'"sekisho.verdict":"forward"', b'"sekisho.verdict":"refuse"'),
    MEMBERS + b'"http.response.status_code":301,', MEMBERS + b'"event.kind":"alert",', MEMBERS + b'"event.end":"x",',
    MEMBERS + b'"user.target.id":"a\\tb",', MEMBERS + b'"user.target.id":5,',
    MEMBERS + b'"user.target.id":"\x7f",', MEMBERS + b'"error.message": "spaced",', MEMBERS + b'"error.code":1.50,',
    MEMBERS + b'"user.target.id":"first","user.target.id":"second",',
]  # fmt: skip


@pytest.mark.parametrize("members", ODD)
def test_members_of_another_kind_are_left_to_documents(tmp_path: Path, members: bytes) -> None:
    journals = written(tmp_path / "journal", [decided(1, members), completed(1, answered())])

    made, _ = indexed(journals, tmp_path / "index")

    assert made == 0
    assert stored(tmp_path / "index") == expected(journals)


@pytest.mark.parametrize(
    "members", [MEMBERS + EXTRA, MEMBERS + b'"user.target.id":"",', MEMBERS + b'"user.target.id":"50% \\\\",']
)
def test_members_that_stand_for_themselves(tmp_path: Path, members: bytes) -> None:
    journals = written(tmp_path / "journal", [decided(1, members), completed(1, answered())])

    assert indexed(journals, tmp_path / "index") == (1, 0)
    assert stored(tmp_path / "index") == expected(journals)


@pytest.mark.parametrize("which", [0, 1], ids=["decided", "ended"])
def test_bug_a_time_in_other_digits_is_left_to_documents(tmp_path: Path, which: int) -> None:
    """The time of an end was taken for ASCII whatever it was: the row said nothing of what was to be folded."""
    records = [decided(1), completed(1, answered())]
    members, own = records[which]
    before, stamp, behind = own.partition(timestamp(NOW + which + 0.001).encode())
    assert stamp
    records[which] = members, before + "２０２６０７１３".encode() + behind  # 24 bytes, as every time
    journals = written(tmp_path / "journal", records)

    assert indexed(journals, tmp_path / "index") == (0, 1)
    assert stored(tmp_path / "index") == expected(journals)


def test_a_request_that_is_open_is_completed_after_a_restart(tmp_path: Path) -> None:
    first, second = decided(1), completed(1, answered())
    journals = written(tmp_path / "journal", [first])
    assert indexed(journals, tmp_path / "index") == (0, 0)
    (journals / "worker-0").rename(tmp_path / "before")
    written(journals, [first, second])

    assert indexed(journals, tmp_path / "index") == (0, 1)
    assert stored(tmp_path / "index") == expected(journals)


@pytest.mark.parametrize("people", [1, 7, 900])
def test_rows_stand_in_the_order_of_their_times(tmp_path: Path, people: int) -> None:
    """However many share what they share: the lines of both files are put together without changing their order."""
    name = b'"user.name":"'
    at = MEMBERS.index(name) + len(name)
    records: Unchained = []
    for number in range(900):
        members = MEMBERS[:at] + b"%d-" % (number % people) + MEMBERS[at:]
        records += (decided(number * 7919 % 900, members), completed(number * 7919 % 900, answered()))
    journals = written(tmp_path / "journal", records)

    assert indexed(journals, tmp_path / "index") == (900, 0)
    with duckdb.connect() as database:
        file = str(tmp_path / "index" / load(tmp_path / "index").files[0][0])
        times = [row[0] for row in database.execute("SELECT ts FROM read_parquet(?)", [file]).fetchall()]
    assert times == sorted(times)
    assert len(set(times)) == 900
    assert stored(tmp_path / "index") == expected(journals)


@pytest.mark.promise("P6.index-keeps-up")
def test_what_stands_in_the_journals_is_indexed_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause between two looks at a journal that has more would let the index fall behind a busy worker for ever."""
    records = [part for number in range(2000) for part in (decided(number), completed(number, answered()))]
    journals = written(tmp_path / "journal", records)
    for number in range(12):  # others who have little to say
        opened = encode_all(head(f"w{number}", 1), 1, GENESIS.hex().encode(), bytes(SALT), [decided(number)])[0]
        (journals / f"w{number}").mkdir()
        (journals / f"w{number}" / name_of(1, 1, "active")).write_bytes(opened)
    writers: list[IndexWriter] = []
    real_sleep = asyncio.sleep

    class Watched(IndexWriter):  # a class of the compiled copy cannot be changed
        def poll(self, now: float) -> int:
            writers.append(self)
            return super().poll(now)

    async def until_a_pause() -> None:
        paused = asyncio.Event()

        async def sleep(seconds: float) -> None:
            paused.set()
            await real_sleep(seconds)

        monkeypatch.setattr("audit.index.indexing.asyncio.sleep", sleep)
        monkeypatch.setattr("audit.index.indexing.IndexWriter", Watched)
        task = asyncio.create_task(Indexing(journals, tmp_path / "index", lambda: NOW).run())
        async with asyncio.timeout(30):
            await paused.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(until_a_pause())

    assert writers[-1].waiting == 2000


@pytest.mark.promise("P6.index-rewrites-little")
def test_few_rows_are_not_joined_to_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each few rows of a quiet night would have all rows before them written again."""
    monkeypatch.setattr("audit.index.writer.JOINED", 3)
    folder = tmp_path / "index"
    queries = [hashlib.shake_128(number.to_bytes(4)).hexdigest(128) for number in range(600)]
    asked = [decided(number, MEMBERS, {"url.query": query}) for number, query in enumerate(queries)]
    records = [part for number, each in enumerate(asked) for part in (each, completed(number, answered()))]
    lines, _ = encode_all(head("worker-0", 1), 1, GENESIS.hex().encode(), bytes(SALT * 1200), records)
    ends = [0, *(at for at, byte in enumerate(lines) if byte == ord("\n"))]
    path = laid(tmp_path / "journal", [b""]) / "worker-0" / name_of(1, 1, "jsonl")
    path = path.rename(path.with_suffix(".active"))
    monkeypatch.setattr("audit.index.writer._SMALL_BITS", 15)
    writer = IndexWriter(tmp_path / "journal", folder)
    joined: list[tuple[int, int]] = []  # rows at which there were so many files afterwards
    taken = 0
    for rows in (*([1] * 3), 500, *([1] * 5)):
        with path.open("ab") as file:
            file.write(lines[ends[2 * taken] + bool(taken) : ends[2 * (taken + rows)] + 1])
        taken += rows
        writer.poll(NOW)
        writer.flush()
        if writer.compact():
            joined.append((taken, len(writer.manifest.files)))

    many = next(name for name, *_ in writer.manifest.files if (folder / name).stat().st_size > 1 << 15)
    assert many == "events-000000005.parquet"  # the first that was written of all the rows that came at once
    assert joined == [(3, 1), (505, 2), (507, 2)]
    assert stored(folder) == expected(tmp_path / "journal")[: 2 * taken]
