"""Commands about certificate revocation lists (RFC 5280 §5), which control has read and verified.

A list comes in three steps, so that taking rights away never waits for anything: `crl.revoke` enters what is new,
urgently; `crl.lift` takes out what the list no longer has; `crl.put` makes it the list in force. Each step refuses one
that is older than the list in force, and a half-done one is taken up again by the next look at the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from audit.event import Action, event, timestamp
from gateway.state.arguments import Arguments
from gateway.state.command import Command, CommandRefused, Draft, Outcome, Surroundings
from gateway.state.records import RevocationList, RevokedSerials
from gateway.state.serials import bucket_of, joined, packed, split
from gateway.state.transaction import Transaction

MOST = 2000  # serial numbers of one command: a sign-in waits for one of them at most
BY = "crl"  # who, in records and receipts
_SERIAL = re.compile("[1-9a-f][0-9a-f]{0,39}")
_HEX_ID = re.compile("[0-9a-f]{64}")


def revoke(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`list serials named` → `changed`, `receipt`: these certificates count no more; connections that showed one end.

    `named`: each of them gets a record of its own and stands on the receipt; else the receipt has their number.
    """
    added, listed, named = _changed(tx, args, lambda old, given: old | given)
    if not added:
        return Outcome({"changed": 0})
    why = _described(listed)
    told = [f"certificate:{serial}" for serial in added] if named else [f"certificates:{len(added)}"]
    draft = Draft("certificate.revoke", BY, why, (f"authority:{listed.id}", *told), ())
    return Outcome(
        {"changed": len(added)}, _records(Action.CERTIFICATE_REVOKED, added if named else (), listed, around), draft
    )


def lift(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`list serials named` → `changed`: the list has these no more (a hold ended): the certificates count again."""
    lifted, listed, named = _changed(tx, args, lambda old, given: old - given)
    records = _records(Action.CERTIFICATE_REINSTATED, lifted if named else (), listed, around)
    return Outcome({"changed": len(lifted)}, records)


def put(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`list added lifted`: the list that is in force from now on, with how many numbers came and went."""
    listed = _list(tx, args)
    added, lifted = int(args.number("added")), int(args.number("lifted"))
    args.end()
    listed = RevocationList.from_row({**listed.to_row(), "read_at": around.now})
    tx.put(listed)
    fields = {**fields_of(listed), "sekisho.crl.added": added, "sekisho.crl.lifted": lifted}
    return Outcome({}, [event(Action.CRL_ACCEPTED, around.now, {**fields, "event.outcome": "success"})])


def renumber(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`list by reason`: a person says that the authority began its numbers anew with this list, which may now follow.

    What is revoked stays so until the list itself comes by the three steps. Only the protection against older lists is
    set to this one: until it is in force, and after, none that was issued before it is taken.
    """
    listed, by, reason = args.record(RevocationList, "list"), args.text("by"), args.text("reason")
    args.end()
    stored = tx.get(RevocationList, listed.id)
    if stored is None or not older(stored, listed):
        raise CommandRefused("crl_not_older", "expected a list that is older than the one in force")
    tx.put(replace(stored, number="", this_update=listed.this_update))
    told = {
        "sekisho.by": by, "sekisho.justification": reason, "error.message": older(stored, listed),
        "event.outcome": "success",
    }  # fmt: skip
    return Outcome({}, [event(Action.CRL_RENUMBERED, around.now, {**fields_of(stored), **told})])


def drop(tx: Transaction, args: Arguments, around: Surroundings) -> Outcome:
    """`id`: the settings name no list of this authority any more; what it revoked is as if it had never been listed."""
    authority = args.text("id")
    args.end()
    listed = tx.get(RevocationList, authority)
    for bucket in tx.find(RevokedSerials, authority=authority):
        tx.remove(bucket)
    if listed is None:
        return Outcome()
    tx.remove(listed)
    return Outcome({}, [event(Action.CRL_DROPPED, around.now, fields_of(listed))])


def fields_of(listed: RevocationList) -> dict[str, object]:
    """Return the fields of a record that name a list."""
    return {
        "sekisho.crl.authority": listed.authority, "sekisho.crl.authority_id": listed.id,
        "sekisho.crl.number": listed.number or None, "sekisho.crl.this_update": timestamp(listed.this_update),
        "sekisho.crl.next_update": timestamp(listed.next_update), "sekisho.crl.entries": listed.entries,
        "sekisho.crl.digest": listed.digest,
    }  # fmt: skip


def _list(tx: Transaction, args: Arguments) -> RevocationList:
    """The list that a command is about, unless one that is newer is in force."""
    listed = args.record(RevocationList, "list")
    if not _HEX_ID.fullmatch(listed.id):
        raise CommandRefused("bad_arguments", "list.id: expected the SHA-256 of a public key, 64 lower-case hex digits")
    stored = tx.get(RevocationList, listed.id)
    if stored is not None and (fault := older(stored, listed)):
        raise CommandRefused("crl_older", fault)
    return listed


def older(former: RevocationList, listed: RevocationList) -> str:
    """Return why a list cannot follow the one in force, "" = it can (or is the same one)."""
    if former.digest == listed.digest:
        return ""
    if former.number and not listed.number:
        return f"got no CRL number, expected one above {former.number}, that of the list in force (RFC 5280 §5.2.3)"
    if former.number and int(listed.number) <= int(former.number):
        return f"got CRL number {listed.number}, expected one above {former.number}, that of the list in force"
    if listed.this_update < former.this_update:
        return (
            f"got thisUpdate {timestamp(listed.this_update)},"
            f" expected none before {timestamp(former.this_update)}, that of the list in force"
        )
    return ""


def _changed(
    tx: Transaction, args: Arguments, change: Callable[[set[bytes], set[bytes]], set[bytes]]
) -> tuple[list[str], RevocationList, bool]:
    """Change the buckets of the given numbers; return those that were not as they are now, the list, and `named`."""
    listed = _list(tx, args)
    given, named = args.texts("serials"), args.flag("named")
    args.end()
    if len(given) > MOST or not all(_SERIAL.fullmatch(serial) for serial in given):
        raise CommandRefused("bad_arguments", f"serials: expected at most {MOST}, in lower-case hex, no leading zeros")
    spread: dict[str, dict[bytes, str]] = {}
    for serial in given:
        number = packed(serial)
        spread.setdefault(bucket_of(listed.id, number), {})[number] = serial
    stored = {bucket.id: bucket for bucket in tx.find(RevokedSerials, id=list(spread))}
    altered: list[str] = []
    for bucket_id, wanted in spread.items():
        bucket = stored.get(bucket_id)
        old = set(split(bytes.fromhex(bucket.serials))) if bucket else set()
        new = change(old, set(wanted))
        altered += [wanted[number] for number in sorted(old ^ new)]
        if bucket is not None and not new:
            tx.remove(bucket)
        elif new != old:
            tx.put(RevokedSerials(bucket_id, listed.id, joined(new).hex()))
    return altered, listed, named


def _records(
    action: Action, serials: Sequence[str], listed: RevocationList, around: Surroundings
) -> list[dict[str, object]]:
    fields = {"sekisho.by": BY, "sekisho.justification": _described(listed), "sekisho.crl.authority": listed.authority}
    return [event(action, around.now, {"sekisho.certificate.serial": each, **fields}) for each in serials]


def _described(listed: RevocationList) -> str:
    number = f"CRL {listed.number}" if listed.number else f"CRL {listed.digest[:12]}"
    return f"{listed.authority}: {number}"


COMMANDS = {
    "crl.revoke": Command(revoke, seen=True, urgent=True),
    "crl.lift": Command(lift, seen=True),
    "crl.put": Command(put, seen=True),
    "crl.drop": Command(drop, seen=True),
    "crl.renumber": Command(renumber, seen=True),
}
