"""A gap in the trail or its copy is a case, with words and the command to run next; an outage without loss is none."""

from __future__ import annotations

from typing import Any

import pytest

from audit.detect.signal import Kind, Seen, Severity, Signal
from audit.detect.trail import Gaps
from audit.elastic.differences import Kind as Difference

AT = 1_790_000_000.0


def judged(record: dict[str, Any]) -> list[Signal]:
    return list(Gaps().take(Seen(record, "auditor:1:7", AT)))


def differs(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "event.action": "copy.differs", "sekisho.reconcile.kind": kind, "sekisho.count": 9,
        "sekisho.reconcile.names": [f"R{number}" for number in range(9)],
        "sekisho.reconcile.since": "2026-09-21T00:00:00.000Z", "sekisho.reconcile.until": "2026-09-22T00:00:00.000Z",
        **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("record", "kind", "severity", "told", "command"),
    [
        ({"event.action": "audit.refused", "sekisho.log.writer": "worker-1", "error.message": "prev: got 00"},
         Kind.TRAIL_BROKEN, Severity.HIGH, "prev: got 00", "sekisho audit verify"),
        ({"event.action": "audit.not_kept", "error.message": "nothing is deleted: holds.json: gone"},
         Kind.NOT_KEPT, Severity.MEDIUM, "holds.json: gone", "sekisho audit retention"),
        ({"event.action": "audit.gap", "sekisho.gap.lost": 3, "sekisho.gap.reason": "EIO"},
         Kind.RECORDS_LOST, Severity.HIGH, "3 件", "sekisho events show auditor:1:7"),
        (differs("missing", **{"sekisho.reconcile.gaps": ["worker-0:1:5-9"]}),
         Kind.COPY_LACKS, Severity.MEDIUM, "9 件の欠けがあります(worker-0:1:5-9)", "--repair --reason"),
        (differs("missing", **{"sekisho.reconcile.sent": 9}),
         Kind.COPY_LACKS, Severity.MEDIUM, "9 件は送り直しました", "--repair"),
        (differs("changed"), Kind.COPY_CHANGED, Severity.HIGH, "(R0, R1, R2, R3, R4 ほか)",
         "sekisho es reconcile --since 2026-09-21T00:00:00.000Z --until 2026-09-22T00:00:00.000Z"),
        (differs("twice"), Kind.COPY_DOUBLED, Severity.MEDIUM, "重複", "sekisho es reconcile"),
        (differs("foreign"), Kind.COPY_FOREIGN, Severity.HIGH, "どの記録にも由来しない", "sekisho es reconcile"),
        (differs("checkpoint"), Kind.LOG_CONTRADICTED, Severity.HIGH, "チェックポイント", "sekisho audit verify"),
        ({"event.action": "audit.witness", "sekisho.witness.name": "w.example", "sekisho.witness.state": "rolled_back",
          "error.message": "it cosigned 126 leaves"},
         Kind.LOG_CONTRADICTED, Severity.HIGH, "it cosigned 126 leaves", "sekisho audit verify"),
        ({"event.action": "audit.key_replaced", "sekisho.by": "root", "sekisho.justification": "disk"},
         Kind.LOG_CONTRADICTED, Severity.HIGH, "実行者 root、理由: disk", "sekisho audit keys ls"),
        (differs("unreadable"), Kind.TRAIL_BROKEN, Severity.HIGH, "連鎖", "sekisho audit verify"),
    ],
    ids=lambda value: value.value if isinstance(value, Kind) else "",
)  # fmt: skip
def test_each_becomes_one_signal(
    record: dict[str, Any], kind: Kind, severity: Severity, told: str, command: str
) -> None:
    (signal,) = judged(record)
    assert (signal.kind, signal.severity, signal.evidence) == (kind, severity, ("auditor:1:7",))
    assert told in signal.message
    assert command in signal.command


@pytest.mark.parametrize(
    "record",
    [
        {"event.action": "audit.gap", "sekisho.gap.refused": 40, "sekisho.gap.failed": 2},
        {"event.action": "audit.gap", "sekisho.gap.lost": 0},
        {"event.action": "copy.reconciled", "sekisho.reconcile.missing": 3},
        {"event.action": "request.decided", "sekisho.verdict": "refuse"},
        {"event.action": "audit.witness", "sekisho.witness.name": "w.example", "sekisho.witness.state": "unreachable"},
        {"event.action": "audit.key_rotated", "sekisho.by": "ciso"},
    ],
)
def test_what_loses_nothing_is_no_case(record: dict[str, Any]) -> None:
    assert judged(record) == []


def test_every_kind_of_difference_has_words_of_its_own() -> None:
    words = {kind: judged(differs(kind.value))[0].message for kind in Difference}
    assert len(set(words.values())) == len(Difference)
