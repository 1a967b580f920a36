"""What a client says about itself or where it came from moves no decision: query, agent, forwarded addresses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.gate.headers import check
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Forward, SignIn
from tests.support.gate_world import HOST, PEER, World, head

AGENTS = ["GoogleHC/1.0", "kube-probe/1.29", "ELB-HealthChecker/2.0", "sekisho-health", ""]
QUERIES = ["", "/public", "x=/public", "path=/health&next=/login", "%2Fpublic", "?/public"]
ADDRESSES = [
    b"127.0.0.1", b"10.0.0.1, 127.0.0.1", b"fe80::1%eth0", b"10.0.0.1:99999", b"unknown", b"::ffff:10.0.0.1", b"'",
    b"for=10.0.0.1", b"9" * 100_000,
]  # fmt: skip
NAMES = [b"X-Forwarded-For", b"X-Real-IP", b"Forwarded", b"True-Client-IP", b"X-Forwarded-Uri", b"X-Original-URL"]


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("path", ["/", "/health", "/ping"])
def test_no_agent_is_let_in_without_a_session(agent: str, path: str) -> None:
    assert isinstance(World().judge(head(path=path, cookie=None, user_agent=agent)), SignIn)


@pytest.mark.parametrize("query", QUERIES)
def test_the_query_moves_no_decision(query: str) -> None:
    world = World()
    allowed, same = world.judge(head()), world.judge(head(query=query))
    assert isinstance(allowed, Forward)
    assert isinstance(same, Forward)
    assert same.record["rule.id"] == allowed.record["rule.id"]
    assert same.record["url.path"] == allowed.record["url.path"]
    assert isinstance(world.judge(head(query=query, cookie=None)), SignIn)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ADDRESSES, ids=lambda value: value[:16].decode())
def test_no_forwarded_address_is_believed(name: bytes, value: bytes) -> None:
    request = RequestHead()
    request.method, request.version, request.peer = "GET", "1.1", replace(PEER, server_name=HOST)
    request.path, request.path_text, request.query, request.line = b"/", "/", None, b"GET / HTTP/1.1"
    told = head()
    check(request, [(b"Host", HOST.encode()), (name, value), (b"Cookie", told.find[b"cookie"])])
    assert name.lower() not in request.find
    assert request.headers == []
    with_it, without = World().judge(request), World().judge(told)
    assert isinstance(with_it, Forward)
    assert isinstance(without, Forward)
    assert with_it.record["source.ip"] == PEER.address
    assert with_it.record["sekisho.zone"] == without.record["sekisho.zone"]
