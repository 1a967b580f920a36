"""The six oracle rules of the public HTTP corpus, checked after each case."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import h11

from tests.support.edge import Edge
from tests.support.http_corpus import DOCUMENTED, EXTENSION_OR_TRAILER, Case
from tests.support.http_feeds import Split, feed

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
CANARY = b"GET /canary HTTP/1.1\r\nHost: canary.test\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Seen:
    """One request as the app saw it."""

    method: bytes
    target: bytes
    host: bytes
    body: int
    complete: bool


@dataclass(frozen=True)
class Result:
    """What became of one case, without the good request before it: it may not depend on the feed."""

    seen: tuple[Seen, ...]
    statuses: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether the app got a complete request."""
        return any(request.complete for request in self.seen)


def strict_requests(stream: bytes) -> list[Seen]:
    """Read an upstream byte stream with h11; raises h11.RemoteProtocolError where h11 would refuse it."""
    connection = h11.Connection(h11.SERVER)
    seen: list[Seen] = []
    connection.receive_data(stream)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):  # which nothing at all is to h11
            break
        if isinstance(event, h11.Request):
            host = dict(event.headers).get(b"host", b"")
            seen.append(Seen(event.method, event.target, host, 0, False))
        elif isinstance(event, h11.Data):
            last = seen[-1]
            seen[-1] = Seen(last.method, last.target, last.host, last.body + len(event.data), False)
        elif isinstance(event, h11.EndOfMessage):
            last = seen[-1]
            seen[-1] = Seen(last.method, last.target, last.host, last.body, True)
            connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
            connection.send(h11.EndOfMessage())
            if connection.their_state is not h11.DONE:
                break
            connection.start_next_cycle()
    assert connection.trailing_data[0] == b"" or not seen[-1].complete, "bytes left over after the last request"
    return seen


def lenient_count(stream: bytes) -> int:
    """Count the requests that a careless reader sees: LF line ends, any case, the last length wins."""
    count = 0
    rest = stream.lstrip(b"\r\n")
    while rest:
        count += 1
        head, mark, rest = rest.replace(b"\r\n\r\n", b"\n\n", 1).partition(b"\n\n")
        if not mark:
            return count
        lower = head.lower()
        if re.search(rb"(?:^|\n)\s*transfer.encoding\s*:[^\n]*chunked", lower):
            end = re.search(rb"(?:^|\n)0+\r?\n\r?\n", rest)
            if end is None:
                return count
            rest = rest[end.end() :]
        elif lengths := re.findall(rb"(?:^|\n)\s*content.length\s*:\s*(\d+)", lower):
            rest = rest[int(lengths[-1]) :]
    return count


def statuses_of(answered: bytes) -> list[int]:
    """Return the statuses of the answers on one connection."""
    return [int(status) for status in _STATUS.findall(answered)]


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until something holds, thirty seconds at most: mostly a few turns are enough."""
    loop, turns = asyncio.get_running_loop(), 0
    end = loop.time() + 30.0
    while not holds() and loop.time() < end:
        await asyncio.sleep(0 if turns < 100 else 0.003)
        turns += 1


async def check_case(edge: Edge, case: Case, split: Split) -> Result:
    """Send one case and check every rule; raises AssertionError with the rule that does not hold."""
    gatekeeper, app = edge.gatekeeper, edge.app
    edge.services.pools.close()
    for kept in (app.streams, gatekeeper.judged, gatekeeper.rejected, gatekeeper.outcomes, gatekeeper.records):
        kept.clear()
    answered = await feed(edge.port, split(case.stream()))
    await until(lambda: len(gatekeeper.outcomes) == len(gatekeeper.judged))
    edge.services.pools.close()
    await until(lambda: all(stream.ended for stream in app.streams))

    seen = _check_what_the_app_saw(edge)
    statuses = statuses_of(answered)
    assert 500 not in statuses, "rule 3"
    if any(400 <= status < 500 for status in statuses):
        last = answered[answered.rindex(b"HTTP/1.1 ") :].lower()
        assert statuses[-1] >= 400, "rule 5: goes on after a refusal"
        assert b"connection: close" in last, "rule 5: goes on after a refusal"
    failed = [outcome for _, outcome in gatekeeper.outcomes if outcome.status >= 400]
    refused = [status for status in statuses if status >= 400]
    assert len(gatekeeper.rejected) + len(failed) == len(refused), "rule 6: refusals and records differ"
    assert len(gatekeeper.records) == len(gatekeeper.judged) + len(gatekeeper.rejected), "rule 6: one record each"
    if case.after_good:
        assert statuses[:1] == [200], "the good request before it was not served"
        assert seen[:1] == [Seen(b"GET", b"/good", b"good.test", 0, True)], "the good request before it was not served"
        del seen[0], statuses[0]
    _check_expectation(case, seen, bool(refused))
    canary = await feed(edge.port, [CANARY])
    assert canary.startswith(b"HTTP/1.1 200 "), "rule 4"
    # How much of a body the app had when it was reset is a matter of time.
    told = (each if each.complete else replace(each, body=0) for each in seen)
    return Result(tuple(told), tuple(statuses))


def _check_what_the_app_saw(edge: Edge) -> list[Seen]:
    """Rules 1 and 2; return the requests that the app saw."""
    gatekeeper = edge.gatekeeper
    judged = [(r.method.encode(), r.target, r.find[b"host"]) for r in gatekeeper.judged]
    seen: list[Seen] = []
    for stream in edge.app.streams:
        requests = strict_requests(stream.data)
        assert lenient_count(stream.data) == len(requests), "rule 2: a lenient reader sees other requests"
        assert all(request.complete for request in requests[:-1]), "rule 2"
        assert not requests or requests[-1].complete or stream.reset, "rule 2: incomplete without a reset"
        seen += requests
    assert [(s.method, s.target, s.host) for s in seen] == judged[: len(seen)], "rule 1: not what was judged"
    assert len(judged) - len(seen) <= 1, "rule 1: allowed requests that the app never saw"
    for saw, (_, outcome) in zip(seen, gatekeeper.outcomes, strict=False):
        assert saw.complete is not outcome.aborted, "rule 1: completeness"
        assert not saw.complete or saw.body == outcome.request_bytes, "rule 1: body length"
    return seen


def _check_expectation(case: Case, seen: list[Seen], refused: bool) -> None:
    whole = sum(request.complete for request in seen)
    if case.expect == "reject":
        assert not whole or refused, "reject: a complete request reached the app"
    if case.expect == "reject-or-one":
        assert whole <= 1, "reject-or-one: more than one"


def undocumented(edge: Edge) -> str:
    """Return what refused the case checked last where that is no documented reason of ours, "" where it is one."""
    faults = [fault.detail for fault in edge.gatekeeper.rejected]
    details = [outcome.detail for _, outcome in edge.gatekeeper.outcomes]
    known = any(DOCUMENTED.search(each) for each in faults) or any(
        EXTENSION_OR_TRAILER.search(each) for each in details
    )
    return "" if known else f"refused without a documented reason: {faults} {details}"
