"""Commands about policy versions: check, diff, apply, rollback, list, show."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Annotated, Any

from pydantic import Field

from audit.numbers import holds
from gateway.admin.approval_request import approval_row, propose
from gateway.admin.endpoint import Arguments, Call, Change, Listing, Reply, listed
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.state.records import Approval, PolicyState, PolicyVersion
from policies.load import PolicyFaults, load_policy
from policies.masks import named
from policies.model import PolicyIR, Rule

KIND = "policy"
SourceText = Annotated[str, Field(min_length=1, max_length=1_000_000)]
FileName = Annotated[str, Field(max_length=200)]


class PolicyText(Arguments):
    """The text of a policy file."""

    source: SourceText
    file: FileName = "policy.yaml"


class ApplyPolicy(Change):
    """The text of a policy file."""

    source: SourceText
    file: FileName = "policy.yaml"


class Rollback(Change):
    """An older version by the beginning of its hash."""

    version: Annotated[str, Field(pattern=r"^[0-9a-f]{6,64}$")]


class OnePolicy(Arguments):
    """A version by the beginning of its hash, or `active`."""

    version: Annotated[str, Field(pattern=r"^(active|[0-9a-f]{6,64})$")] = "active"


async def ls(call: Call[Listing]) -> Reply:
    """Versions, newest first, without their source."""
    versions = sorted(call.context.reader.policies(), key=lambda version: version.created_at, reverse=True)
    return listed([_row(version) for version in versions], call.arguments.limit)


async def show(call: Call[OnePolicy]) -> Reply:
    """One version with its source, and when it was last granted (null for the first one, which `init` made)."""
    version = find_version(call, call.arguments.version)
    granted = [a.decided_at for a in call.context.reader.approvals() if a.granted and a.kind == KIND
               and a.subject == version.hash and a.decided_at is not None]  # fmt: skip
    return Reply({**_row(version), "approved_at": max(granted, default=None), "source": version.source}, rows=1)


async def check(call: Call[PolicyText]) -> Reply:
    """Load the file as the gateway would, tests included."""
    ir = loaded(call.arguments.source, call.arguments.file)
    _refuse_masked(call, ir, call.arguments.file)
    return Reply({"hash": ir.hash, "rules": len(ir.rules), "tests": len(ir.tests)}, rows=1)


async def diff(call: Call[PolicyText]) -> Reply:
    """The file against the active version: rules added, removed, changed, and the lines."""
    return Reply(_difference(call, call.arguments.source, call.arguments.file), rows=1)


async def apply(call: Call[ApplyPolicy]) -> Reply:
    """Store the version and propose its activation; another CISO's approval activates it in every worker."""
    source = call.arguments.source
    difference = _difference(call, source, call.arguments.file)
    ir = loaded(source, call.arguments.file)
    digest = ir.hash
    active = _active(call)
    if active is not None and active.hash == digest:
        raise Problem(AdminReason.CONFLICT, "この内容は既に有効です。")
    if call.arguments.dry_run:
        return Reply({"plan": [{"action": "apply", "hash": digest, **difference}], "hit": 1}, rows=1)
    version = PolicyVersion(
        hash=digest,
        title=ir.title,
        source=source,
        created_by=call.by,
        created_at=call.now,
        state=PolicyState.PROPOSED.value,
        approved_by="",
    )
    known = any(other.hash == digest for other in call.context.reader.policies())
    return await _proposed(call, version, difference, known=known)


async def rollback(call: Call[Rollback]) -> Reply:
    """Propose the activation of an older version."""
    version = find_version(call, call.arguments.version)
    if version.state == PolicyState.ACTIVE:
        raise Problem(AdminReason.CONFLICT, "この版は既に有効です。")
    difference = _difference(call, version.source, version.hash[:12])
    if call.arguments.dry_run:
        return Reply({"plan": [{"action": "rollback", "hash": version.hash, **difference}], "hit": 1}, rows=1)
    return await _proposed(call, version, difference, known=True)


async def _proposed(call: Call[Any], version: PolicyVersion, difference: dict[str, Any], *, known: bool) -> Reply:
    if not known:
        await call.context.steward.call("policy.put", version=version.to_row())
    active = _active(call)
    detail = {"hash": version.hash, "title": version.title, "base": active.hash if active else "", **difference}
    approval = await propose(call, KIND, version.hash, detail)
    return Reply({"approvals": [approval_row(approval, call.now)], "hash": version.hash}, rows=1, status=202)


async def take_effect(call: Call[Any], approval: Approval) -> dict[str, Any]:
    """Activate the version of a granted proposal in every worker."""
    done = await call.context.steward.call("policy.activate", hash=approval.subject, by=call.by)
    return {"policy": approval.subject, "milliseconds": done.get("ms")}


def check_effect(call: Call[Any], approval: Approval) -> None:
    """Raise Problem conflict where another version became active since the proposal."""
    row = approval_row(approval, call.now)
    active = _active(call)
    if (active.hash if active else "") != row["detail"].get("base", ""):
        raise Problem(AdminReason.CONFLICT, "申請の後に別の版が有効になりました。もう一度差分を見て申請してください。")
    find_version(call, approval.subject)


def find_version(call: Call[Any], name: str) -> PolicyVersion:
    """The version that `name` (active, hash or its beginning) names; raises Problem not_found, conflict."""
    versions = call.context.reader.policies()
    if name == "active":
        found = [version for version in versions if version.state == PolicyState.ACTIVE]
    else:
        found = [version for version in versions if version.hash.startswith(name)]
    if not found:
        raise not_found("ポリシー", name)
    if len(found) > 1:
        raise Problem(AdminReason.CONFLICT, f"{name} で始まる版が {len(found)} 件あります。長く指定してください。")
    return found[0]


def loaded(source: str, file: str) -> PolicyIR:
    """The policy of a file's text; raises Problem with every fault."""
    try:
        return load_policy(source.encode(), file)
    except PolicyFaults as found:
        faults = [dataclasses.asdict(fault) for fault in found.faults]
        raise Problem(AdminReason.FILE_FAULTS, f"{file} に誤りがあります。", extra={"faults": faults}) from found


def _refuse_masked(call: Call[Any], ir: PolicyIR, file: str) -> None:
    """Raise Problem with every path of a rule that records mask, so that decisions could not be replayed."""
    apps = [(app.id, app.masked_paths) for app in call.context.reader.apps()]
    found = [
        {"file": file, "line": each.line, "column": 1, "key": each.rule, "got": each.path, "expected": str(each)}
        for each in named(ir.rules, apps, holds)
    ]
    if found:
        raise Problem(AdminReason.FILE_FAULTS, f"{file} に誤りがあります。", extra={"faults": found})


def _moved(rule: Rule) -> Rule:
    """The rule without its place in the file."""
    return dataclasses.replace(rule, line=0)


def _active(call: Call[Any]) -> PolicyVersion | None:
    return next((v for v in call.context.reader.policies() if v.state == PolicyState.ACTIVE), None)


def _row(version: PolicyVersion) -> dict[str, Any]:
    row = version.to_row()
    del row["source"]
    return row


def _difference(call: Call[Any], source: str, file: str) -> dict[str, Any]:
    new = loaded(source, file)
    _refuse_masked(call, new, file)
    active = _active(call)
    old_source = active.source if active else ""
    old = {rule.id: rule for rule in load_policy(old_source.encode(), "active").rules} if active else {}
    rules = {rule.id: rule for rule in new.rules}
    name = f"active {active.hash[:12]}" if active else "(なし)"
    lines = difflib.unified_diff(old_source.splitlines(), source.splitlines(), name, file, lineterm="")
    return {
        "rules_added": sorted(rules.keys() - old.keys()),
        "rules_removed": sorted(old.keys() - rules.keys()),
        "rules_changed": sorted(name for name in rules.keys() & old.keys() if _moved(rules[name]) != _moved(old[name])),
        "lines": list(lines),
    }
