"""Tests read what processes are writing: never half a line, never a file twice, never one that is gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import growing_files
from tests.support.growing_files import contents, lines_of, records_of, whole_lines


def line(number: int) -> bytes:
    return json.dumps({"body": {"seq": number}}).encode() + b"\n"


def journal(folder: Path, writer: str = "worker-0") -> Path:
    (folder / writer).mkdir()
    return folder / writer


def test_half_a_line_does_not_count(tmp_path: Path) -> None:
    (journal(tmp_path) / "000001-000000000001.active").write_bytes(line(1) + line(2)[:-5])
    assert records_of(tmp_path) == [{"seq": 1}]
    (tmp_path / "text").write_bytes("関所\n関".encode()[:-1])
    assert whole_lines(tmp_path / "text") == ["関所".encode()]
    assert whole_lines(tmp_path / "none") == []


def test_what_a_crash_left_under_its_old_name_counts_once(tmp_path: Path) -> None:
    writer = journal(tmp_path)
    (writer / "000001-000000000001.active").write_bytes(line(1) + b"torn")
    (writer / "000001-000000000001.jsonl").write_bytes(line(1))
    (writer / "000002-000000000001.active").write_bytes(line(2))
    (writer / "000001-000000000001.torn").write_bytes(b"torn")
    assert records_of(tmp_path) == [{"seq": 1}, {"seq": 2}]


def test_a_segment_that_is_renamed_meanwhile_is_read_under_its_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = journal(tmp_path) / "000001-000000000001.active"
    active.write_bytes(line(1))

    def renamed(path: Path) -> list[bytes]:
        if active.exists():
            active.rename(active.with_suffix(".jsonl"))
        return whole_lines(path)

    monkeypatch.setattr(growing_files, "whole_lines", renamed)
    assert lines_of(tmp_path) == [line(1)[:-1]]


def test_what_goes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    found = contents(tmp_path)
    assert next(found) == (tmp_path / "a", b"a")
    (tmp_path / "b").unlink()
    assert list(found) == [(tmp_path / "c", b"c")]
