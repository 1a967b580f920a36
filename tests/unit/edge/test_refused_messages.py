"""What never becomes a request is refused in the form its sender reads: a page for people, else a problem document.

Real sockets, the real edge and the real refusals; the bytes decide the form and the language, never the status.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.gate.client_kind import signs_in
from gateway.gate.refusal import Refusals
from gateway.gate.verdict import Answer, Refuse
from tests.support.edge import Edge, hello, running
from tests.support.gate_world import World

BROWSER = "Sec-Fetch-Mode: navigate\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Language: ja\r\n"
PROGRAM = "Accept: application/json\r\nAccept-Language: en\r\n"
SCRIPT = "Accept: */*\r\nSec-Fetch-Mode: cors\r\n"
PAGE, PROBLEM = "text/html; charset=utf-8", "application/problem+json"


async def asked(edge: Edge, raw: str) -> tuple[int, str, bytes]:
    """Return status, content type and body of the one answer to these bytes."""
    refusals = Refusals(World().view, "https://portal.example", "ja", "内線1234")

    def answer(verdict: Any, request: Any) -> Answer:
        assert isinstance(verdict, Refuse)
        return refusals.answer(verdict, request)

    edge.gatekeeper.answer = answer  # type: ignore[method-assign]  # the open gatekeeper has no words of its own
    head, _, body = (await edge.ask(raw.encode())).partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert fields["Connection"] == "close"
    return int(head.split()[1]), fields["Content-Type"], body


def ask(raw: str, **options: Any) -> tuple[int, str, bytes]:
    async def main() -> tuple[int, str, bytes]:
        async with running(hello, **options) as edge:
            return await asked(edge, raw)

    return asyncio.run(main())


FAULTS = {
    400: "GET /a%2fb HTTP/1.1\r\nHost: app.test\r\n",
    405: "TRACE / HTTP/1.1\r\nHost: app.test\r\n",
    413: "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 999999999999\r\n",
    414: f"GET /{'a' * 8200} HTTP/1.1\r\nHost: app.test\r\n",
    431: "GET / HTTP/1.1\r\nHost: app.test\r\n" + "X-A: 1\r\n" * 101,
    501: "BREW / HTTP/1.1\r\nHost: app.test\r\n",
}


@pytest.mark.parametrize("status", FAULTS)
@pytest.mark.parametrize(
    ("sent", "form"), [(BROWSER, PAGE), (PROGRAM, PROBLEM), (SCRIPT, PROBLEM), ("", PROBLEM)],
    ids=["browser", "program", "script", "nothing"],
)  # fmt: skip
def test_the_form_follows_the_sender(status: int, sent: str, form: str) -> None:
    answered, found, body = ask(FAULTS[status] + sent + "\r\n")
    assert (answered, found) == (status, form)
    if form == PROBLEM:
        problem = json.loads(body)
        assert (problem["status"], problem["reference"]) == (status, "REQ---")
    else:
        assert b'lang="ja"' in body


def test_a_problem_is_told_in_the_language_asked_for() -> None:
    _, _, body = ask(FAULTS[405] + PROGRAM + "\r\n")
    assert json.loads(body)["title"].isascii()


def test_a_plain_request_for_a_foreign_host_is_answered_by_its_own_head_not_by_what_follows() -> None:
    plain = f"GET / HTTP/1.1\r\nHost: other.test\r\n{PROGRAM}\r\nGET / HTTP/1.1\r\nHost: other.test\r\n{BROWSER}\r\n"
    assert ask(plain, listener="redirect")[:2] == (421, PROBLEM)


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        ("GET / HTTP/1.1\r\nHost: app.test\r\nCook", PAGE),  # cut before it said who asks: perhaps a person
        ("GET / HTTP/1.1\r\nHost: app.test\r\nAccept: application/json\r\nCook", PROBLEM),
        ("\x16\x03\x01 hello", PAGE),
        (f"GET /a%2fb HTTP/1.1\r\nHost: app.test\r\n\r\nGET / HTTP/1.1\r\n{BROWSER}\r\n", PROBLEM),
    ],
    ids=["cut early", "cut late", "no HTTP", "another head behind"],
)
def test_only_what_the_refused_head_says_counts(raw: str, form: str) -> None:
    assert ask(raw)[:2] == (400, form)


def test_the_first_of_two_fields_counts_and_only_four_names_are_read() -> None:
    seen = b"GET / HTTP/1.1\r\nAccept: a\r\nCookie: secret\r\nACCEPT: b\r\n\r\naccept-language: en\r\n"
    assert signs_in(seen) == {b"accept": b"a"}
    assert signs_in(b"GET / HTTP/1.1\r\naccept-language: en\r\n") is None
    assert signs_in(b"A: b\r\n" * 8000 + b"Accept: application/json\r\n\r\n") is None  # beyond what is looked at
