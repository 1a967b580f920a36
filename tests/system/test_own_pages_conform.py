"""Pages that we author keep HTTP's rules for responses (S13), read off the wire: portal, app area, refusals, assets."""

from __future__ import annotations

import re
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import pytest

from tests.support.city import City, running_city

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x20-\x7e\x80-\xff]*)")  # RFC 9110 §5.1, §5.5
IMF_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
VARYING = {"date", "set-cookie", "x-sekisho-request-id", "location", "content-security-policy"}


@dataclass(frozen=True)
class Answer:
    """One answer as it came."""

    method: str
    status: int
    fields: list[tuple[str, str]]  # names in lower case
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each == name]

    def one(self, name: str) -> str:
        """The value of a field that has to be there exactly once."""
        (value,) = self.all(name)
        return value


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """The whole gateway with one app."""
    with running_city(tmp_path_factory.mktemp("pages")) as running:
        running.add_app()
        running.use_policy()
        yield running


def ask(city: City, method: str, host: str, target: str, body: bytes = b"", **fields: str) -> Answer:
    """Send one request on a connection of its own and read the answer to the end of the connection."""
    context = ssl.create_default_context(cafile=str(city.settings.paths.tls / "demo-ca.pem"))
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}:{city.port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    with (
        socket.create_connection(("127.0.0.1", city.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        tls.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        data = b""
        while more := tls.recv(65536):
            data += more
    head, _, rest = data.decode("latin-1").partition("\r\n\r\n")
    status, *given = head.split("\r\n")
    assert re.fullmatch(r"HTTP/1\.1 \d{3} [\x20-\x7e]*", status)
    matched = [FIELD.fullmatch(line) for line in given]
    assert all(matched), given
    return Answer(
        method,
        int(status.split(" ")[1]),
        [(each[1].lower(), each[2]) for each in matched if each],
        rest.encode("latin-1"),
    )


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


def check_framing(answer: Answer) -> None:
    """RFC 9110 §6.6.1, §8.6, §15; RFC 9112 §6: a date, one framing, bodies only where there may be some."""
    assert IMF_DATE.fullmatch(answer.one("date"))
    assert parsedate_to_datetime(answer.one("date"))
    assert answer.all("transfer-encoding") == []
    bare = answer.status in (204, 304)
    if bare:
        assert answer.all("content-length") == []
    elif answer.method != "HEAD":
        assert len(answer.body) == int(answer.one("content-length"))
    if bare or answer.method == "HEAD":
        assert answer.body == b""
    doubled = [name for name, count in Counter(name for name, _ in answer.fields).items() if count > 1]
    assert set(doubled) <= {"set-cookie", "www-authenticate", "vary"}


def check_meaning(answer: Answer) -> None:
    """RFC 9110 §15: what a status has to bring along."""
    if answer.status == 401:
        assert re.match(r"[A-Za-z0-9_-]+ [a-z]+=", answer.one("www-authenticate"))
    if answer.status == 405:
        allowed = answer.one("allow").split(", ")
        assert allowed
        assert answer.method not in allowed
    if answer.status in (301, 302, 303, 307, 308):
        assert re.match(r"(https://[a-z.-]+(:\d+)?)?/", answer.one("location"))
    if answer.status == 503:
        assert int(answer.one("retry-after")) > 0


def check_content(answer: Answer) -> None:
    """A type for every body, a character set for every text, and nothing that a browser could guess or keep."""
    assert answer.one("x-content-type-options") == "nosniff"
    assert answer.all("server") == answer.all("x-powered-by") == answer.all("via") == []
    kept = ("no-cache",) if answer.all("etag") else ("no-store", "public, max-age=300")  # the latter: public keys
    assert answer.one("cache-control") in kept
    if answer.one("cache-control") == kept[-1] != "no-cache":
        assert b'"keys"' in answer.body or answer.method == "HEAD"
    if int((answer.all("content-length") or ["0"])[0]):
        kind, _, parameters = answer.one("content-type").partition("; ")
        assert kind in {"text/html", "text/css", "text/javascript", "text/plain", "image/svg+xml", "application/json",
                        "application/problem+json", "application/jwk-set+json"}  # fmt: skip
        if kind.startswith("text/"):
            assert parameters == "charset=utf-8"


def check_security(answer: Answer) -> None:
    """RFC 6797, CSP 3, RFC 6265bis: one policy each, whole; cookies for this host and https only."""
    assert answer.one("strict-transport-security") == "max-age=31536000"
    policy = answer.one("content-security-policy")
    names = [part.split(" ")[0] for part in policy.split("; ")]
    assert len(names) == len(set(names))
    assert {"default-src", "frame-ancestors", "base-uri", "form-action"} <= set(names)
    assert "unsafe" not in policy
    cookies = [value.split("; ") for value in answer.all("set-cookie")]
    assert len({parts[0].split("=")[0] for parts in cookies}) == len(cookies)
    for name, *attributes in cookies:
        assert name.startswith("__Host-")
        assert {"Secure", "Path=/"} <= set(attributes)
        assert not any(each.startswith("Domain") for each in attributes)


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
