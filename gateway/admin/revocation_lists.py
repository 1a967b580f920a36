"""Commands about the revocation lists of the authorities that issue devices' certificates."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from cryptography import x509
from pydantic import AfterValidator

from gateway.admin.certificate_numbers import optional_serial
from gateway.admin.endpoint import Arguments, Call, Change, Listing, Reply, listed
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.edge.authorities import read_authority, united
from gateway.posture.crl import CrlFaults
from gateway.state.serials import bucket_of, holds, packed

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.state.store import Reader

ANY = "any"  # issuer of a number that is meant whoever issued it


class OneList(Arguments):
    """A list by its authority's name or the beginning of its id; `serial`: whether this number is revoked by it."""

    authority: str
    serial: Annotated[str, AfterValidator(optional_serial)] = ""


class AcceptList(Change):
    """A list by its authority's name or the beginning of its id, to follow although it is older.

    `digest` is the list's SHA-256 as the plan showed it: only that one is accepted. "" = whichever lies there.
    """

    authority: str
    digest: str = ""


async def ls(call: Call[Listing]) -> Reply:
    """Every list that the settings name, and those that are kept besides: number, age, state, last fault."""
    return listed(await asyncio.to_thread(_states, call), call.arguments.limit)


async def show(call: Call[OneList]) -> Reply:
    """One list; with `serial`, `revoked` says whether it has this number."""
    wanted = call.arguments
    row = await _named(call, wanted.authority)
    if wanted.serial:
        has = await asyncio.to_thread(_has, call.context.reader, row["id"], wanted.serial)
        row = {**row, "serial": wanted.serial, "revoked": has}
    return Reply(row, rows=1)


async def accept(call: Call[AcceptList]) -> Reply:
    """Put the list in an authority's file in force although its number or time went back; it has to be a good one."""
    given = call.arguments
    row, desk = await _named(call, given.authority), call.context.lists
    if desk is None or row["state"] == "not_configured":
        raise Problem(AdminReason.CONFLICT, f"{row['authority']} は設定 (client_crls) にありません。")
    try:
        plan = await desk.plan(row["id"])
        if plan is None:
            message = f"{row['file']} のリストは有効か、番号も発行時刻も戻っていません。何も変更していません。"
            raise Problem(AdminReason.CONFLICT, message)
        if given.dry_run:
            return Reply({"plan": [plan], "hit": 1}, rows=1)
        done = await desk.accept(row["id"], given.digest or str(plan["digest"]), call.by, given.reason)
    except CrlFaults as faults:
        raise Problem(AdminReason.CONFLICT, f"リストを使えません: {faults}") from None
    if not done:
        raise Problem(AdminReason.CONFLICT, f"{row['file']} が替わりました。もう一度確かめてください。")
    return Reply({"list": plan}, rows=1)


async def _named(call: Call[Any], name: str) -> dict[str, Any]:
    """Return the one list of this name, or with this beginning of its id; raises Problem."""
    rows = await asyncio.to_thread(_states, call)
    found = [row for row in rows if row["authority"] == name or row["id"].startswith(name)]
    if not found:
        raise not_found("失効リスト", name)
    if len(found) > 1:
        ids = "、".join(row["id"][:16] for row in found)
        raise Problem(AdminReason.CONFLICT, f"{name} の失効リストは {len(found)} 件あります。ID で指定: {ids}")
    return found[0]


async def authority_of(call: Call[Any], issuer: str) -> str:
    """Return the id of the authority that an operator names as the issuer of a certificate, "" = whoever issued it.

    Where only one is trusted, none needs to be named. Raises Problem where several are and none of them is meant.
    """
    if issuer == ANY:
        return ""
    known = await asyncio.to_thread(_known, call.context.settings)
    if not issuer and len(known) <= 1:
        return ""
    found = [name for name, title in known if issuer and (title == issuer or name.startswith(issuer))]
    if len(found) == 1:
        return found[0]
    names = "、".join(f"{title} ({name[:16]})" for name, title in known)
    raise Problem(
        AdminReason.CONFLICT,
        f"端末証明書の認証局が {len(known)} あります。シリアル番号は認証局ごとのものです。--issuer で指定してください"
        f" ({ANY} はすべて): {names}",
    )


def _states(call: Call[Any]) -> list[dict[str, Any]]:
    return [] if call.context.lists is None else call.context.lists.states()


def _has(reader: Reader, authority: str, serial: str) -> bool:
    number = packed(serial)
    wanted = bucket_of(authority, number)
    return any(holds(bytes.fromhex(row.serials), number) for row in reader.revoked(authority) if row.id == wanted)


def _known(settings: Settings) -> list[tuple[str, str]]:
    """Return the id and the name of each authority that issues devices' certificates. Blocks.

    Files that cannot be read any more name none: they were good when the workers began.
    """
    public = settings.listeners.public
    if public is None:
        return []
    try:
        trusted = x509.load_pem_x509_certificates(public.client_ca.read_bytes())
    except (OSError, ValueError):
        trusted = []
    listed = [read_authority(each.authority, checked=True)[0] for each in public.client_crls]
    return [(each.id, each.name) for each in united(trusted, [each for each in listed if each is not None])]
