"""Each fault at each kind of system call once, on the real programs; `make torture` does it at every single call."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fault_cells import KILL_AFTER, Cell, Subject, each_kind_once, matrix
from tests.support.fault_subjects import auditor_subject, cursor_subject, journal_subject

CHANGING = {"write", "fdatasync", "fsync", "rename", "openat", "close", "fchmod", "unlink", "mkdir", "flock"}


def changing(found: list[Cell]) -> list[Cell]:
    """Each fault once at each kind of call that changes a file; of the others, the error that disks give."""
    return [each for each in each_kind_once(found) if each.call in CHANGING or each.fault == "EIO"]


def deaths(found: list[Cell]) -> list[Cell]:
    """The process's death right after each kind of call that changes a file, and the error that disks give."""
    return [each for each in changing(found) if each.call in CHANGING and each.fault in {KILL_AFTER, "EIO"}]


@pytest.mark.timeout(600)
@pytest.mark.promise("P2.no-acknowledged-record-missing")
@pytest.mark.promise("P2.failed-sync-is-never-success")
def test_no_acknowledged_record_is_missing_whatever_fails(tmp_path: Path, requires_strace: Path) -> None:
    found = matrix(requires_strace, journal_subject(), tmp_path, changing)
    assert len(found) > 50
    assert {cell: said for cell, said in found.items() if said} == {}


@pytest.mark.timeout(600)
@pytest.mark.promise("P2.places-survive-faults")
@pytest.mark.parametrize("subject", [cursor_subject(), auditor_subject()], ids=lambda each: each.name)
def test_no_place_told_as_durable_is_lost_whatever_fails(
    tmp_path: Path, requires_strace: Path, subject: Subject
) -> None:
    found = matrix(requires_strace, subject, tmp_path, deaths)
    assert len(found) > 12
    assert {cell: said for cell, said in found.items() if said} == {}
