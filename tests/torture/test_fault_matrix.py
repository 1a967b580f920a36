"""Every system call on the files of journal, log and cursors, with every fault, on the real programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fault_cells import Subject, matrix
from tests.support.fault_subjects import auditor_subject, cursor_subject, journal_subject


@pytest.mark.timeout(7200)
@pytest.mark.promise("P2.every-syscall-fault")
@pytest.mark.parametrize(
    "subject", [journal_subject(), cursor_subject(), auditor_subject()], ids=lambda each: each.name
)
def test_whatever_fails_at_whatever_call(
    tmp_path: Path, requires_strace: Path, figure: Callable[[str], None], subject: Subject
) -> None:
    found = matrix(requires_strace, subject, tmp_path, chosen=list)
    calls = {(cell.call, cell.number) for cell in found}
    faults = ", ".join(f"{fault} {count}" for fault, count in Counter(cell.fault.split()[0] for cell in found).items())
    wrong = {cell: said for cell, said in found.items() if said}
    figure(f"{subject.name}: {len(found)} cells of {len(calls)} calls ({faults}), {len(wrong)} wrong")
    assert wrong == {}
