"""HAProxy and nginx in front, as the examples say, from a browser's HTTP/2 through the whole gateway to an app."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.city import POLICY, City, Person, running_city
from tests.support.curl_browser import CurlBrowser, Page
from tests.support.form_client import PASSWORD, enrol
from tests.support.fronts import haproxy, nginx
from tests.support.growing_files import records_of
from tests.support.ports import free_port

ZONED = POLICY.replace("zones: { office: [127.0.0.0/8] }", "zones: { office: [127.0.0.0/8], telework: ['::1'] }")
assert ZONED != POLICY


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A gateway with its public listener on ::1 and a socket for fronts, HAProxy on the portal's port."""
    folder = tmp_path_factory.mktemp("fronts")
    behind = f"unix:{folder / 'b.sock'}"
    with running_city(folder, "[::1]:0", {"listeners.behind.address": behind}) as running:
        tls = running.settings.paths.tls
        pem = folder / "front.pem"
        pem.write_bytes((tls / "server.pem").read_bytes() + (tls / "server.key").read_bytes())
        running.add_app()
        running.use_policy(ZONED)
        with haproxy(folder, running.port, behind.removeprefix("unix:"), pem):
            yield running


@pytest.fixture(scope="module")
def nginx_port(city: City, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx in front of the same gateway."""
    folder, tls = tmp_path_factory.mktemp("nginx"), city.settings.paths.tls
    port = free_port()
    behind = str(city.settings.listeners.behind.endpoint) if city.settings.listeners.behind else ""
    with nginx(folder, port, behind, tls / "server.pem", tls / "server.key"):
        yield port


@pytest.fixture(scope="module")
def person(city: City) -> Person:
    """Somebody who has a password and an app."""
    return city.add_person("f1001")


@pytest.fixture(scope="module")
def signed_in(city: City, person: Person, tmp_path_factory: pytest.TempPathFactory) -> tuple[CurlBrowser, Page]:
    """A browser at 127.0.0.7 that opened the app, signed in and arrived there, all over HTTP/2."""
    app = enrol(city, person)
    browser = browser_at(city, tmp_path_factory.mktemp("browser"), "127.0.0.7")
    page = browser.open(f"{city.app}/first")
    assert (page.status, page.version) == (200, "2")
    page = browser.submit(page, "/sign-in/password", login=person.user.login, password=PASSWORD)
    page = browser.submit(page, "/sign-in/totp", code=app.code())
    return browser, page


def browser_at(city: City, folder: Path, source: str, port: int = 0, server: str = "127.0.0.1") -> CurlBrowser:
    return CurlBrowser(folder, city.settings.paths.tls / "demo-ca.pem", port or city.port, source, server)


def decided(city: City, prefix: str) -> list[dict[str, Any]]:
    """The decisions on record for paths that begin so."""
    return [
        each
        for each in records_of(city.settings.paths.journal, "worker-*")
        if each.get("event.action") == "request.decided" and str(each.get("url.path")).startswith(prefix)
    ]


@pytest.mark.promise("P1.behind-haproxy")
def test_sign_in_over_http2_through_haproxy(city: City, signed_in: tuple[CurlBrowser, Page]) -> None:
    """The person arrives at the page that she asked for; app and record know her address and zone."""
    _, page = signed_in
    assert (page.status, page.version, page.url) == (200, "2", f"{city.app}/first")
    assert "<p id=path>/first</p>" in page.text
    (record,) = [each for each in decided(city, "/first") if each["sekisho.verdict"] == "forward"]
    assert (record["source.ip"], record["sekisho.zone"], record["sekisho.listener"]) == (
        "127.0.0.7",
        "office",
        "behind",
    )
    told = f"X-Forwarded-For: 127.0.0.7 | X-Forwarded-Host: {city.app_host}:{city.port} | X-Forwarded-Proto: https"
    assert f"<p id=client>{told}</p>" in page.text


@pytest.mark.promise("P1.behind-haproxy")
def test_no_address_that_a_client_names_is_believed(city: City, signed_in: tuple[CurlBrowser, Page]) -> None:
    """Whatever forwarded address a browser claims, neither the app nor the record hears of it."""
    claims = (
        "X-Forwarded-For: 10.9.9.9",
        "Forwarded: for=10.9.9.9",
        "X-Forwarded-Host: evil.test",
        "X-Front-Client: 9.9.9.9",
    )
    page = signed_in[0].ask(f"{city.app}/claimed", *(word for claim in claims for word in ("--header", claim)))
    assert page.status == 200
    assert "9.9.9" not in page.text
    assert "evil" not in page.text
    assert [each["source.ip"] for each in decided(city, "/claimed")] == ["127.0.0.7"]


def test_requests_of_two_clients_never_share_an_address(
    city: City, signed_in: tuple[CurlBrowser, Page], tmp_path: Path
) -> None:
    """Forty requests of two addresses mixed over HAProxy's connections: each is recorded with its own."""
    browser, _ = signed_in
    stranger = browser_at(city, tmp_path, "127.0.0.9")
    for turn in range(5):
        assert browser.each(f"{city.app}/mixed-7/{turn}/[1-4]") == {"200"}
        assert stranger.each(f"{city.app}/mixed-9/{turn}/[1-4]") == {"401"}
    for address in ("7", "9"):
        records = decided(city, f"/mixed-{address}/")
        assert len(records) == 20
        assert {each["source.ip"] for each in records} == {f"127.0.0.{address}"}


def test_a_request_for_another_host_than_the_handshakes_is_misdirected(city: City, tmp_path: Path) -> None:
    """Browsers may reuse one HTTP/2 connection for two hosts of a certificate: 421 sends them to a new one."""
    page = browser_at(city, tmp_path, "127.0.0.7").ask(f"{city.portal}/", "--header", f"Host: {city.app_host}")
    assert (page.status, page.version) == (421, "2")


def test_a_client_of_haproxy_over_ipv6_keeps_its_address(city: City, tmp_path: Path) -> None:
    """PROXY v2 with IPv6: the address on record."""
    page = browser_at(city, tmp_path, "::1", server="[::1]").ask(f"{city.app}/six-front")
    assert (page.status, page.version) == (401, "2")
    (record,) = decided(city, "/six-front")
    assert (record["source.ip"], record["sekisho.listener"]) == ("::1", "behind")


def test_the_public_listener_serves_ipv6(city: City, tmp_path: Path) -> None:
    """A listener on [::1]: TLS, HTTP/1.1 by ALPN although HTTP/2 was offered first, the address on record."""
    status = json.loads((city.settings.paths.run / "supervisor.json").read_text())
    address, _, port = status["listeners"]["public"].rpartition(":")
    assert address == "[::1]"
    browser = browser_at(city, tmp_path, "::1", int(port), "[::1]")
    page = browser.ask(f"https://{city.app_host}:{port}/six-public", "--header", f"Host: {city.app_host}:{city.port}")
    assert (page.status, page.version) == (401, "1.1")
    (record,) = decided(city, "/six-public")
    assert (record["source.ip"], record["sekisho.listener"]) == ("::1", "public")


@pytest.mark.promise("P1.behind-nginx")
def test_a_signed_in_person_through_nginx(
    city: City, nginx_port: int, signed_in: tuple[CurlBrowser, Page], tmp_path: Path
) -> None:
    """HTTP/2 to nginx, the hop's PROXY v2 to the gateway: the address is the client's, whatever it claims."""
    for address, server in (("127.0.0.8", "127.0.0.1"), ("::1", "[::1]")):
        browser = browser_at(city, tmp_path, address, nginx_port, server)
        path = f"/nginx-{address.replace(':', '-')}"
        page = browser.ask(
            f"https://{city.app_host}:{nginx_port}{path}", "--header", "X-Front-Client: 9.9.9.9",
            "--header", "X-Forwarded-For: 9.9.9.9",
        )  # fmt: skip
        assert (page.status, page.version) == (401, "2")
        (record,) = decided(city, path)
        assert record["source.ip"] == address
        assert record["sekisho.listener"] == "behind"


def test_nginx_refuses_another_host_than_the_handshakes(city: City, nginx_port: int, tmp_path: Path) -> None:
    """Nothing of it reaches the gateway."""
    browser = browser_at(city, tmp_path, "127.0.0.8", nginx_port)
    page = browser.ask(f"https://{city.app_host}:{nginx_port}/wrong", "--header", "Host: portal.sekisho.localhost")
    assert page.status == 421
    assert decided(city, "/wrong") == []


@pytest.mark.promise("P1.certificates-change-in-place")
def test_every_worker_serves_a_changed_certificate(city: City, tmp_path: Path) -> None:
    """Pairs replaced under running workers: each tells on record what it serves now, and what it does not."""
    tls = city.settings.paths.tls

    def told(action: str) -> set[str]:
        return {
            each["sekisho.worker"]
            for each in records_of(city.settings.paths.journal, "worker-?")
            if each["event.action"] == action
        }

    def until_told(action: str) -> None:
        until = time.monotonic() + 30
        while told(action) != {"worker-0", "worker-1"}:
            assert time.monotonic() < until
            time.sleep(0.05)  # journals have no event for readers

    right = (tls / "server.key").read_bytes()
    (tls / "server.key").write_bytes((city.settings.paths.device_ca / "ca.key").read_bytes())
    until_told("certificate.refused")
    (tls / "server.key").write_bytes(right)
    until_told("certificate.served")
    status = json.loads((city.settings.paths.run / "supervisor.json").read_text())
    port = int(status["listeners"]["public"].rpartition(":")[2])
    page = browser_at(city, tmp_path, "::1", port, "[::1]").ask(f"https://{city.app_host}:{port}/after")
    assert page.status == 401
