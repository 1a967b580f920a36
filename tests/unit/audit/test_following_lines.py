"""Following the trail costs little and falls not behind: lines are told apart by their bytes, few are hashed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from audit.query import Query
from audit.reader import IntegrityError, JournalReader
from audit.search import Following, follow
from audit.segment import GENESIS, SALT, Chain, chained, cited, encode_all, head, name_of
from tests.support.busy_journal import BusyWorker

NOW = 1_790_000_000.0
START = head("w", 1)


def lines(count: int) -> bytes:
    events = [(b"", b'{"event.action":"%b","n":%d}' % (b"alert" if n % 7 == 6 else b"other", n)) for n in range(count)]
    return encode_all(START, 1, GENESIS.hex().encode(), os.urandom(SALT * count), events)[0]


@pytest.mark.parametrize("count", [0, 1, 2, 30])
@pytest.mark.parametrize("rest", [b"", b'{"salt":"', b"x"])
def test_of_good_lines_the_entries_are_those_that_are_proved(count: int, rest: bytes) -> None:
    data = lines(count) + rest
    assert cited(data, START, 1, GENESIS) == chained(data, START, 1, GENESIS)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"seq":4,', b'"seq":5,'), (b'"writer":"w"', b'"writer":"v"'), (b'"v":1', b'"v":2'),
     (b'{"salt":"', b'{"salt":"z'), (b"}}\n", b"}} \n"), (b'"prev":"', b'"prev":"0')],
)  # fmt: skip
def test_lines_that_do_not_follow_end_the_run(old: bytes, new: bytes) -> None:
    made = lines(6).splitlines(keepends=True)
    made[3] = made[3].replace(old, new, 1)
    chain = Chain("w")
    chain.turn(1)
    entries, fault = chain.accept_all(b"".join(made), cited)
    assert fault is not None
    assert (len(entries), chain.seq) == (3 * len(GENESIS), 3)
    assert entries[:64] == chained(b"".join(made[:2]), START, 1, GENESIS)[0]


def test_a_changed_line_is_shown_changed_and_ends_what_is_read_after_it(tmp_path: Path) -> None:
    made = lines(6).splitlines(keepends=True)
    made[5] = made[5].replace(b'"n":5', b'"n":9')
    folder = tmp_path / "w"
    folder.mkdir()
    path = folder / name_of(1, 1, "active")
    path.write_bytes(b"".join(made))
    reader = JournalReader(tmp_path, "w", chained=cited)
    assert [record.line for record in reader.read()] == made
    with path.open("ab") as file:
        entry = chained(lines(6), START, 1, GENESIS)[0][-32:]
        file.write(encode_all(START, 7, entry.hex().encode(), bytes(SALT), [(b"", b'{"n":7}')])[0])
    with pytest.raises(IntegrityError, match="prev"):
        reader.read()


@pytest.mark.promise("P6.alerts-keep-up")
def test_what_is_there_is_told_without_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks at a journal that has more nobody waits: alerts would fall behind a busy worker for ever."""
    worker = BusyWorker(tmp_path, "worker-0")
    worker.write(1, NOW)
    real, pauses = asyncio.sleep, list[float]()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    async def run() -> list[Any]:
        stream = follow(tmp_path, Query(actions=frozenset({"session.started"})), idle=0.25)
        told = asyncio.ensure_future(anext(stream))
        while not pauses:  # it stands at the end of the journal
            await real(0.001)
        worker.write(6000, NOW)  # more than five looks take
        found = [await told]
        pauses.clear()
        while len(found) < worker.requests // 50:
            found.append(await anext(stream))
        assert pauses == []
        await stream.aclose()  # type: ignore[attr-defined]
        return [event["user.id"] for event in found]

    monkeypatch.setattr("audit.search.asyncio.sleep", sleep)
    assert set(asyncio.run(run())) == {"u1"}


def test_acts_are_told_apart_wherever_they_stand(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    path = folder / name_of(1, 1, "active")
    first, second = lines(2).splitlines(keepends=True)
    path.write_bytes(first)
    following = Following(tmp_path, Query(actions=frozenset({"alert", "gap"})))
    entry = chained(first, START, 1, GENESIS)[0]
    events = [
        b'{"n":1,"event.action":"alert"}', b'{"event.action":"alerted"}',
        b'{"a":{"event.action":"x"},"event.action":"gap"}', b'{"text":"\\"event.action\\":\\"alert\\""}',
    ]  # fmt: skip
    more, _ = encode_all(START, 2, entry.hex().encode(), bytes(SALT * 4), [(b"", event) for event in events])
    with path.open("ab") as file:
        file.write(more)
    assert [event["event.action"] for event in following.poll()] == ["alert", "gap"]
    assert second
