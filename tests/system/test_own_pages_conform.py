"""What we author keeps HTTP's rules for responses (S13), read off the wire: pages, refusals, assets, the admin API."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.city import City, running_city
from tests.support.response_rules import (
    Answer,
    answer_of,
    check_content,
    check_framing,
    check_meaning,
    check_security,
)
from tests.support.steward_process import session, user

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
VARYING = {"date", "set-cookie", "x-sekisho-request-id", "location", "content-security-policy"}


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """The whole gateway with one app."""
    with running_city(tmp_path_factory.mktemp("pages")) as running:
        running.add_app()
        running.use_policy()
        for role in ("ciso", "operator"):
            digest = hashlib.sha256(role.encode()).hexdigest()
            person = replace(user(), id=f"s13-{role}", login=f"s13-{role}", roles=(role,))
            running.command("user.put", user=person.to_row())
            signed_in = session(role, person.id, token_hash=digest, operator=True)
            running.command("session.start", session=signed_in.to_row(), replaces=None)
        yield running


def ask(city: City, method: str, host: str, target: str, body: bytes = b"", **fields: str) -> Answer:
    """Send one request on a connection of its own and read the answer to the end of the connection."""
    context = ssl.create_default_context(cafile=str(city.settings.paths.tls / "demo-ca.pem"))
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}:{city.port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    with (
        socket.create_connection(("127.0.0.1", city.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        return exchanged(tls, method, lines, body)


def ask_control(city: City, method: str, target: str, body: bytes = b"", token: str = "") -> Answer:
    """The same on the admin API's socket, where the control process answers by itself."""
    lines = [f"{method} {target} HTTP/1.1", "Host: admin", "Connection: close"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines.append("Content-Type: application/json")
    with socket.socket(socket.AF_UNIX) as admin:
        admin.settimeout(30)
        admin.connect(str(city.settings.paths.admin_socket))
        return exchanged(admin, method, lines, body)


def exchanged(connection: socket.socket, method: str, lines: list[str], body: bytes) -> Answer:
    """Send a request's lines and body; read until the other end closes."""
    length = [f"Content-Length: {len(body)}"] if body else []
    connection.sendall("\r\n".join([*lines, *length]).encode() + b"\r\n\r\n" + body)
    data = b""
    while more := connection.recv(65536):
        data += more
    return answer_of(method, data)


CASES = {
    # name: method, host, target, further fields, expected status
    "front page, signed out": ("GET", "portal", "/", NAVIGATION, 303),
    "sign-in": ("GET", "portal", "/sign-in", NAVIGATION, 200),
    "sign-in in English": ("GET", "portal", "/sign-in", {**NAVIGATION, "Accept-Language": "en"}, 200),
    "language chosen": ("GET", "portal", "/sign-in?lang=en", NAVIGATION, 200),
    "setup": ("GET", "portal", "/setup", NAVIGATION, 200),
    "not there": ("GET", "portal", "/nowhere", NAVIGATION, 404),
    "style": ("GET", "portal", "/static/sekisho.css", {}, 200),
    "script": ("GET", "portal", "/static/passkey.js", {}, 200),
    "icon": ("GET", "portal", "/static/icon.svg", {}, 200),
    "keys": ("GET", "portal", "/.well-known/jwks.json", {}, 200),
    "wrong method of a page": ("PUT", "portal", "/sign-in", {}, 405),
    "read a form's address": ("GET", "portal", "/sign-in/password", NAVIGATION, 405),
    "form from elsewhere": ("POST", "portal", "/sign-in/password", {"Origin": "https://evil.test"}, 403),
    "form without anything": ("POST", "portal", "/sign-in/password", {}, 403),
    "app, page, signed out": ("GET", "forms", "/list", NAVIGATION, 302),
    "app, program, signed out": ("GET", "forms", "/list", {"Accept": "application/json"}, 401),
    "app, sent form, signed out": ("POST", "forms", "/list", NAVIGATION, 401),
    "app, method not allowed": ("DELETE", "forms", "/list", {}, 405),
    "app area": ("GET", "forms", "/.sekisho/whoami", {"Accept": "application/json"}, None),
    "app area, keys": ("GET", "forms", "/.sekisho/jwks.json", {}, 200),
    "app area, not there": ("GET", "forms", "/.sekisho/nowhere", NAVIGATION, 404),
    "unknown host": ("GET", "unknown", "/", NAVIGATION, 404),
    "TRACE": ("TRACE", "portal", "/", {}, 405),
    "OPTIONS": ("OPTIONS", "portal", "/sign-in", {}, 405),
    "path that is not canonical": ("GET", "forms", "/a/../b", NAVIGATION, 400),
}  # fmt: skip


def case(city: City, name: str, method: str = "") -> Answer:
    """The answer of a case, by another method where one is given."""
    own, host, target, fields, _ = CASES[name]
    return ask(city, method or own, f"{host}.sekisho.localhost", target, **fields)


@pytest.mark.promise("P1.own-pages-conform")
@pytest.mark.parametrize("name", CASES)
def test_s13_our_answers_keep_the_rules(city: City, name: str) -> None:
    answer = case(city, name)
    expected = CASES[name][-1]
    assert expected is None or answer.status == expected, answer
    check_framing(answer)
    check_meaning(answer)
    check_content(answer)
    check_security(answer)


@pytest.mark.parametrize("name", [name for name, (method, *_) in CASES.items() if method == "GET"])
def test_s13_head_is_get_without_the_body(city: City, name: str) -> None:
    """RFC 9110 §9.3.2: the same status and fields; 405 names other methods for another method."""
    got, asked = case(city, name), case(city, name, "HEAD")
    check_framing(asked)
    assert asked.status == got.status

    def steady(answer: Answer) -> list[tuple[str, str]]:
        return sorted(field for field in answer.fields if field[0] not in VARYING | {"content-length"})

    assert steady(asked) == steady(got)
    named = [{name for name, _ in each.fields} - {"content-length"} for each in (asked, got)]
    assert named[0] == named[1]


@pytest.mark.parametrize(
    ("condition", "status"),
    [("{0}", 304), ("W/{0}", 304), ('"other", {0}', 304), ("*", 304), ('"other"', 200), ("", 200), ("nonsense", 200)],
)
def test_s13_conditional_requests_on_assets(city: City, condition: str, status: int) -> None:
    """RFC 9110 §13.1.2: weakly compared, in a list, `*`; 304 brings what the 200 would have brought."""
    whole = case(city, "style")
    fields = {"If-None-Match": condition.format(whole.one("etag"))} if condition else {}
    answer = ask(city, "GET", city.settings.portal.host, "/static/sekisho.css", **fields)
    assert answer.status == status
    check_framing(answer)
    for name in ("etag", "cache-control"):
        assert answer.all(name) == whole.all(name)


ADMIN = {
    # name: method, target, body, token, expected status
    "who am I": ("GET", "/v1/whoami", b"", "ciso", 200),
    "status": ("GET", "/v1/status", b"", "ciso", 200),
    "a list": ("GET", "/v1/users", b"", "ciso", 200),
    "without a token": ("GET", "/v1/users", b"", "", 401),
    "with a token of nobody": ("GET", "/v1/users", b"", "nobody", 401),
    "another role's": ("POST", "/v1/policies/rollback", b'{"version":"abcdef","reason":"x"}', "operator", 403),
    "somebody who is not there": ("GET", "/v1/users/nobody", b"", "ciso", 404),
    "no command": ("GET", "/v1/nothing", b"", "ciso", 404),
    "no command, signed out": ("GET", "/", b"", "", 404),
    "wrong method": ("DELETE", "/v1/users", b"", "ciso", 405),
    "reading what is only written": ("GET", "/v1/sessions/revoke/", b"", "ciso", 404),
    "OPTIONS": ("OPTIONS", "/v1/locks", b"", "", 405),
    "TRACE": ("TRACE", "/v1/status", b"", "", 405),
    "no JSON": ("POST", "/v1/locks", b"{", "ciso", 400),
    "arguments missing": ("POST", "/v1/locks", b"{}", "ciso", 400),
    "sign-in that fails": ("POST", "/v1/sign-in/start", b"{}", "", 400),
    "too large": ("POST", "/v1/policies/check", b'{"source":"' + b"x" * 9_000_000 + b'"}', "ciso", 413),
}  # fmt: skip


@pytest.mark.promise("P1.own-pages-conform")
@pytest.mark.parametrize("name", ADMIN)
def test_s13_the_admin_api_keeps_the_rules(city: City, name: str) -> None:
    """It names no library, challenges where it wants a token, and leaves nothing to be kept or guessed."""
    method, target, body, token, expected = ADMIN[name]
    answer = ask_control(city, method, target, body, token)
    assert answer.status == expected, answer
    check_framing(answer)
    check_meaning(answer)
    check_content(answer)
    check_security(answer, https=False)
    kind = "application/json" if expected < 400 else "application/problem+json"
    assert answer.one("content-type").partition(";")[0] == kind


def test_s13_a_stream_of_records_keeps_the_rules(city: City) -> None:
    answer = ask_control(city, "POST", "/v1/events/search", b'{"limit":3}', "ciso")
    assert (answer.status, answer.one("content-type")) == (200, "application/x-ndjson")
    check_framing(answer, stream=True)
    check_content(answer)
    check_security(answer, https=False)


@pytest.mark.parametrize("name", [name for name, (method, *_) in ADMIN.items() if method == "GET"])
def test_s13_head_on_the_admin_api_is_get_without_the_body(city: City, name: str) -> None:
    _, target, body, token, expected = ADMIN[name]
    got, asked = (ask_control(city, method, target, body, token) for method in ("GET", "HEAD"))
    check_framing(asked)
    assert (got.status, asked.status) == (expected, expected)
    assert {each for each, _ in asked.fields} == {each for each, _ in got.fields}
