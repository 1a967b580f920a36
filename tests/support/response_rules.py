"""HTTP's rules for responses (S13), as far as they concern answers that are ours: framing, meaning, content, security.

The rules of cispa/http-conformance that a server alone can break, checked on the bytes of one answer.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x20-\x7e\x80-\xff]*)")  # RFC 9110 §5.1, §5.5
IMF_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


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


def answer_of(method: str, data: bytes) -> Answer:
    """Read what came on a connection until its end; every line of the head has to be one."""
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


def check_framing(answer: Answer, *, stream: bool = False) -> None:
    """RFC 9110 §6.6.1, §8.6, §15; RFC 9112 §6: a date, one framing, bodies only where there may be some.

    `stream`: its length is not known when it begins.
    """
    assert IMF_DATE.fullmatch(answer.one("date"))
    assert parsedate_to_datetime(answer.one("date"))
    assert answer.all("transfer-encoding") == (["chunked"] if stream else [])
    bare = answer.status in (204, 304)
    if bare or stream:
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
        allowed = {each.strip() for each in answer.one("allow").split(",")}
        assert allowed - {""}
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
                        "application/problem+json", "application/jwk-set+json", "application/x-ndjson"}  # fmt: skip
        if kind.startswith("text/"):
            assert parameters == "charset=utf-8"


def check_security(answer: Answer, *, https: bool = True) -> None:
    """RFC 6797, CSP 3, RFC 6265bis: one policy each, whole; cookies for this host and https only."""
    assert answer.all("strict-transport-security") == (["max-age=31536000"] if https else [])  # RFC 6797 §7.2
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
