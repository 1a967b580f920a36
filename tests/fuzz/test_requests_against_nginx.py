"""A real nginx behind us, and the same bytes to nginx alone: the app reads exactly what was judged, or nothing.

In `make test` three hundred fixed streams; `make fuzz MINUTES=n` draws new ones for so long. A find becomes a test of
its own name beside this one. Where nginx takes what we refuse all is well; never the other way round.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import pytest
import uvloop
from hypothesis import HealthCheck, given, seed, settings

from gateway.gate.old_paths import JSESSIONID, SHIFT_JIS
from tests.fuzz.mutations import streams
from tests.support.edge import Edge, hello, running
from tests.support.http_feeds import at_random, by_byte, feed, whole
from tests.support.http_oracle import until
from tests.support.nginx_app import WHOLE, NginxApp, nginx_app

EXAMPLES: Final = 300

Read = tuple[str, str, str, int]
"""Method, target, Host, bytes of the body."""


def as_read(row: dict[str, Any]) -> Read:
    """One row of nginx's list."""
    return row["method"], row["target"], row["host"], len(row["body"])


def decoded(request: Read) -> tuple[str, bytes, str, str, int]:
    """A request whatever its escapes are spelled like: its path as bytes."""
    path, _, query = request[1].partition("?")
    return request[0], unquote_to_bytes(path.encode("latin-1")), query, request[2], request[3]


@dataclass
class Chain:
    """Our edge before nginx, and nginx alone."""

    edge: Edge
    nginx: NginxApp
    broken_off: set[tuple[str, str, str]] = field(default_factory=set)  # heads whose bodies we did not pass whole

    async def forwarded(self, pieces: list[bytes]) -> list[Read]:
        """Send one stream through the edge; return what was forwarded whole, having held it against nginx's list."""
        gatekeeper, services = self.edge.gatekeeper, self.edge.services
        for kept in (gatekeeper.judged, gatekeeper.rejected, gatekeeper.outcomes, gatekeeper.records):
            kept.clear()
        await feed(self.edge.port, pieces)
        await until(lambda: len(gatekeeper.outcomes) == len(gatekeeper.judged))
        services.pools.close()
        judged: list[Read] = []
        for request, outcome in gatekeeper.outcomes:
            head = request.method, request.sent.decode("latin-1"), request.find[b"host"].decode("latin-1")
            if outcome.aborted:
                self.broken_off.add(head)
            else:
                judged.append((*head, outcome.request_bytes))
        listed = await self.nginx.app.taken()
        assert [as_read(row) for row in listed if row["status"] == WHOLE] == judged, "the app read other requests"
        for row in listed:
            # A reset may reach nginx late, after the next stream.
            assert row["status"] == WHOLE or as_read(row)[:3] in self.broken_off, "the app read what was not judged"
        return judged

    async def compare(self, stream: bytes) -> None:
        """Send a stream in three feeds, and to nginx alone: what we forwarded whole nginx reads there alike."""
        judged = await self.forwarded(whole(stream))
        for split in (by_byte, at_random(len(stream))):
            assert await self.forwarded(list(split(stream))) == judged, "depends on the feed"
        await feed(self.nginx.alone.socket, [stream])
        alone = await self.nginx.alone.taken()
        for ours, row in zip(judged, alone, strict=False):
            if row["status"] != WHOLE:
                break  # nginx refuses what we take: no other reading
            assert decoded(ours) == decoded(as_read(row)), "nginx alone reads it otherwise"


@contextlib.asynccontextmanager
async def _chain(nginx: Path, folder: Path) -> Any:
    async with nginx_app(nginx, folder) as app:
        old = {"path_parameter": JSESSIONID, "path_charset": SHIFT_JIS}
        async with running(hello, upstream=f"unix:{app.app.socket}", **old) as edge:
            yield Chain(edge, app)


@pytest.mark.timeout(0)
def test_whatever_is_sent_nginx_reads_what_was_judged_or_nothing(
    requires_nginx: Path, tmp_path_factory: pytest.TempPathFactory, minutes: float, figure: Callable[[str], None]
) -> None:
    """Structured mutations of valid requests and raw bytes, whole, byte by byte and cut at random."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.ExitStack() as stack:
        drawn = forwarded = 0
        served = _chain(requires_nginx, tmp_path_factory.mktemp("nginx"))
        chain: Chain = runner.run(served.__aenter__())
        stack.callback(lambda: runner.run(served.__aexit__(None, None, None)))

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(streams())
        def agree(stream: bytes) -> None:
            nonlocal drawn, forwarded
            drawn += 1
            runner.run(chain.compare(stream))
            forwarded += sum(not outcome.aborted for _, outcome in chain.edge.gatekeeper.outcomes)

        ends = time.monotonic() + minutes * 60
        seed(0)(agree)()
        while time.monotonic() < ends:
            seed(time.time_ns())(agree)()
    assert drawn >= EXAMPLES
    assert forwarded >= EXAMPLES // 5, "hardly anything was forwarded: nothing was compared"
    figure(f"{drawn:,} streams before nginx and to nginx alone: {forwarded:,} requests read as they were judged")
