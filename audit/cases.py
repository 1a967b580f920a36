"""Cases: findings joined for a person to act on. A case's state is what its records say, read in order.

Records: `case.opened` and `case.updated` by the auditor, each with one finding; `case.acknowledged` and `case.closed`
by control, with who and why. Whoever reads the same records knows the same cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from audit.reader import JournalReader
from audit.segment import record_of

OPENED: Final = "case.opened"
UPDATED: Final = "case.updated"
ACKNOWLEDGED: Final = "case.acknowledged"
CLOSED: Final = "case.closed"
ACTIONS: Final = frozenset({OPENED, UPDATED, ACKNOWLEDGED, CLOSED})
VERDICTS: Final = ("true_positive", "false_positive", "benign", "undetermined")
WRITERS: Final = ("auditor", "control")  # who records about cases
_NEEDLE: Final = b'"sekisho.case.id":"'
_SEVERITIES: Final = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Finding:
    """One signal as its record tells it; times are RFC 3339."""

    kind: str
    severity: str
    subject: str
    at: str
    message: str
    command: str
    evidence: tuple[str, ...]
    joins: tuple[str, ...]
    who: Mapping[str, Any]  # user.id, user.name, sekisho.session.id, device.id, source.ip as far as known


@dataclass(frozen=True, slots=True)
class Case:
    """A case as its records have made it. `state` is open, acknowledged or closed."""

    id: str
    state: str
    findings: tuple[Finding, ...]
    opened_at: str
    acknowledged: Mapping[str, str] = field(default_factory=dict)  # by, at, reason
    closed: Mapping[str, str] = field(default_factory=dict)  # by, at, reason, verdict

    @property
    def severity(self) -> str:
        """The gravest of its findings."""
        return max((finding.severity for finding in self.findings), key=_SEVERITIES.index)

    @property
    def joins(self) -> frozenset[str]:
        """Everything it is about."""
        return frozenset(key for finding in self.findings for key in (finding.subject, *finding.joins))


class CaseBook:
    """All cases, from their records. Taking a record twice changes nothing."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.told: dict[tuple[str, str], str] = {}  # (kind, subject) → time of the latest finding recorded

    def take(self, record: Mapping[str, Any]) -> None:
        """Follow one record; those that are not about cases are passed over."""
        action, name = record.get("event.action"), record.get("sekisho.case.id")
        if action not in ACTIONS or not isinstance(name, str):
            return
        case = self.cases.get(name)
        if action in (OPENED, UPDATED):
            self._found(name, case, _finding(record), str(record["@timestamp"]))
        elif case is not None and case.state != "closed":
            act = {
                "by": str(record.get("sekisho.by", "")), "at": str(record["@timestamp"]),
                "reason": str(record.get("sekisho.justification", "")),
            }  # fmt: skip
            if action == CLOSED:
                verdict = str(record.get("sekisho.case.verdict", ""))
                self.cases[name] = replace(case, state="closed", closed={**act, "verdict": verdict})
            elif case.state == "open":
                self.cases[name] = replace(case, state="acknowledged", acknowledged=act)

    def joined(self, joins: frozenset[str], since: str) -> Case | None:
        """Return the newest case still open that is about any of `joins` and had a finding after `since`."""
        for case in reversed(self.cases.values()):
            if case.state != "closed" and case.findings[-1].at >= since and not joins.isdisjoint(case.joins):
                return case
        return None

    def _found(self, name: str, case: Case | None, finding: Finding, at: str) -> None:
        key = finding.kind, finding.subject
        self.told[key] = max(finding.at, self.told.get(key, ""))
        if case is None:
            self.cases[name] = Case(name, "open", (finding,), at)
        elif finding not in case.findings:
            self.cases[name] = replace(case, findings=(*case.findings, finding))


class CaseReader:
    """Follows the journals of those who record about cases."""

    def __init__(self, journals: Path) -> None:
        self._journals = journals
        self._readers = {name: JournalReader(journals, name) for name in WRITERS}
        self.book = CaseBook()

    def poll(self) -> CaseBook:
        """Read on to the end and return the book; raises `audit.reader.IntegrityError`, OSError."""
        records: list[dict[str, Any]] = []
        for name, reader in self._readers.items():
            while (self._journals / name).is_dir() and (lines := reader.read()):
                records += (record_of(each.line) for each in lines if _NEEDLE in each.line)
        for record in sorted(records, key=lambda record: str(record["@timestamp"])):
            self.book.take(record)
        return self.book


_WHO: Final = ("user.id", "user.name", "sekisho.session.id", "device.id", "source.ip")


def _finding(record: Mapping[str, Any]) -> Finding:
    return Finding(
        kind=str(record["sekisho.finding.kind"]), severity=str(record["sekisho.case.severity"]),
        subject=str(record["sekisho.finding.subject"]), at=str(record["sekisho.finding.at"]),
        message=str(record["message"]), command=str(record["sekisho.finding.command"]),
        evidence=tuple(record["sekisho.finding.evidence"]), joins=tuple(record["sekisho.finding.joins"]),
        who={name: record[name] for name in _WHO if name in record},
    )  # fmt: skip
