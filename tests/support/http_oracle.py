"""The six oracle rules of the public HTTP corpus, checked after each case."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import h11

from tests.support.edge import Edge

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


def strict_requests(stream: bytes) -> list[Seen]:
    """Read an upstream byte stream with h11; raises h11.RemoteProtocolError where h11 would refuse it."""
    connection = h11.Connection(h11.SERVER)
    seen: list[Seen] = []
    connection.receive_data(stream)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
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


async def check_case(edge: Edge, raw: bytes, expect: str) -> tuple[list[Seen], list[int]]:
    """Send one case in one write and check every rule; return what the app saw and the statuses answered."""
    gatekeeper, app = edge.gatekeeper, edge.app
    edge.services.pools.close()
    for kept in (app.streams, gatekeeper.judged, gatekeeper.rejected, gatekeeper.outcomes):
        kept.clear()
    answered = await edge.ask(raw)
    for _ in range(200):
        if len(gatekeeper.outcomes) == len(gatekeeper.judged):
            break
        await asyncio.sleep(0.005)
    edge.services.pools.close()
    for _ in range(200):
        if all(stream.ended for stream in app.streams):
            break
        await asyncio.sleep(0.002)

    judged = [(r.method.encode(), r.target, r.find[b"host"]) for r in gatekeeper.judged]
    seen = [request for stream in app.streams for request in strict_requests(stream.data)]
    assert [(s.method, s.target, s.host) for s in seen] == judged[: len(seen)], "rule 1: not what was judged"
    assert len(judged) - len(seen) <= 1, "rule 1: allowed requests that the app never saw"
    for saw, (_, outcome) in zip(seen, gatekeeper.outcomes, strict=False):
        assert saw.complete is not outcome.aborted, "rule 1: completeness"
        assert not saw.complete or saw.body == outcome.request_bytes, "rule 1: body length"
    for stream in app.streams:
        requests = strict_requests(stream.data)
        assert lenient_count(stream.data) == len(requests), "rule 2: a lenient reader sees other requests"
        assert all(request.complete for request in requests[:-1]), "rule 2"
        assert not requests or requests[-1].complete or stream.reset, "rule 2: incomplete without a reset"
    statuses = [int(status) for status in _STATUS.findall(answered)]
    assert 500 not in statuses, "rule 3"
    if any(400 <= status < 500 for status in statuses):
        last = answered[answered.rindex(b"HTTP/1.1 ") :].lower()
        assert statuses[-1] >= 400, "rule 5: goes on after a refusal"
        assert b"connection: close" in last, "rule 5: goes on after a refusal"
    failed = [outcome for _, outcome in gatekeeper.outcomes if outcome.status >= 400]
    refused = [status for status in statuses if status >= 400]
    assert len(gatekeeper.rejected) + len(failed) >= len(refused), "rule 6: a refusal without a record"
    if expect == "reject":
        assert not any(request.complete for request in seen) or refused, "reject: a complete request reached the app"
    if expect == "reject-or-one":
        assert len([request for request in seen if request.complete]) <= 1
    canary = await edge.ask(CANARY)
    assert canary.startswith(b"HTTP/1.1 200 "), "rule 4"
    return seen, statuses
