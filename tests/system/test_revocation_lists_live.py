"""The list of an authority that is not ours, as data: real handshakes, live connections, files that come and go."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from audit.receipt import verify_receipt
from cli.client import AdminClient
from cli.failure import Failure
from gateway.certificates import load_authority
from gateway.state.records import Device
from gateway.state.sealing import Sealing
from gateway.state.store import Reader
from tests.support.device_city import DeviceCity, device_city, lives, stream_is_over
from tests.support.operator import ask, operator, tell
from tests.support.revocation_lists import Prefecture, issue, number_of
from tests.support.steward_process import user

WAIT = 30.0  # seconds for a file to be looked at twice, verified and told to every worker


async def _told(city: DeviceCity, action: str, writers: str, **fields: Any) -> dict[str, Any]:
    wanted = {f"sekisho.crl.{name}": value for name, value in fields.items()}
    return await city.until(
        lambda r: r["event.action"] == action and all(r.get(name) == value for name, value in wanted.items()),
        writers, WAIT,
    )  # fmt: skip


async def _until_answer(city: DeviceCity, session: str, issued: Any, status: int) -> str:
    """Ask until the answer has this status; return its page."""
    async with asyncio.timeout(WAIT):
        while True:
            async with city.browser(session, issued) as browser:
                got, page = await browser.get("/list")
            if got == status:
                return page
            await asyncio.sleep(0.1)


async def _revoked_while_alive(city: DeviceCity, prefecture: Prefecture, first: Device, second: Device) -> None:
    """A number appears on the list: what lives ends, what comes is refused, by number and issuer; all on record."""
    one, two = await city.person(1, first), await city.person(2, second)
    stolen, kept = issue(prefecture.made, first.uuid, time.time()), issue(prefecture.made, second.uuid, time.time())
    ours = issue(load_authority(city.root / "device-ca"), first.uuid, time.time(), serial=number_of(stolen))
    async with (
        city.browser(one, stolen) as thief, city.browser(one, ours) as owner, city.browser(two, kept) as bystander
    ):  # fmt: skip
        socket, events = await thief.socket(), await thief.events()
        same_number, unconcerned = await owner.socket(), await bystander.socket()
        prefecture.publish(number_of(stolen))
        async with asyncio.timeout(WAIT):
            assert (await socket.receive()).type.name in {"CLOSE", "CLOSED", "ERROR"}
        assert await stream_is_over(events)
        assert await lives(same_number)
        assert await lives(unconcerned)
        await _told(city, "crl.accepted", "steward", number=str(prefecture.number))  # every worker has it by now
        status, page = await thief.get("/list")
        assert (status, "端末の証明書が無効です" in page) == (403, True)
        assert (await owner.get("/list"))[0] == 200
        await same_number.close()
        await unconcerned.close()
    recorded = await city.until(lambda r: r["event.action"] == "certificate.revoked", "steward", WAIT)
    assert recorded["sekisho.certificate.serial"] == f"{number_of(stolen):x}"
    assert (recorded["sekisho.by"], recorded["sekisho.crl.authority"]) == ("crl", "県の認証局")
    await _completed(city, one, 2)
    _receipt(city, stolen, closed=2)

    prefecture.publish()
    assert "端末の証明書" not in await _until_answer(city, one, stolen, 200)
    await city.until(lambda r: r["event.action"] == "certificate.reinstated", "steward", WAIT)


async def _completed(city: DeviceCity, session: str, count: int) -> None:
    """Wait until so many exchanges of a session are on record as ended for their certificate, and no more."""
    async with asyncio.timeout(WAIT):
        while True:
            ended = [
                each for each in city.completed("worker-?")
                if each.get("sekisho.session.id") == session and each.get("sekisho.outcome")
                and each.get("sekisho.reason") == "device_certificate_revoked"
            ]  # fmt: skip
            if len(ended) == count:
                return
            assert len(ended) < count
            await asyncio.sleep(0.05)  # journals have no event for readers


def _receipt(city: DeviceCity, stolen: Any, closed: int) -> None:
    public = load_pem_public_key((city.root / "keys" / "receipts.pub").read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    reader = Reader(city.root / "state" / "sekisho.db", Sealing.load(city.root / "keys" / "sealing.key"))
    try:
        (receipt,) = [verify_receipt(each, public) for each in reader.receipts() if '\\"who\\":\\"crl\\"' in each]
    finally:
        reader.close()
    assert (receipt.kind, receipt.who, sum(receipt.closed.values())) == ("certificate.revoke", "crl", closed)
    assert f"certificate:{number_of(stolen):x}" in receipt.targets
    assert receipt.last_ack_at - receipt.durable_at < WAIT


async def _broken(city: DeviceCity, prefecture: Prefecture, first: Device) -> None:
    """What cannot be believed leaves the former list in force, with the reason in record and status."""
    one, shown = await city.person(1, first), issue(prefecture.made, first.uuid, time.time())
    prefecture.publish(number_of(shown))
    await _until_answer(city, one, shown, 403)
    in_force = prefecture.number
    client = await operator(city, "ciso")
    for what, place in (
        ("not a certificate revocation list", lambda: prefecture.file.write_bytes(b"junk")),
        ("expected one above", lambda: prefecture.publish(number=in_force - 1)),
    ):
        place()
        row = await _until_fault(client, what)
        assert (row["state"], row["number"]) == ("good", str(in_force))
        await city.until(
            lambda r, what=what: r["event.action"] == "crl.refused" and what in r["error.message"], "control", WAIT
        )
        async with city.browser(one, shown) as browser:
            assert (await browser.get("/list"))[0] == 403
    prefecture.publish(number=in_force + 1)
    await _until_answer(city, one, shown, 200)
    row = await _until_fault(client, "")
    assert (row["state"], row["entries"]) == ("good", 0)


async def _until_fault(client: AdminClient, what: str) -> dict[str, Any]:
    """Wait until `status` says this of the one list's file ("" = nothing); return what it says of the list."""
    async with asyncio.timeout(WAIT):
        while True:
            (row,) = (await ask(client, "/v1/status"))["revocation_lists"]
            if what in row["fault"] and bool(what) == bool(row["fault"]):
                return dict(row)
            await asyncio.sleep(0.1)  # the API answers, it does not call


async def _asked(city: DeviceCity, prefecture: Prefecture, first: Device) -> None:
    """What operators see, and a revocation by hand: by issuer and number, since two authorities are trusted."""
    one, theirs = await city.person(1, first), issue(prefecture.made, first.uuid, time.time())
    ours = issue(load_authority(city.root / "device-ca"), first.uuid, time.time(), serial=number_of(theirs))
    client, number = await operator(city, "ciso", number=91), f"{number_of(theirs):X}"
    (row,) = (await ask(client, "/v1/revocation-lists"))["items"]
    assert (row["authority"], row["state"], row["when_stale"]) == ("県の認証局", "good", "refuse")
    shown = await ask(client, f"/v1/revocation-lists/{row['id'][:12]}", serial=number)
    assert shown["revoked"] is False
    path = f"/v1/devices/{first.id}/revoke-certificate"
    with pytest.raises(Failure, match="--issuer"):
        await tell(client, path, serial=number, reason="紛失")
    await tell(client, path, serial=number, issuer="県の認証局", reason="紛失")
    await _until_answer(city, one, theirs, 403)
    await _until_answer(city, one, ours, 200)


async def _begun_anew(city: DeviceCity, prefecture: Prefecture, first: Device) -> None:
    """The authority counts from one again: a person is shown what would change, says so, and its list counts."""
    one, stolen = await city.person(1, first), issue(prefecture.made, first.uuid, time.time())
    client = await operator(city, "ciso", number=92)
    (row,) = (await ask(client, "/v1/revocation-lists"))["items"]
    path, reason = f"/v1/revocation-lists/{row['id'][:12]}/accept", "認証局の復旧"
    with pytest.raises(Failure, match="戻っていません"):
        await tell(client, path, reason=reason)
    prefecture.publish(number_of(stolen), number=1, since=-30)
    await _until_fault(client, "expected one above")
    shown = await tell(client, path, reason=reason, dry_run=True)
    assert [(each["number"], each["added"], each["lifted"]) for each in shown["plan"]] == [("1", 1, 0)]
    with pytest.raises(Failure, match="替わりました"):
        await tell(client, path, reason=reason, digest="0" * 64)  # another than was shown
    digest = shown["plan"][0]["digest"]
    assert (await tell(client, path, reason=reason, digest=digest))["list"]["digest"] == digest
    await _until_answer(city, one, stolen, 403)
    told = await _told(city, "crl.renumbered", "steward", number=row["number"])
    assert (told["sekisho.by"], told["sekisho.justification"]) == (user(92).login, reason)
    await _told(city, "crl.accepted", "steward", digest=shown["plan"][0]["digest"])


async def _stale(city: DeviceCity, prefecture: Prefecture, first: Device) -> None:
    """Past its nextUpdate a list proves nothing: refused, what lives ends, and both are told; a new one heals it."""
    one, shown = await city.person(1, first), issue(prefecture.made, first.uuid, time.time())
    async with city.browser(one, shown) as browser:
        prefecture.publish(until=8)
        await _told(city, "crl.accepted", "steward", number=str(prefecture.number))
        page = await _until_answer(city, one, shown, 403)
        assert "端末の証明書を確認できません" in page
        await city.until(
            lambda r: r["event.action"] == "crl.stale" and "nextUpdate" in r["error.message"], "control", WAIT
        )
        async with city.browser(one, issue(load_authority(city.root / "device-ca"), first.uuid, time.time())) as own:
            assert (await own.get("/list"))[0] == 200
        prefecture.publish()
        await _until_answer(city, one, shown, 200)
        assert (await browser.get("/list"))[0] == 200


@pytest.mark.promise("P3.certificate-revocation-list-ends-live")
@pytest.mark.promise("P1.unchecked-certificate-refused")
@pytest.mark.promise("P1.revocation-list-begins-anew-by-a-person")
def test_an_authority_s_list_counts_from_one_request_to_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        prefecture = Prefecture(tmp_path)
        async with device_city(tmp_path, before=prefecture.trust, **prefecture.settings()) as city:
            await city.furnish_app()
            devices = await city.devices()
            first, second = devices["PC-1"], devices["PC-2"]
            one, shown = await city.person(1, first), issue(prefecture.made, first.uuid, time.time())
            assert "端末の証明書を確認できません" in await _until_answer(city, one, shown, 403)
            prefecture.publish()
            await _until_answer(city, one, shown, 200)
            await _revoked_while_alive(city, prefecture, first, second)
            await _broken(city, prefecture, first)
            await _stale(city, prefecture, first)
            await _asked(city, prefecture, first)
            await _begun_anew(city, prefecture, first)

    asyncio.run(main())
