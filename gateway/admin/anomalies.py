"""Commands about cases: list, show with the evidence, acknowledge, close. What happens to a case is a record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

from audit.cases import Case, CaseBook, CaseReader, Finding
from audit.event import Action, event
from audit.reader import IntegrityError
from audit.search import show as recorded
from gateway.admin.endpoint import Arguments, Call, Change, Listing, Reply, listed
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.admin.unlinking import unlinked

_EVIDENCE = 20  # records shown of one case


class CaseListing(Listing):
    """`all` also lists closed cases."""

    all: bool = False
    severity: Literal["", "low", "medium", "high"] = ""


class OneCase(Arguments):
    """A case by id."""

    case: str


class Acknowledge(Change):
    """Somebody looks into the case; the reason says what they are doing."""

    case: str


class Close(Change):
    """The case is settled, with a verdict and the reason for it."""

    case: str
    verdict: Literal["true_positive", "false_positive", "benign", "undetermined"]


class Anomalies:
    """The cases of one installation, followed in its journals."""

    def __init__(self) -> None:
        self._reader: CaseReader | None = None
        self._turn = asyncio.Lock()

    async def ls(self, call: Call[CaseListing]) -> Reply:
        """Cases, newest first."""
        wanted = call.arguments
        cases = (await self._book(call)).cases.values()
        rows = [_row(case) for case in cases if wanted.all or case.state != "closed"]
        rows = [row for row in rows if not wanted.severity or row["severity"] == wanted.severity]
        rows.sort(key=lambda row: str(row["updated_at"]), reverse=True)
        return listed(rows, wanted.limit)

    async def show(self, call: Call[OneCase]) -> Reply:
        """One case: findings, what was done about it, the records it rests on."""
        case = await self._case(call, call.arguments.case)
        names = list(dict.fromkeys(name for finding in case.findings for name in finding.evidence))[-_EVIDENCE:]
        records = await asyncio.to_thread(_evidence, call.context.settings.paths.journal, names)
        findings = [_finding_row(finding) for finding in case.findings]
        acts = {"acknowledged": dict(case.acknowledged), "closed": dict(case.closed)}
        return Reply({**_row(case), **acts, "findings": findings, "evidence": records}, rows=1)

    async def ack(self, call: Call[Acknowledge]) -> Reply:
        """Write down that somebody looks into it."""
        return await self._act(call, call.arguments.case, Action.CASE_ACKNOWLEDGED, {})

    async def close(self, call: Call[Close]) -> Reply:
        """Write down how it ended."""
        wanted = call.arguments
        return await self._act(call, wanted.case, Action.CASE_CLOSED, {"sekisho.case.verdict": wanted.verdict})

    async def _act(self, call: Call[Any], name: str, action: Action, fields: dict[str, Any]) -> Reply:
        case = await self._case(call, name)
        if case.state == "closed":
            raise Problem(AdminReason.CONFLICT, f"事案 {case.id} は {case.closed['by']} が既に終結しました。")
        if action is Action.CASE_ACKNOWLEDGED and case.state == "acknowledged":
            raise Problem(AdminReason.CONFLICT, f"事案 {case.id} は {case.acknowledged['by']} が既に確認中です。")
        if call.arguments.dry_run:
            return Reply({"plan": [_row(case)], "hit": 1}, rows=1)
        operator = call.operator.user
        record = event(action, call.now, {
            "event.outcome": "success", "sekisho.case.id": case.id, "sekisho.case.severity": case.severity,
            "sekisho.by": operator.login, "sekisho.justification": call.arguments.reason,
            "user.id": operator.id, "user.name": operator.login, "http.request.id": call.request_id, **fields,
        })  # fmt: skip
        await call.context.journal.record(record)
        return Reply(_row(await self._case(call, name)), rows=1)

    async def _case(self, call: Call[Any], name: str) -> Case:
        case = (await self._book(call)).cases.get(name)
        if case is None:
            raise not_found("事案", name)
        return case

    async def _book(self, call: Call[Any]) -> CaseBook:
        async with self._turn:
            if self._reader is None:
                self._reader = CaseReader(call.context.settings.paths.journal)
            try:
                return await asyncio.to_thread(self._reader.poll)
            except (IntegrityError, OSError) as error:
                self._reader = None
                detail = f"事案の記録を読めません: {error}。sekisho audit verify を実行してください。"
                raise Problem(AdminReason.SEARCH_FAILED, detail) from error


def _row(case: Case) -> dict[str, Any]:
    last = case.findings[-1]
    return {
        "id": case.id, "state": case.state, "severity": case.severity, "kinds": [each.kind for each in case.findings],
        "who": last.who.get("user.name") or last.who.get("source.ip") or last.subject, "message": last.message,
        "command": last.command, "opened_at": case.opened_at, "updated_at": last.at,
    }  # fmt: skip


def _finding_row(finding: Finding) -> dict[str, Any]:
    return {
        "at": finding.at, "kind": finding.kind, "severity": finding.severity, "message": finding.message,
        "command": finding.command, "evidence": list(finding.evidence), **finding.who,
    }  # fmt: skip


def _evidence(journals: Path, names: list[str]) -> list[dict[str, Any]]:
    return [unlinked(record) for name in names for record in recorded(journals, name)]
