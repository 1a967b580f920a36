"""Commands about apps: list, show, diff, apply (waits for another person), remove, test."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Annotated, Any

from pydantic import Field

from audit.numbers import holds
from gateway.admin.approval_request import approval_row, propose
from gateway.admin.devices import device_named
from gateway.admin.endpoint import Arguments, Call, Change, Listing, Reply, listed
from gateway.admin.people import person
from gateway.admin.policy_versions import loaded
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.admin.upstream_states import upstream_states
from gateway.apps.probe import probe, sample_headers
from gateway.apps.registry import Surroundings, changes, collisions, hosts_taken, parse_apps, warnings
from gateway.apps.source import SourceFaults
from gateway.apps.walk import walk
from gateway.state.records import App, Approval, AppState, PolicyState
from policies.masks import named

KIND = "app"
SourceText = Annotated[str, Field(min_length=1, max_length=200_000)]
FileName = Annotated[str, Field(max_length=200)]


class OneApp(Arguments):
    """An app by id."""

    app: str


class DiffApps(Arguments):
    """The text of an `app.yaml`."""

    source: SourceText
    file: FileName = "app.yaml"


class ApplyApps(Change):
    """The text of an `app.yaml`."""

    source: SourceText
    file: FileName = "app.yaml"


class RemoveApp(Change):
    """An app by id."""

    app: str


class TestFile(DiffApps):
    """The text of an `app.yaml`, and the person and device to play."""

    user: str = ""
    device: str = ""


class TestApp(Arguments):
    """An app by id, and the person and device to play."""

    app: str
    user: str = ""
    device: str = ""


async def ls(call: Call[Listing]) -> Reply:
    """Apps, by id; `servers` says how those stand that somebody used, None = the steward does not answer."""
    apps = sorted(call.context.reader.apps(), key=lambda app: app.id)
    states = await upstream_states(call)
    rows = [{**app.to_row(), "servers": None if states is None else states.get(app.id, [])} for app in apps]
    return listed(rows, call.arguments.limit)


async def show(call: Call[OneApp]) -> Reply:
    """One app with its open proposals and what deserves a second look."""
    app = _app(call, call.arguments.app)
    waiting = [
        approval_row(approval, call.now)
        for approval in call.context.reader.approvals(pending=True)
        if approval.kind == KIND and approval.subject == app.id
    ]
    states = await upstream_states(call)
    servers = None if states is None else states.get(app.id, [])
    noted = list(warnings(app, _around(call)))
    return Reply({**app.to_row(), "servers": servers, "approvals": waiting, "warnings": noted}, rows=1)


async def diff(call: Call[DiffApps]) -> Reply:
    """What applying the file would change."""
    rows = _plan(call, _parsed(call, call.arguments.source, call.arguments.file))
    return Reply({"plan": rows, "hit": sum(1 for row in rows if row["changes"])}, rows=len(rows))


async def apply(call: Call[ApplyApps]) -> Reply:
    """Propose the apps of the file; each becomes effective when another person grants it."""
    apps = _parsed(call, call.arguments.source, call.arguments.file)
    rows = _plan(call, apps)
    hit = sum(1 for row in rows if row["changes"])
    if call.arguments.dry_run:
        return Reply({"plan": rows, "hit": hit}, rows=hit)
    proposed = []
    for app, row in zip(apps, rows, strict=True):
        if not row["changes"]:
            continue
        current = call.context.reader.app(app.id)
        detail = {"app": app.to_row(), "base": _digest(current), "changes": row["changes"], "warnings": row["warnings"]}
        approval = await propose(call, KIND, app.id, detail)
        if current is None:
            await call.context.steward.call("app.put", app=app.to_row())
        proposed.append(approval_row(approval, call.now))
    return Reply({"approvals": proposed, "unchanged": len(rows) - hit}, rows=len(proposed), status=202)


async def remove(call: Call[RemoveApp]) -> Reply:
    """Remove an app: its hosts answer nobody from then on, its live connections end."""
    app = _app(call, call.arguments.app)
    if call.arguments.dry_run:
        return Reply({"plan": [{"action": "remove", **app.to_row()}], "hit": 1}, rows=1)
    done = await call.context.steward.call("app.remove", id=app.id, by=call.by)
    return Reply({"app": app.id, "receipt": done.get("receipt")}, rows=1)


async def test(call: Call[TestApp]) -> Reply:
    """What the app would receive for a person, whether it answers around the gateway, and what will not pass."""
    tried = await _tried(call, _app(call, call.arguments.app))
    return Reply(tried, rows=len(tried["probes"]))


async def test_file(call: Call[TestFile]) -> Reply:
    """The same for the apps of a file, before they are proposed: it reaches no further than a proposal's trial."""
    apps = _parsed(call, call.arguments.source, call.arguments.file)
    tried = [await _tried(call, app) for app in apps]
    return Reply({"tests": tried}, rows=len(tried))


async def _tried(call: Call[TestApp] | Call[TestFile], app: App) -> dict[str, Any]:
    user = person(call, call.arguments.user) if call.arguments.user else call.operator.user
    device = device_named(call, call.arguments.device) if call.arguments.device else None
    portal = call.context.settings.portal
    findings, walked = await probe(app), await walk(app, portal.port)
    return {
        "app": app.id,
        "user": user.login,
        "headers": sample_headers(app, user, device, portal.origin, call.now),
        "probes": [dataclasses.asdict(finding) for finding in findings],
        "strictness": dataclasses.asdict(walked),
        "warnings": [finding.advice for finding in findings if finding.advice] + list(warnings(app, _around(call))),
    }


async def take_effect(call: Call[Any], approval: Approval) -> dict[str, Any]:
    """Activate the app of a granted proposal, if nothing else changed it meanwhile."""
    detail = json.loads(approval.detail)
    app = dataclasses.replace(App.from_row(detail["app"]), state=AppState.ACTIVE.value, approved_by=call.by)
    check_effect(call, approval)
    await call.context.steward.call("app.put", app=app.to_row())
    return {"app": app.to_row()}


def check_effect(call: Call[Any], approval: Approval) -> None:
    """Raise Problem conflict where the proposal no longer fits what is registered now."""
    detail = json.loads(approval.detail)
    app = App.from_row(detail["app"])
    current = call.context.reader.app(app.id)
    unchanged = _digest(current) == detail["base"] or (current is not None and current.state == AppState.PENDING)
    if not unchanged:
        raise Problem(AdminReason.CONFLICT, f"{app.id} は申請の後に変更されました。もう一度 apps apply してください。")
    others = hosts_taken(call.context.reader.apps(), app.id)
    for _, got, expected in collisions(app, _around(call), others):
        raise Problem(AdminReason.CONFLICT, f"{app.id} は今の登録と両立しません: {got} ({expected})")
    _refuse_named(call, (app,))


def _app(call: Call[Any], app_id: str) -> App:
    app = call.context.reader.app(app_id)
    if app is None:
        raise not_found("アプリ", app_id)
    return app


def _around(call: Call[Any]) -> Surroundings:
    portal = call.context.settings.portal
    logins = frozenset(user.login for user in call.context.reader.users())
    sockets = str(call.context.settings.paths.run)
    return Surroundings(portal.host, portal.rp_id, tuple(call.context.reader.apps()), logins, sockets)


def _refuse_named(call: Call[Any], apps: tuple[App, ...]) -> None:
    """Raise Problem conflict where a registration masks what a rule of the active policy names (design §6)."""
    active = next((each for each in call.context.reader.policies() if each.state == PolicyState.ACTIVE), None)
    rules = () if active is None else loaded(active.source, active.hash[:12]).rules
    found = [str(each) for each in named(rules, [(app.id, app.masked_paths) for app in apps], holds)]
    if found:
        raise Problem(AdminReason.CONFLICT, "有効なポリシーと両立しません。" + " ".join(found))


def _parsed(call: Call[Any], source: str, file: str) -> tuple[App, ...]:
    try:
        apps = parse_apps(source, file, _around(call), call.by)
    except SourceFaults as found:
        faults = [dataclasses.asdict(fault) for fault in found.faults]
        raise Problem(AdminReason.FILE_FAULTS, f"{file} に誤りがあります。", extra={"faults": faults}) from found
    _refuse_named(call, apps)
    return apps


def _plan(call: Call[Any], apps: tuple[App, ...]) -> list[dict[str, Any]]:
    rows = []
    for app in apps:
        current = call.context.reader.app(app.id)
        before = current if current is not None and current.state == AppState.ACTIVE else None
        action = "add" if before is None else "change"
        differences = changes(before, app)
        rows.append(
            {
                "app": app.id,
                "title": app.title,
                "action": action if differences else "none",
                "changes": differences,
                "warnings": list(warnings(app, _around(call))),
            }
        )
    return rows


def _digest(app: App | None) -> str:
    if app is None:
        return ""
    return hashlib.sha256(json.dumps(app.to_row(), sort_keys=True).encode()).hexdigest()
