"""What is remembered of header names is bounded in bytes, whoever sends them."""

from __future__ import annotations

import pytest

from gateway.edge import response
from gateway.edge.response import read_field
from gateway.gate import headers
from gateway.gate.request import Peer, RequestHead


def _read(name: bytes) -> None:
    head = RequestHead()
    head.method, head.version = "GET", "1.1"
    head.peer = Peer("192.0.2.1", 1, "loopback", "http", "")
    headers.check(head, [(b"Host", b"app.test"), (name, b"x")])


@pytest.mark.parametrize("size", [15_000, 65])
def test_long_names_of_clients_and_apps_are_read_but_not_remembered(size: int) -> None:
    name = b"X-" + b"a" * (size - 2)
    _read(name)
    read_field(name, b"x")
    assert name not in headers._remembered
    assert name not in response._remembered


def test_names_in_use_are_remembered() -> None:
    name = b"X-Remembered-Name"
    _read(name)
    read_field(name, b"x")
    assert name in headers._remembered
    assert name in response._remembered or len(response._remembered) == 4096


def test_bug_invented_names_and_hosts_kept_out_those_in_use_for_good() -> None:
    """Once a stranger had filled the tables, what everybody sends was read anew with each request."""
    for number in range(5000):
        _read(b"X-Invented-%d" % number)
        headers.host_of({b"host": b"h%d.test" % number})
    name, host = b"X-In-Use-Afterwards", b"in-use.test"
    _read(name)
    headers.host_of({b"host": host})

    assert name in headers._remembered
    assert host in headers._hosts
    assert len(headers._remembered) <= 4096
    assert len(headers._hosts) <= 1024
