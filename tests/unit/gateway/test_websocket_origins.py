"""Whose pages may open a WebSocket of an app: its own, and those of the origins that its registration names."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from tests.support.gate_world import HOST, PORTAL, TOKEN
from tests.support.real_gate import real_gate
from tests.unit.edge.test_live import KEY, echo
from tests.unit.gateway.test_gatekeeper import allow

REGISTERED = "https://portal.other.example"


def upgrade(*lines: str, host: str = HOST, path: str = "/ws") -> bytes:
    """Return a handshake of the person signed in."""
    fields = [
        f"Host: {host}", "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY.decode()}", f"Cookie: __Host-sekisho-app={TOKEN}", *lines,
    ]  # fmt: skip
    return "\r\n".join([f"GET {path} HTTP/1.1", *fields, "", ""]).encode()


@pytest.mark.promise("P1.websocket-origins")
@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((), 101), ((f"Origin: http://{HOST}",), 101),
        ((f"Origin: https://{HOST}",), 403), ((f"Origin: http://{HOST}:8443",), 403),
        (("Origin: https://evil.example",), 403), (("Origin: null",), 403), (("Origin: ",), 403),
        ((f"Origin: {REGISTERED}.evil.example",), 403), (("Sec-Fetch-Site: cross-site",), 403),
        ((f"Origin: http://{HOST}", f"Origin: {REGISTERED}"), 400),
    ],
)  # fmt: skip
def test_a_handshake_comes_from_the_apps_own_pages(tmp_path: Path, lines: tuple[str, ...], status: int) -> None:
    """Any other origin is refused on record, with the person's name, and the app hears nothing (RFC 6455 §10.2)."""
    answer, reached, reasons = ask(tmp_path, upgrade(*lines))

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert reached == (status == 101)
    if status == 403:
        assert reasons == [("u1", "cross_site")]


def test_bug_a_registered_origin_could_not_open_a_websocket(tmp_path: Path) -> None:
    """The head's reader refused every other origin before the app's registration was looked at."""
    answer, reached, _ = ask(tmp_path, upgrade(f"Origin: {REGISTERED}"))

    assert answer.startswith(b"HTTP/1.1 101 ")
    assert reached


def test_another_version_is_answered_with_ours(tmp_path: Path) -> None:
    """RFC 6455 §4.4: the client may then ask again."""
    answer, reached, _ = ask(tmp_path, upgrade().replace(b"Version: 13", b"Version: 8"))

    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer
    assert not reached


@pytest.mark.parametrize(("host", "path"), [(PORTAL, "/"), (HOST, "/.sekisho/session")])
def test_none_of_our_own_pages_is_a_websocket(tmp_path: Path, host: str, path: str) -> None:
    answer, reached, _ = ask(tmp_path, upgrade(host=host, path=path))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert not reached


def ask(folder: Path, request: bytes) -> tuple[bytes, bool, list[tuple[str, str]]]:
    """Return the answer, whether the app heard of it, and who was refused for what."""

    async def main() -> tuple[bytes, bool, list[tuple[str, str]]]:
        async with real_gate(folder, echo) as gate:
            allow(gate)
            answer = await gate.ask(request)
            await gate.kept()
            refused = [
                (record["user.id"], record["sekisho.reason"])
                for record in gate.records("worker-0")
                if record.get("sekisho.verdict") == "refuse"
            ]
            return answer, bool(gate.app.streams), refused

    return uvloop.run(main())
