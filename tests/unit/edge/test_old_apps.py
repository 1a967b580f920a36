"""Requests to apps with named exceptions, through the real gate: a session in an address reaches the app alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.edge.blocks import KnownBlocks
from gateway.edge.reader import HeadReader
from gateway.edge.services import EdgeLimits
from gateway.gate.old_paths import JSESSIONID, SHIFT_JIS, exceptions_of
from gateway.gate.request import OldAppHead, RequestFault
from gateway.gate.verdict import Forward, Refuse
from policies.reasons import Reason
from tests.support.edge import hello
from tests.support.gate_world import APP, HOST, PEER, TOKEN, World
from tests.support.real_gate import RealGate, real_gate

pytestmark = pytest.mark.anyio

SECRET = "5EC4E7"
COOKIE = f"Cookie: __Host-sekisho-app={TOKEN}\r\n".encode()
OLD = replace(APP, path_parameter=JSESSIONID, path_charset=SHIFT_JIS)


def asked(target: str, fields: bytes = COOKIE) -> bytes:
    """One GET."""
    return f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n".encode() + fields + b"\r\n"


def read(world: World, known: KnownBlocks, target: str) -> Any:
    """The head as a worker's reader makes it, with what its view says of the host."""

    def exceptions(host: str) -> Any:
        app = world.view.hosts.get(host)
        return None if app is None else exceptions_of(app)

    return HeadReader(EdgeLimits(), known, exceptions).take(asked(target), PEER)


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[RealGate]:
    """A gate before one old app."""
    async with real_gate(tmp_path, hello) as running:
        upstream = running.world.view.apps[APP.id].upstream
        running.world.put("app", APP.id, replace(OLD, upstream=upstream))
        yield running


@pytest.mark.promise("P1.old-paths-by-name")
async def test_where_a_person_has_to_sign_in_first_the_session_of_the_app_is_left_behind(gate: RealGate) -> None:
    answer = await gate.ask(asked(f"/%90%c5;jsessionid={SECRET}?x=1", b"Sec-Fetch-Mode: navigate\r\n"))
    location = next(line for line in answer.split(b"\r\n") if line.lower().startswith(b"location: "))
    assert SECRET.encode() not in answer
    fields = parse_qs(urlsplit(location.decode().split(": ", 1)[1]).query)
    assert fields["to"] == ["/%90%C5?x=1"]
    await gate.kept()
    assert not any(SECRET.encode() in path.read_bytes() for path in gate.folder.rglob("*") if path.is_file())


async def test_a_refusal_does_not_quote_it(gate: RealGate) -> None:
    for target in (f"/.sekisho/whoami;jsessionid={SECRET}", f"/a;jsessionid={SECRET};x=1", f"/a;x={SECRET}"):
        answer = await gate.ask(asked(target))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert SECRET.encode() not in answer


def test_blocks_of_such_a_host_are_read_afresh_each_time() -> None:
    world, known = World(), KnownBlocks()
    read(world, known, "/first")
    assert len(known.table) == 1
    known.forget()
    world.put("app", APP.id, OLD)
    head = read(world, known, f"/a;jsessionid={SECRET}")
    assert isinstance(head, OldAppHead)
    assert (head.target, head.sent) == (b"/a", b"/a;jsessionid=" + SECRET.encode())
    assert not known.table
    assert not known.lines


def test_an_exception_that_was_taken_away_ends_what_was_read_by_it() -> None:
    world, known = World(), KnownBlocks()
    world.put("app", APP.id, OLD)
    head = read(world, known, f"/a;jsessionid={SECRET}")
    assert isinstance(world.judge(head), Forward)
    world.put("app", APP.id, replace(OLD, path_parameter=""))
    verdict = world.judge(head)
    assert isinstance(verdict, Refuse)
    assert (verdict.status, verdict.reason) == (400, Reason.PATH_NOT_CANONICAL)
    with pytest.raises(RequestFault):
        read(world, known, f"/a;jsessionid={SECRET}")


@pytest.mark.parametrize(("parameter", "charset"), [("phpsessid", ""), ("", "euc-jp"), ("x", "y")])
def test_a_word_that_is_no_exception_permits_nothing(parameter: str, charset: str) -> None:
    world = World()
    world.put("app", APP.id, replace(APP, path_parameter=parameter, path_charset=charset))
    for target in (f"/a;{parameter}=A", "/a;jsessionid=A", "/%90%C5"):
        with pytest.raises(RequestFault):
            read(world, KnownBlocks(), target)
