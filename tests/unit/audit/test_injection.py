"""Whatever comes from outside: one line in the journal, one value in it, its bytes back, a harmless cell to look at."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit.ecs import FIELDS, GIVEN
from audit.event import Action, check, event, text
from audit.journal import Journal
from audit.query import Query
from audit.search import search
from cli.render.cells import escape_json, visible
from cli.render.documents import as_csv, as_json, as_yaml, ndjson_line
from gateway.gate.masking import agent
from tests.support.nasty import NASTY, recovered

HARMLESS = frozenset(range(0x20, 0x7F)) | {0x0A}
TEXTS = sorted(name for name in GIVEN if FIELDS[name] in ("keyword", "text"))


@given(st.binary(max_size=200))
@example(b"\\x41\xff\\\\")
def test_bytes_come_back(raw: bytes) -> None:
    told = text(raw)
    assert recovered(told) == raw
    line = orjson.dumps({"a": told})
    assert b"\n" not in line
    assert orjson.loads(line)["a"] == told


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_two_values_never_look_alike(one: bytes, other: bytes) -> None:
    assert (text(one) == text(other)) is (one == other)


@pytest.mark.promise("P5.injection-one-record")
@pytest.mark.parametrize("raw", NASTY.values(), ids=NASTY)
def test_a_value_from_outside_is_one_value_of_one_line(tmp_path: Path, raw: bytes) -> None:
    """In every field whose words come from outside at once; read back from the journal's file."""
    told = agent(raw)
    record = event(Action.ADMIN_REQUESTED, 1.0, {
        **dict.fromkeys(TEXTS, told), "sekisho.admin.arguments": {told: [told, {"x": told}]}, "tags": [told],
    })  # fmt: skip

    async def write() -> None:
        journal = Journal(tmp_path, "control", segment_bytes=1 << 20, segment_age=60.0, stall_limit=30)
        journal.open(asyncio.get_running_loop())
        await journal.record(record)
        journal.close(2.0)

    asyncio.run(write())
    assert check(record) == []
    lines = [line for file in tmp_path.rglob("*") if file.is_file() for line in file.read_bytes().split(b"\n") if line]
    holding = [orjson.loads(line) for line in lines if b"admin.requested" in line]
    assert len(holding) == 1
    assert all(orjson.loads(line)["body"]["event.action"] in ("admin.requested", "journal.opened") for line in lines)
    (found,) = search(tmp_path, Query(actions=frozenset({"admin.requested"})))
    for name in TEXTS:
        assert recovered(found[name]) == raw
    assert found["sekisho.admin.arguments"] == {told: [told, {"x": told}]}


@pytest.mark.parametrize("raw", NASTY.values(), ids=NASTY)
def test_a_value_from_outside_is_shown_and_does_nothing(raw: bytes) -> None:
    told = text(raw)
    row = {"a": told, "b": 1}
    for document in (visible(told), ndjson_line(row), as_json([row]), as_yaml([row])):
        drives = {
            c
            for c in document
            if (ord(c) < 0x100 and ord(c) not in HARMLESS) or c in "\u2028\u2029\u202e\u2066\u061c\u200b\ufeff"
        }
        assert drives == set()
    assert ndjson_line(row).count("\n") == 1
    assert json.loads(ndjson_line(row)) == row
    (names, cells) = csv.reader(io.StringIO(as_csv([row], [])[1:], newline=""))
    assert names == ["a", "b"]
    assert not cells[0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cells[0].removeprefix("'").replace("\r\n", "\n") == told.replace("\r\n", "\n") or cells[0] == visible(told)


@given(st.text(max_size=60))
def test_json_made_harmless_says_the_same(value: str) -> None:
    assert json.loads(escape_json(json.dumps(value, ensure_ascii=False))) == value


@pytest.mark.promise("P5.injection-one-record")
def test_a_megabyte_from_outside_makes_a_bounded_record() -> None:
    for huge in ("\x1b" * 1_000_000, "あ" * 1_000_000, "\udcff" * 1_000_000):
        record = event(
            Action.DEVICE_CHANGED, 0.0, {"sekisho.device.name": huge, "sekisho.device.changes": {"a": [huge]}}
        )
        assert len(orjson.dumps(record)) < 80_000
        assert check(record) == []
