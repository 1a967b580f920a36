"""Real processes under canaries and injected bytes: what may not stand anywhere does not, one request is one record."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from string import ascii_lowercase
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from audit.numbers import PERSONAL
from cli.client import AdminClient
from cli.failure import Failure
from tests.support.canary_watch import CANARIES
from tests.support.growing_files import lines_of
from tests.support.nasty import NASTY, recovered
from tests.support.operator import operator, tell
from tests.support.running_city import HOST, RunningCity, running_city
from tests.support.steward_process import ROOT

PORTAL = "portal.sekisho.localhost"


def with_check_digit(eleven: str) -> str:
    rest = sum(int(eleven[-n]) * (n + 1 if n <= 6 else n - 5) for n in range(1, 12)) % 11
    return eleven + str(0 if rest <= 1 else 11 - rest)


def planted(what: str) -> str:
    """A value that no record may hold."""
    value = "kanaria" + "".join(secrets.choice(ascii_lowercase) for _ in range(16))  # no digits: they may be a number
    CANARIES.learn(value, what)
    return value


async def send_canaries(city: RunningCity, number: str) -> str:
    """Everything that a request can carry, each with a canary; returns the value in the masked segment."""
    value = planted("masked segment")
    headers = {
        "Cookie": f"__Host-sekisho-app={city.token}; legacy={planted('cookie of the app')}",
        "Authorization": f"Bearer {planted('Authorization')}", "X-Api-Key": planted("header of the app"),
        "Referer": f"http://{HOST}/x?q={planted('Referer')}", "User-Agent": f"Mozilla {number}",
    }  # fmt: skip
    async with city.client() as client:
        url = f"/people/{value}?number={planted('query value')}&other={planted('other query value')}&{number}=1"
        async with client.get(url, headers=headers) as answer:
            assert answer.status == 200
        async with client.post(f"/file/{number}", data={"a": planted("form")}, headers=headers) as answer:
            assert answer.status == 200
        form = aiohttp.FormData()
        form.add_field("file", planted("body of a file").encode(), filename=planted("name of a file"))
        async with client.post("/upload", data=form) as answer:
            assert answer.status == 200
        async with client.put("/json", json={planted("JSON name"): planted("JSON value")}) as answer:
            assert answer.status in (200, 405)
        socket = await client.ws_connect("/socket", origin=f"http://{HOST}")
        await socket.send_str(planted("WebSocket message"))
        await socket.receive()
        await socket.close()
    return value


class Decisions:
    """What one worker decided since one last looked."""

    def __init__(self, city: RunningCity) -> None:
        self._folder = city.root / "journal"
        self._seen: set[bytes] = set()
        self.new()

    def new(self) -> list[dict[str, Any]]:
        lines = lines_of(self._folder, "worker-*")
        made = [json.loads(line)["body"] for line in lines if line not in self._seen]
        self._seen.update(lines)
        return [record for record in made if record["event.action"] == "request.decided"]


async def exchange(city: RunningCity, request: bytes) -> None:
    """Send bytes on a connection of their own and wait for the answer's first line."""
    host, _, port = city.base.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    try:
        async with asyncio.timeout(30):
            assert (await reader.readline()).startswith(b"HTTP/1.1 ")
    finally:
        writer.transport.abort()


def requests_with(raw: bytes, token: str) -> dict[str, bytes]:
    """One request for each place in which a client chooses bytes."""
    rest = f"Host: {HOST}\r\nCookie: __Host-sekisho-app={token}\r\nConnection: close\r\n".encode()
    stranger = f"Host: {HOST}\r\nConnection: close\r\n".encode()
    portal = f"Host: {PORTAL}\r\nConnection: close\r\n".encode()
    encoded = quote(raw).encode()
    return {
        "agent": b"GET / HTTP/1.1\r\n" + rest + b"User-Agent: " + raw + b"\r\n\r\n",
        "agent of a stranger": b"GET / HTTP/1.1\r\n" + stranger + b"User-Agent: " + raw + b"\r\n\r\n",
        "agent at the portal": b"GET /sign-in HTTP/1.1\r\n" + portal + b"User-Agent: " + raw + b"\r\n\r\n",
        "path": b"GET /a/" + encoded + b" HTTP/1.1\r\n" + rest + b"\r\n",
        "path as it is": b"GET /a/" + raw + b" HTTP/1.1\r\n" + rest + b"\r\n",
        "query": b"GET /a?q=" + encoded + b"&" + encoded + b"=1 HTTP/1.1\r\n" + rest + b"\r\n",
        "host": b"GET / HTTP/1.1\r\nHost: " + raw + b"\r\nConnection: close\r\n\r\n",
        "field": b"GET / HTTP/1.1\r\n" + rest + b"X-A: " + raw + b"\r\n\r\n",
        "method": raw + b" / HTTP/1.1\r\n" + rest + b"\r\n",
        "login": b"POST /sign-in/password HTTP/1.1\r\n" + portal + b"Origin: https://" + PORTAL.encode()
        + b":8443\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "
        + str(len(encoded) + 19).encode() + b"\r\n\r\nlogin=" + encoded + b"&password=1234",
    }  # fmt: skip


async def inject(city: RunningCity) -> None:
    """Each request that was answered has one decision; a browser's name is told byte by byte."""
    decisions = Decisions(city)
    for name, raw in NASTY.items():
        for place, request in requests_with(raw, city.token).items():
            await exchange(city, request)
            decided = decisions.new()
            assert len(decided) == 1, (name, place)
            if place.startswith("agent") and "user_agent.original" in decided[0]:
                assert recovered(decided[0]["user_agent.original"]) == raw.strip(), (name, place)
    await exchange(city, b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: " + b"x" * 1_000_000)
    assert len(decisions.new()) == 1


async def administer(city: RunningCity, ciso: AdminClient, number: str) -> None:
    """An operator's own texts, with bytes and numbers in them."""
    for name, raw in NASTY.items():
        words = f"{raw.decode(errors='replace')} {number}"
        with contextlib.suppress(Failure):
            await tell(ciso, "/v1/locks", target="user", target_id=words, message=words, reason=words)
        with contextlib.suppress(Failure):
            await tell(ciso, "/v1/apps/diff", source=words, file=words)
        if name == "quotes":
            body = {"text": words, "filters": {"url.path": words, "user.name": words}}
            assert await asyncio.to_thread(list, ciso.stream("/v1/events/search", body)) == []


def whole_lines(city: RunningCity) -> list[dict[str, Any]]:
    """Every line of every journal, each of which is one record."""
    found = []
    for path in (city.root / "journal").rglob("*"):
        if path.suffix in (".jsonl", ".active"):
            data = path.read_bytes()
            assert data.count(b"\n") == len(data.splitlines())
            found += [json.loads(line)["body"] for line in data.split(b"\n") if line]
    return found


def sekisho(city: RunningCity, folder: Path, token: str, value: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line as the person with this token, who types `value`."""
    name = hashlib.sha256(os.fsencode((city.root / "run" / "admin.sock").resolve())).hexdigest()[:16]
    (folder / "sekisho").mkdir(parents=True, exist_ok=True)
    file = folder / "sekisho" / f"token-{name}"
    file.unlink(missing_ok=True)
    file.touch(0o600)
    file.write_text(token)
    return subprocess.run(
        [sys.executable, "-m", "cli", "-c", str(city.config), *words], cwd=ROOT, input=value + "\n", text=True,
        capture_output=True, timeout=120, check=False, env={**os.environ, "XDG_STATE_HOME": str(folder)},
    )  # fmt: skip


async def reveal(city: RunningCity, folder: Path, people: dict[str, AdminClient], value: str) -> None:
    """Two people find who opened the record of the value; one alone does not."""

    def run(who: str, *words: str, typed: str = value) -> subprocess.CompletedProcess[str]:
        return sekisho(city, folder, people[who]._token or "", typed, *words)

    asked = run("audit", "audit", "reveal", "--app", "docs", "--field", "path", "--reason", "開示請求", "--yes")
    assert asked.returncode == 0, asked.stderr
    name = asked.stderr.split()[1]
    assert run("audit", "audit", "reveal-records", name).returncode != 0
    assert run("audit", "audit", "reveal-grant", name, "--reason", "自分", "--yes").returncode != 0
    assert run("ciso", "audit", "reveal-grant", name, "--reason", "x", "--yes", typed="other").returncode != 0
    granted = run("ciso", "audit", "reveal-grant", name, "--reason", "確認", "--yes")
    assert granted.returncode == 0, granted.stderr
    found = run("audit", "audit", "reveal-records", name, "-o", "json")
    assert found.returncode == 0, found.stderr
    (record,) = json.loads(found.stdout)
    assert (record["user.name"], record["http.request.method"]) == ("s0001", "GET")
    alone = run("audit", "events", "search", "http.request.id=" + record["http.request.id"], "-o", "ndjson")
    assert json.loads(alone.stdout.splitlines()[0])["url.path"] == "/people/~"


@pytest.mark.promise("P5.no-secret-in-any-record")
@pytest.mark.promise("P5.injection-one-record")
@pytest.mark.promise("P5.no-number-in-a-record")
@pytest.mark.promise("P5.reveal-needs-two")
def test_what_may_not_stand_in_a_record_stands_nowhere(tmp_path: Path) -> None:
    number = with_check_digit(f"9{secrets.randbelow(10**10):010}")

    async def main() -> None:
        settings = {"SEKISHO_WORKERS__COUNT": "1", "SEKISHO_JOURNAL__ANONYMOUS_BUDGET_PER_MINUTE": "1000"}
        async with running_city(tmp_path, **settings) as city:
            await city.furnish(masked_paths=("/people/*",), masked_queries=("number",))
            people = {
                "ciso": await operator(city, "ciso", number=90),
                "audit": await operator(city, "audit", number=91),
            }
            CANARIES.learn(number, "個人番号")
            value = await send_canaries(city, number)
            await inject(city)
            await administer(city, people["ciso"], number)
            await reveal(city, tmp_path / "own", people, value)
        records = whole_lines(city)
        assert not [each for each in records if each["event.action"] == "forged" or each.get("user.id") == "root"]
        told = [each for each in records if PERSONAL in str(each)]
        assert {"request.decided", "admin.requested"} <= {each["event.action"] for each in told}
        assert CANARIES.search(tmp_path) == []

    asyncio.run(main())
