"""Commands about apps, devices, policy versions, approvals and the pieces of pages that workers show."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import sqlalchemy as sa

from audit.event import Action, event
from audit.numbers import holds
from gateway.state import schema
from gateway.state.arguments import Arguments
from gateway.state.command import Command, CommandRefused, Draft, Outcome, Surroundings
from gateway.state.records import App, Approval, AppState, Device, PolicyState, PolicyVersion
from gateway.state.tables import ActivePolicy, Page
from gateway.state.transaction import Transaction
from policies.masks import named
from policies.model import PolicyIR

_SERIAL = re.compile("[1-9a-f][0-9a-f]{0,39}")  # RFC 5280 §4.1.2.2: at most 20 octets
_AUTHORITY = re.compile("[0-9a-f]{64}")
_PAGES_LIMIT = 4 * 1024 * 1024  # characters in all: every worker holds them


def put_app(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`app`: a registration. It is active only when somebody other than its author approved it."""
    app = args.record(App, "app")
    args.end()
    if app.state not in set(AppState):
        raise CommandRefused("bad_arguments", f"app.state: expected one of {', '.join(AppState)}")
    if app.state == AppState.ACTIVE and app.approved_by in ("", app.created_by):
        raise CommandRefused("not_permitted", "an app becomes active by the approval of another person")
    for other in tx.find(App):
        taken = set(other.hosts) & set(app.hosts)
        if other.id != app.id and taken:
            raise CommandRefused("host_taken", f"{', '.join(sorted(taken))}: belongs to {other.id}")
    tx.put(app)
    fields = {
        "sekisho.app.id": app.id, "sekisho.app.hosts": list(app.hosts),
        "sekisho.app.upstream": ", ".join(app.addresses),
        "sekisho.app.sensitivity": app.sensitivity, "sekisho.app.state": app.state,
        "sekisho.app.path_exceptions": [each for each in (app.path_parameter, app.path_charset) if each],
        "sekisho.by": app.approved_by if app.state == AppState.ACTIVE else app.created_by,
    }  # fmt: skip
    action = Action.APP_APPROVED if app.state == AppState.ACTIVE else Action.APP_PROPOSED
    return Outcome({}, [event(action, around.now, fields)])


def remove_app(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`id by`: its hosts are unknown from now on; live connections to it end."""
    app_id, by = args.text("id"), args.text("by")
    args.end()
    app = tx.get(App, app_id)
    if app is None:
        raise CommandRefused("unknown_app", "no such app")
    tx.remove(app)
    return Outcome({}, [event(Action.APP_REMOVED, around.now, {"sekisho.app.id": app_id, "sekisho.by": by})])


def put_policy(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`version`: a proposed policy, named by the SHA-256 of its source. The same one again changes nothing."""
    version = replace(args.record(PolicyVersion, "version"), state=PolicyState.PROPOSED, approved_by="")
    args.end()
    if version.hash != hashlib.sha256(version.source.encode()).hexdigest():
        raise CommandRefused("bad_arguments", "version.hash: not the SHA-256 of the source")
    if tx.get(PolicyVersion, version.hash) is not None:
        return Outcome({"new": False})
    tx.put(replace(version, created_at=around.now))
    fields = {"sekisho.policy.hash": version.hash, "sekisho.policy.title": version.title}
    record = event(Action.POLICY_PROPOSED, around.now, fields | {"sekisho.by": version.created_by})
    return Outcome({"new": True}, [record])


def activate_policy(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`hash by` (and `ir`, added by the steward itself) → `ms`: the swap, approved by another person than its author.

    Refused where a rule names what an app's registration masks: its decisions could not be replayed.
    A version that was in force before (a rollback) has its approval already.
    """
    name, by, ir = args.text("hash"), args.text("by"), args.mapping("ir")
    args.end()
    version = tx.get(PolicyVersion, name)
    if version is None:
        raise CommandRefused("unknown_policy", "no such version")
    if not version.approved_by and by in ("", version.created_by):
        raise CommandRefused("not_permitted", "a policy is activated by another person than its author")
    rules, masks = PolicyIR.from_wire(ir).rules, [(app.id, app.masked_paths) for app in tx.find(App)]
    for hidden in named(rules, masks, holds):
        raise CommandRefused("masked_named", str(hidden))
    previous = [each for each in tx.find(PolicyVersion, state=PolicyState.ACTIVE.value) if each.hash != name]
    for each in previous:
        tx.put(replace(each, state=PolicyState.RETIRED))
    tx.put(replace(version, state=PolicyState.ACTIVE, approved_by=version.approved_by or by))
    tx.tell("policy", name, ActivePolicy(name, version.title, ir))
    fields = {
        "sekisho.policy.hash": name, "sekisho.policy.title": version.title, "sekisho.by": by,
        "sekisho.policy.previous": previous[0].hash if previous else None,
    }  # fmt: skip
    return Outcome({}, [event(Action.POLICY_ACTIVATED, around.now, fields)])


def put_devices(tx: Transaction, args: Arguments, _around: Surroundings) -> Outcome:
    """`devices`: rows as the MDM tells them. Recorded by the caller, who knows what changed.

    Certificates that were revoked stay revoked, whatever the rows say: their author may not have heard of it yet.
    """
    devices = args.records(Device, "devices")
    args.end()
    known = {device.id: device for device in tx.find(Device, id={device.id for device in devices})}
    owners = {device.uuid: device.id for device in tx.find(Device, uuid={device.uuid for device in devices})}
    changed: dict[str, Device] = {}
    for device in devices:
        if owners.setdefault(device.uuid, device.id) != device.id:
            raise CommandRefused("uuid_taken", f"{device.uuid}: belongs to device {owners[device.uuid]}")
        stored = known.get(device.id)
        if stored is None:
            tx.put(device)
            continue
        revoked = tuple(dict.fromkeys((*stored.revoked_serials, *device.revoked_serials)))
        row = replace(device, revoked_serials=revoked)
        if row != stored:
            changed[row.id] = row
    tx.change(list(changed.values()))
    return Outcome()


def revoke_certificate(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`id serial by reason authority` → `receipt`: the certificate counts no more; connections that showed it end.

    `authority` is the issuer's id (`RevocationList.id`): numbers are unique with it only (RFC 5280 §4.1.2.2). Left out,
    the number of any issuer is meant.
    """
    device_id, serial, by, reason = args.text("id"), args.text("serial"), args.text("by"), args.text("reason")
    authority = args.text("authority", "")
    args.end()
    if not _SERIAL.fullmatch(serial):
        raise CommandRefused("bad_arguments", "serial: expected lower-case hex digits without leading zeros")
    device = tx.get(Device, device_id)
    if device is None:
        raise CommandRefused("unknown_device", "no such device")
    if authority and not _AUTHORITY.fullmatch(authority):
        raise CommandRefused("bad_arguments", "authority: expected the SHA-256 of a public key, or nothing")
    named = f"{authority}:{serial}" if authority else serial
    if named not in device.revoked_serials:
        tx.put(replace(device, revoked_serials=(*device.revoked_serials, named)))
    fields = {
        "device.id": device.id, "sekisho.device.name": device.name, "sekisho.device.uuid": device.uuid,
        "sekisho.certificate.serial": serial, "sekisho.by": by, "sekisho.justification": reason,
        "sekisho.crl.authority_id": authority or None,
    }  # fmt: skip
    draft = Draft("certificate.revoke", by, reason, (f"device:{device.id}", f"certificate:{serial}"), ())
    return Outcome({}, [event(Action.CERTIFICATE_REVOKED, around.now, fields)], draft)


def put_pages(tx: Transaction, args: Arguments, _around: Surroundings) -> Outcome:
    """`pages` (name → text): the rendered pieces that workers answer with; names left out are gone."""
    pages = args.mapping("pages")
    args.end()
    if not all(isinstance(body, str) for body in pages.values()) or sum(map(len, pages.values())) > _PAGES_LIMIT:
        raise CommandRefused("bad_arguments", f"pages: expected texts, at most {_PAGES_LIMIT} characters in all")
    rows = tx.connection.execute(sa.select(schema.pages.c.name, schema.pages.c.body))
    known: dict[str, str] = {row.name: row.body for row in rows}
    for name in known.keys() - pages.keys():
        tx.remove_row(schema.pages, name)
        tx.tell("page", name, None)
    for name, body in pages.items():
        if known.get(name) != body:
            tx.put_row(schema.pages, {"name": name, "body": body})
            tx.tell("page", name, Page(name, body))
    return Outcome()


def put_approval(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`approval`: a request that another person has to grant."""
    asked = args.record(Approval, "approval")
    args.end()
    if tx.get(Approval, asked.id) is not None:
        raise CommandRefused("bad_arguments", "approval.id: used before")
    tx.put(replace(asked, requested_at=around.now, decided_by="", decided_at=None, granted=False))
    return Outcome()


def decide_approval(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`id by granted` → the approval's row: once, in time, and never by the person who asked."""
    approval_id, by, granted = args.text("id"), args.text("by"), args.flag("granted")
    args.end()
    asked = tx.get(Approval, approval_id)
    if asked is None:
        raise CommandRefused("unknown_approval", "no such request")
    if asked.decided_at is not None or asked.expires_at <= around.now:
        raise CommandRefused("approval_over", "the request was decided before, or is too old")
    if granted and by in ("", asked.requested_by):
        raise CommandRefused("not_permitted", "a request is granted by another person")
    decided = replace(asked, decided_by=by, decided_at=around.now, granted=granted)
    tx.put(decided)
    fields = {
        "sekisho.approval.id": asked.id, "sekisho.approval.kind": asked.kind, "sekisho.approval.granted": granted,
        "sekisho.by": by,
    }  # fmt: skip
    return Outcome({"approval": decided.to_row()}, [event(Action.APPROVAL_DECIDED, around.now, fields)])


COMMANDS = {
    "app.put": Command(put_app, seen=True),
    "app.remove": Command(remove_app, seen=True, urgent=True),
    "policy.put": Command(put_policy),
    "policy.activate": Command(activate_policy, seen=True),
    "devices.put": Command(put_devices, seen=True),
    "certificate.revoke": Command(revoke_certificate, seen=True, urgent=True),
    "pages.put": Command(put_pages),
    "approval.put": Command(put_approval),
    "approval.decide": Command(decide_approval),
}
