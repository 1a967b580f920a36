"""The load of the benchmarks is that of many people: each thread of wrk shows the cookie of a session of its own."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from benchmarks.load import ANSWER_HEAD, BODY
from benchmarks.measure import THREADS, Answered, write_script, wrk

HOST = "docs.sekisho.localhost"


async def loaded(script: Path) -> tuple[Answered, set[bytes], set[bytes]]:
    """Load an app for a second; return what wrk saw, and the tokens and hosts that the app was shown."""
    tokens: set[bytes] = set()
    hosts: set[bytes] = set()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                tokens.update(re.findall(rb"__Host-sekisho-app=(\w+)", head))
                hosts.update(re.findall(rb"(?i)\r\nhost: ([^\r]+)", head))
                writer.write(ANSWER_HEAD + BODY)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(app, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        core = str(min(os.sched_getaffinity(0)))
        answered = await asyncio.to_thread(wrk, f"http://{HOST}:{port}/", script, 1, core, each=1)
    return answered, tokens, hosts


def test_each_thread_has_a_session_of_its_own(tmp_path: Path) -> None:
    tokens = [f"token{number}" for number in range(THREADS)]
    write_script(tmp_path / "load.lua", HOST, tokens)
    answered, shown, hosts = asyncio.run(loaded(tmp_path / "load.lua"))
    assert answered.requests >= THREADS
    assert shown == {token.encode() for token in tokens}
    assert hosts == {HOST.encode()}, "whatever the URL's host, wrk connects to this machine"
