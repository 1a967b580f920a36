"""Bytes that are no request, on the sockets of control: refused in our words, on record, the library unnamed."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from gateway.admin.protection import unread
from gateway.admin.server import build_admin_app
from gateway.gate.reference import shown
from gateway.listening import listen
from gateway.portal.server import build_portal_app
from tests.support.admin_desk import AdminDesk

SECRET = b"Bearer 0123456789abcdef"
NO_REQUESTS = {
    "no_method": b"garbage\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "control_in_a_field": b"GET /v1/status HTTP/1.1\r\nHost: a\r\nAuthorization: %b\x01\r\n\r\n" % SECRET,
    "two_framings": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "long_line": b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: %b%b\r\n\r\n" % (SECRET, b"a" * 20_000),
    "other_protocol": b"GET / SIP/2.0\r\nHost: a\r\n\r\n",
}


async def asked(path: Path, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    async with asyncio.timeout(30):
        answer = await reader.read()  # to the end: such a connection is closed
    writer.close()
    return answer


@pytest.mark.parametrize("what", NO_REQUESTS)
@pytest.mark.parametrize("socket", ["admin.sock", "control.sock"])
def test_bug_bytes_that_are_no_request_are_not_answered_by_the_library(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, socket: str, what: str
) -> None:
    """Its own 400 named it with its version, repeated the bytes, and put them into the log with a traceback."""
    desk = AdminDesk(tmp_path, [])
    build = build_admin_app if socket == "admin.sock" else build_portal_app

    async def main() -> bytes:
        async with desk.open():
            runner = await listen(build(desk.context), tmp_path / socket, unread(desk.context, socket))
            try:
                return await asked(tmp_path / socket, NO_REQUESTS[what])
            finally:
                await runner.cleanup()

    with caplog.at_level(logging.DEBUG):
        answer = asyncio.run(main())

    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0].split()[1] == b"400", answer
    assert b"content-type: application/problem+json; charset=utf-8" in lines
    assert b"cache-control: no-store" in lines
    assert not [line for line in lines if line.startswith(b"server:")]
    assert not [word for word in (b"aiohttp", b"python", b"traceback", SECRET) if word in answer]
    assert SECRET.decode() not in caplog.text
    assert "Traceback" not in caplog.text
    problem = json.loads(body)
    requested, done = desk.told("unknown")
    assert (requested["event.action"], done["event.action"]) == ("admin.requested", "admin.done")
    assert requested["sekisho.admin.arguments"] == {"socket": socket}
    assert (done["sekisho.admin.result"], problem["reason"]) == ("malformed_request", "malformed_request")
    assert problem["request_id"] == shown(done["http.request.id"])


def test_what_fails_outside_its_handler_is_explained_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = AdminDesk(tmp_path, [])

    async def main() -> bytes:
        async with desk.open():
            app = build_admin_app(desk.context)
            runner = await listen(app, tmp_path / "admin.sock", unread(desk.context, "admin.sock"))
            monkeypatch.setattr("gateway.admin.protection.Trail.refused", _broken)
            try:
                before = await asked(tmp_path / "admin.sock", b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
            finally:
                await runner.cleanup()
            return before

    async def _broken(*_: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("secret within")

    answer = asyncio.run(main())
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"Server:" not in answer
    assert b"secret within" not in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["reason"] == "internal_error"
