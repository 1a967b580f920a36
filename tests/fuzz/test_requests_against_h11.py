"""Our reading of requests against h11's: whatever a client sends, an app sees exactly what was judged, or nothing.

In `make test` a hundred fixed streams; `make fuzz MINUTES=n` draws new ones for so long. A find becomes a test of
its own name beside this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import h11
import pytest
import uvloop
from hypothesis import HealthCheck, given, seed, settings

from tests.fuzz.mutations import streams
from tests.support.edge import Edge, hello, running
from tests.support.http_corpus import Case
from tests.support.http_feeds import at_random, by_byte, whole
from tests.support.http_oracle import Result, Seen, check_case

EXAMPLES: Final = 100
_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")


def as_h11_reads(stream: bytes, count: int) -> list[Seen]:
    """Return the first `count` requests as h11 reads them, each by a reader of its own; fewer where it refuses."""
    found: list[Seen] = []
    while len(found) < count:
        # RFC 9112 §2.2: we ignore up to two empty lines before a request, h11 none.
        stream = stream.removeprefix(b"\r\n").removeprefix(b"\r\n")
        reader = h11.Connection(h11.SERVER)
        reader.receive_data(stream)
        try:
            request = reader.next_event()
            if not isinstance(request, h11.Request):
                break
            body = 0
            while isinstance(event := reader.next_event(), h11.Data):
                body += len(event.data)
        except h11.RemoteProtocolError:
            break
        path, mark, query = request.target.partition(b"?")
        target = _ESCAPE.sub(lambda found: found[0].upper(), path).replace(b"%7E", b"~") + mark + query
        host = dict(request.headers).get(b"host", b"")
        found.append(Seen(request.method, target, host, body, isinstance(event, h11.EndOfMessage)))
        if not found[-1].complete:
            break
        stream = reader.trailing_data[0]
    return found


def judged_alike(result: Result) -> Result:
    """Take all refusals for one: of a message with several faults the one told is the first that has arrived.

    A 100 is told to whoever still waits with the body.
    """
    return replace(result, statuses=tuple(min(status, 400) for status in result.statuses if status != 100))


async def compare(edge: Edge, stream: bytes) -> None:
    """Send a stream in three feeds; the six rules hold, all feeds agree, and h11 reads what the app saw."""
    case = Case("drawn", "", stream, host_added=False, after_good=False)
    result = judged_alike(await check_case(edge, case, whole))
    for split in (by_byte, at_random(len(stream))):
        assert judged_alike(await check_case(edge, case, split)) == result, "depends on the feed"
    complete = [seen for seen in result.seen if seen.complete]
    # h11 may take what we refuse (a last line ended by LF), never the other way round.
    assert complete == as_h11_reads(stream, len(complete)), "h11 reads it otherwise"


@pytest.mark.timeout(0)
def test_whatever_is_sent_the_app_sees_what_h11_reads_or_nothing(minutes: float, figure: Callable[[str], None]) -> None:
    """Structured mutations of valid requests and raw bytes, whole, byte by byte and cut at random."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.ExitStack() as stack:
        drawn = 0
        served = running(hello)
        edge = runner.run(served.__aenter__())
        stack.callback(lambda: runner.run(served.__aexit__(None, None, None)))

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(streams())
        def agree(stream: bytes) -> None:
            nonlocal drawn
            drawn += 1
            runner.run(compare(edge, stream))

        ends = time.monotonic() + minutes * 60
        seed(0)(agree)()
        while time.monotonic() < ends:
            seed(time.time_ns())(agree)()
    assert drawn >= EXAMPLES
    figure(f"{drawn:,} streams, each whole, byte by byte and cut at random: the app saw what h11 reads, or nothing")
