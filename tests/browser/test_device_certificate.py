"""A managed browser: Chromium picks the device's certificate from a real NSS store by policy, and the gate knows it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from gateway.certificates import Issued, issue_device_certificate, load_authority
from mdm_sim import scenarios
from mdm_sim.server import GraphServer, Tenant, serve
from mdm_sim.world import SimDevice
from tests.support.city import City, running_city
from tests.support.real_parts import program
from tests.support.visitor import CHROMIUM, PATIENCE, STARTS_WITHIN, Visitor

POLICIES = Path("/etc/chromium/policies/managed/sekisho-test.json")
POLICY = """
version: 1
metadata: { id: test, revision: 1, title: 試験, owner: 情報政策課 }
zones: { office: [127.0.0.0/8] }
rules:
  - id: forms
    effect: allow
    owner: 情報政策課
    description: 職員は適合端末から申請フォームを利用できる
    when: { app: [forms], user.groups: { any_of: [staff] } }
    require: [ { device.encrypted: true }, { device.compliant: true } ]
tests:
  - name: 適合端末から使える
    given: { app: forms, user.groups: [staff], device.compliant: true, device.encrypted: true, posture.read_age: 1m,
             posture.seen_age: 1m }
    expect: { effect: allow, rule: forms }
"""


@contextmanager
def _simulator() -> Iterator[tuple[GraphServer, str]]:
    """The MDM in a loop of its own; yields it and its address."""
    server = GraphServer(scenarios.empty(), Tenant("t", "c", "s3cret"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner, port = asyncio.run_coroutine_threadsafe(serve(server, "127.0.0.1", 0), loop).result(60)
    try:
        yield server, f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def device_and_city(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[City, GraphServer, SimDevice]]:
    """A city whose MDM is read at the start and when somebody asks, and one device of a2001 without encryption."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    with _simulator() as (server, base):
        device = server.world.enrol("SHIMIN-PC-01", "a2001@city.example.jp", time.time())
        server.world.decrypt(device.id, time.time())
        for name, value in (
            ("BASE_URL", base), ("TOKEN_URL", f"{base}/t/oauth2/v2.0/token"), ("CLIENT_ID", "c"),
            ("CLIENT_SECRET_FILE", str(secret)), ("INTERVAL", "900"),
        ):  # fmt: skip
            monkeypatch.setenv(f"SEKISHO_MDM__{name}", value)
        with running_city(tmp_path) as city:
            city.add_app()
            city.use_policy(POLICY)
            yield city, server, device


@contextmanager
def _selecting(issuer: str) -> Iterator[None]:
    """Have the browser select certificates of `issuer` by itself; the policy file is gone afterwards."""
    if os.geteuid() != 0:
        pytest.skip("a managed policy of Chromium can be written by root only")
    chosen = {"pattern": "https://[*.]sekisho.localhost", "filter": {"ISSUER": {"CN": issuer}}}
    made = [folder for folder in (*reversed(POLICIES.parents),) if not folder.exists()]
    POLICIES.parent.mkdir(parents=True, exist_ok=True)
    try:
        POLICIES.write_text(json.dumps({"AutoSelectCertificateForUrls": [json.dumps(chosen)]}))
        yield
    finally:
        POLICIES.unlink()
        for folder in reversed(made):
            folder.rmdir()


def _store(home: Path, city: City, issued: Issued) -> None:
    """Chromium's certificate store on Linux: the trial CA trusted for servers, the device's certificate and key."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    bundle = home / "device.p12"
    bundle.write_bytes(issued.bundle)
    certutil = str(program("certutil"))
    for command in (
        [certutil, "-N", "--empty-password", "-d", f"sql:{database}"],
        [certutil, "-A", "-d", f"sql:{database}", "-t", "C,,", "-n", "city",
         "-i", str(city.settings.paths.tls / "demo-ca.pem")],
        [str(program("pk12util")), "-d", f"sql:{database}", "-i", str(bundle), "-W", "import-1", "-K", ""],
    ):  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def _browser(home: Path) -> Iterator[BrowserContext]:
    """A browser with a home and a profile of its own; certificates are verified."""
    with sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            home / "profile", executable_path=str(program("chromium")), args=list(CHROMIUM), locale="ja-JP",
            env={**os.environ, "HOME": str(home)}, timeout=STARTS_WITHIN,
        )  # fmt: skip
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


@pytest.mark.promise("P1.device-named-by-its-certificate")
def test_the_certificate_in_the_store_names_the_device(
    device_and_city: tuple[City, GraphServer, SimDevice], tmp_path: Path
) -> None:
    city, server, device = device_and_city
    authority = city.settings.paths.device_ca
    issued = issue_device_certificate(authority, device.directory_id, 30, time.time(), "import-1")
    issuer = load_authority(authority).certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    home = tmp_path / "home"
    _store(home, city, issued)
    with _selecting(str(issuer)), _browser(home) as browser:
        page = browser.new_page()
        Visitor(city, page, city.add_person("a2001")).set_up()
        _refused_until_encrypted(city, server, page)
        serial = f"{x509.load_pem_x509_certificate(issued.certificate).serial_number:x}"
        name = f"graph:{device.directory_id}"
        city.command("certificate.revoke", id=name, serial=serial, by="ciso", reason="紛失")
        page.goto(f"{city.app}/form")
        expect(page.locator("h1")).to_contain_text("端末の証明書が無効です")


def _refused_until_encrypted(city: City, server: GraphServer, page: Page) -> None:
    page.goto(f"{city.app}/form?year=8")
    expect(page.locator("main")).to_contain_text("ディスクの暗号化を有効にしてください。")
    server.world.encrypt("SHIMIN-PC-01", time.time())
    page.get_by_role("link", name="再確認").click()
    expect(page.locator("#path")).to_have_text("/form?year=8")
    assert page.url == f"{city.app}/form?year=8"
