"""Which device is this: the client certificate, per request, on the real TLS listener."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from audit.receipt import verify_receipt
from gateway.certificates import Issued, create_device_authority, issue_device_certificate
from gateway.keyfiles import private_pem
from gateway.state.records import Device
from tests.support.device_city import HOST, DeviceCity, device_city, is_over, lives


def _serial(issued: Issued) -> str:
    return f"{x509.load_pem_x509_certificate(issued.certificate).serial_number:x}"


async def _named_by_certificate(city: DeviceCity, device: Device, other: Device) -> None:
    one = await city.person(1, device)
    async with city.browser(one, city.certificate(device)) as browser:
        assert (await browser.get("/list"))[0] == 200
    decided = await city.until(
        lambda r: r["event.action"] == "request.decided" and r.get("sekisho.session.id") == one, "worker-?"
    )
    assert (decided["device.id"], decided["sekisho.verdict"]) == (device.id, "forward")
    reached = len(city.app.seen)
    async with city.browser(one, None) as browser:
        status, page = await browser.get("/list")
        assert (status, "サインインしたときと違う端末です" in page) == (403, True)
    async with city.browser(one, city.certificate(other)) as browser:
        assert (await browser.get("/list"))[0] == 403
    without = await city.person(1, None)
    async with city.browser(without, city.certificate(other)) as browser:
        status, page = await browser.get("/list")
        assert (status, "別の人の端末です" in page) == (403, True)
    async with city.browser(without, None) as browser:
        assert (await browser.get("/list"))[0] == 403
    assert len(city.app.seen) == reached


async def _revoked(city: DeviceCity, device: Device, other: Device) -> None:
    one, two = await city.person(1, device), await city.person(2, other)
    stolen, fresh = city.certificate(device), city.certificate(device)
    async with (
        city.browser(one, stolen) as thief, city.browser(one, fresh) as owner,
        city.browser(two, city.certificate(other)) as bystander,
    ):  # fmt: skip
        taken, kept, unconcerned = await thief.socket(), await owner.socket(), await bystander.socket()
        done = await city.steward.call(
            "certificate.revoke", id=device.id, serial=_serial(stolen), by="ciso", reason="紛失"
        )
        assert await is_over(taken)
        assert await lives(kept)
        assert await lives(unconcerned)
        status, page = await thief.get("/list")
        assert (status, "端末の証明書が無効です" in page) == (403, True)
        assert (await owner.get("/list"))[0] == 200
    public = load_pem_public_key((city.root / "keys" / "receipts.pub").read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    receipt = verify_receipt(done["receipt"], public)
    assert (receipt.kind, sum(receipt.closed.values())) == ("certificate.revoke", 1)
    recorded = await city.until(lambda r: r["event.action"] == "certificate.revoked", "steward")
    assert (recorded["sekisho.certificate.serial"], recorded["sekisho.by"]) == (_serial(stolen), "ciso")
    await city.until(lambda r: r["event.action"] == "posture.synced" and r["@timestamp"] > recorded["@timestamp"])
    async with city.browser(one, stolen) as thief:
        assert (await thief.get("/list"))[0] == 403


async def _handshake_fails(city: DeviceCity, one: str, issued: Issued) -> None:
    failed = sum(record["event.action"] == "tls.failed" for record in city.records("worker-*"))
    async with city.browser(one, issued) as browser:
        with pytest.raises(aiohttp.ClientError):
            await browser.get("/list")
    record = await city.until(
        lambda r: (
            r["event.action"] == "tls.failed"
            and sum(each["event.action"] == "tls.failed" for each in city.records("worker-*")) > failed
        ),
        "worker-*",
    )
    assert (record["sekisho.listener"], record["source.ip"]) == ("public", "127.0.0.1")
    assert record["error.message"] == "certificate_verify_failed"


def _foreign_authority(folder: Path) -> None:
    foreign = create_device_authority("他の町", time.time())
    folder.mkdir()
    (folder / "ca.pem").write_bytes(foreign.pem)
    (folder / "ca.key").write_bytes(private_pem(foreign.key))


async def _not_ours(city: DeviceCity, device: Device, folder: Path) -> None:
    one = await city.person(1, device)
    _foreign_authority(folder)
    await _handshake_fails(city, one, issue_device_certificate(folder, device.uuid, 30, time.time()))
    late = issue_device_certificate(city.root / "device-ca", device.uuid, 30, time.time() - 60 * 86_400)
    await _handshake_fails(city, one, late)


async def _help(city: DeviceCity, device: Device) -> None:
    one = await city.person(1, device)
    reached = len(city.app.seen)
    address = f"https://{city.status['listeners']['help']}"
    async with city.browser(one, None) as browser:
        for language, words in (("ja", "端末証明書の確認"), ("en", "Device certificates")):
            async with browser.client.get(
                f"{address}/list", server_hostname=HOST, headers={"Accept-Language": language}
            ) as answer:
                page = await answer.text()
                assert (answer.status, words in page, "ERR_BAD_SSL_CLIENT_AUTH_CERT" in page) == (403, True, True)
    assert len(city.app.seen) == reached


@pytest.mark.promise("P1.device-named-by-its-certificate")
@pytest.mark.promise("P3.certificate-revocation-ends-live")
def test_a_device_is_who_its_certificate_says(tmp_path: Path) -> None:
    async def main() -> None:
        async with device_city(tmp_path, SEKISHO_LISTENERS__HELP__ADDRESS="127.0.0.1:0") as city:
            await city.furnish_app()
            devices = await city.devices()
            first, second = devices["PC-1"], devices["PC-2"]
            await _named_by_certificate(city, first, second)
            await _not_ours(city, first, tmp_path / "foreign")
            await _help(city, first)
            await _revoked(city, first, second)

    asyncio.run(main())
