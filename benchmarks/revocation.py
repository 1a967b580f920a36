"""How fast a revocation ends live connections, seen from the clients (promise P3).

`python -m benchmarks.revocation [connections] [rounds]` runs the whole gateway with two workers and prints JSON. The
connections are WebSockets and server-sent events, a third each, downloads and uploads, ten of each session. From the
moment that the revocation is durable (the receipt tells it) to the last byte that each client received, of uploads to
the last that the app received, which is what the promise is about, and beside it to the end that each client saw: its
own work on the ends before comes on top there.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from audit.receipt import Receipt
from benchmarks import progress
from benchmarks.crowd import OTHER_APP, PER_SESSION, Crowd, streaming_city
from benchmarks.live_clients import Held, Ticket
from tests.support.running_city import HOST

SELECTORS: Final = ("session", "user", "device", "group", "app", "all")
MOST_SESSIONS: Final = 20  # of one person: the most that can be set
_LEFT_BEFORE: Final = 7  # closed by the clients themselves just before, so that counts cannot be copied
_STRANGERS: Final = 8  # connections of somebody else
_FLOODS: Final = ("/socket-flood", "/events-flood", "/download-flood")
_PATIENCE: Final = 10.0  # seconds until what clients see is taken as it is
_WARM: Final = 1.0  # seconds of load before a revocation under load


@dataclass(frozen=True, slots=True)
class Case:
    """One way to revoke. `sleepy` of the clients read slowly, one of them never; `busy` = the workers have no rest."""

    selector: str = "group"
    connections: int = 1000
    sleepy: int = 0
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """One round. Times in milliseconds after the revocation was durable."""

    connections: int
    p50: float  # to the last byte; 0 = nothing came any more
    p99: float
    largest: float
    end_p50: float  # to the end
    end_p99: float
    end_largest: float
    answered: float  # when the caller had the receipt
    last_ack: float  # by the receipt
    cut: int  # connections that the clients saw end
    told: int  # connections closed, by the receipt
    by_worker: dict[str, int]
    by_kind: dict[str, int]
    fenced: tuple[str, ...]
    survivors: int  # connections of somebody else that went on
    strangers: int  # connections of somebody else
    left: tuple[int | None, ...]  # bytes that clients which do not keep up found afterwards, None = no end
    sessions: frozenset[str] = field(repr=False)  # whose connections were open when it was revoked
    receipt: Receipt = field(repr=False)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


async def people(crowd: Crowd, case: Case, name: str) -> tuple[list[Ticket], dict[str, object]]:
    """The sessions that are to end, and the selector that names them."""
    count = -(-case.connections // PER_SESSION)
    if case.selector == "user":
        one = await crowd.person()
        tickets = [await crowd.ticket(one) for _ in range(min(MOST_SESSIONS, count))]
        return tickets, {"user": one.id}
    device = await crowd.device(name) if case.selector == "device" else None
    tickets = [await crowd.ticket(await crowd.person(name), device=device) for _ in range(count)]
    selectors: dict[str, dict[str, object]] = {
        "session": {"sessions": [each.session for each in tickets]}, "device": {"device": name},
        "group": {"group": name}, "app": {"app": "docs"}, "all": {"all": True},
    }  # fmt: skip
    return tickets, selectors[case.selector]


async def bystanders(crowd: Crowd, case: Case, name: str) -> list[Ticket]:
    """Sessions that the revocation does not mean; nobody is left out where it means everybody."""
    if case.selector == "all":
        return []
    app = OTHER_APP if case.selector == "app" else ("docs", HOST)
    device = await crowd.device(f"{name}-not") if case.selector == "device" else None
    return [await crowd.ticket(await crowd.person("others"), app, device) for _ in range(2)]


@contextlib.asynccontextmanager
async def loaded(crowd: Crowd, tickets: list[Ticket]) -> AsyncIterator[None]:
    """As many small requests as both workers can answer, of a bystander; of strangers where there is none."""
    cookie = [f"-HCookie: __Host-sekisho-app={tickets[0].token}"] if tickets else []
    host = tickets[0].host if tickets else HOST
    url = f"http://{crowd.address[0]}:{crowd.address[1]}/page"
    load = await asyncio.create_subprocess_exec(
        "wrk", "-t1", "-c64", "-d60s", f"-HHost: {host}", *cookie, url, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.sleep(_WARM)
        yield
    finally:
        load.kill()
        await load.wait()


async def measure(crowd: Crowd, case: Case, name: str = "leaving") -> Figures:
    """Open connections, end their sessions, and return what the clients saw."""
    resting = await bystanders(crowd, case, name)
    others = await crowd.hold(_STRANGERS, resting) if resting else []
    tickets, selector = await people(crowd, case, name)
    held = await crowd.hold(case.connections - case.sleepy, tickets)
    sleepy = [
        crowd.sleepy(tickets[n % len(tickets)], _FLOODS[n % len(_FLOODS)], reads=n > 0) for n in range(case.sleepy)
    ]
    for each in held[:_LEFT_BEFORE]:
        each.leave()
    held = held[_LEFT_BEFORE:]
    await asyncio.sleep(1.2)  # each connection carries something within that time, and the workers have sorted them
    async with loaded(crowd, resting) if case.busy else contextlib.nullcontext():
        receipt = await crowd.revoke(**selector)
        answered = time.time()
        await _until(lambda: all(each.lost for each in held))
    left = await asyncio.gather(*(each.found() for each in sleepy))
    ended = [each for each in held if each.lost]
    uploads = await _forwarded(crowd, ended)
    going = await _going(crowd, others, receipt.last_ack_at)
    for each in (*others, *held):
        each.leave()
    times = [max(0.0, uploads.get(each.path, each.last) - receipt.durable_at) * 1000 for each in ended]
    ends = [(each.lost - receipt.durable_at) * 1000 for each in ended]
    return Figures(
        connections=len(held) + len(sleepy),
        p50=statistics.median(times), p99=percentile(times, 0.99), largest=max(times),
        end_p50=statistics.median(ends), end_p99=percentile(ends, 0.99), end_largest=max(ends),
        answered=(answered - receipt.durable_at) * 1000,
        last_ack=(receipt.last_ack_at - receipt.durable_at) * 1000,
        cut=len(ended) + sum(each is not None for each in left),
        told=sum(receipt.closed.values()), by_worker=dict(receipt.closed),
        by_kind=dict(Counter(each.kind for each in ended)), fenced=receipt.fenced,
        survivors=going, strangers=len(others), left=tuple(left),
        sessions=frozenset(each.session for each in (*held, *sleepy)), receipt=receipt,
    )  # fmt: skip


async def _until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE
    while not true() and time.monotonic() < until:  # noqa: ASYNC110  # a thousand ends, one look
        await asyncio.sleep(0.01)


async def _forwarded(crowd: Crowd, ended: list[Held]) -> dict[str, float]:
    """When the app received the last byte of each upload; raises RuntimeError for one that the app still has open."""
    paths = {each.path for each in ended if each.kind == "upload"}
    until = time.monotonic() + _PATIENCE
    while True:
        seen = {path: said for path, said in (await crowd.uploads()).items() if path in paths}
        if all(over for _, over in seen.values()) or time.monotonic() > until:
            break
        await asyncio.sleep(0.05)
    still = [path for path, (_, over) in seen.items() if not over]
    if still:
        raise RuntimeError(f"uploads that ended for their clients are still open at the app: {still[:5]}")
    return {path: last for path, (last, _) in seen.items()}


async def _going(crowd: Crowd, others: list[Held], since: float) -> int:
    """How many of these connections carried something after `since`, each in its direction."""
    until = time.monotonic() + _PATIENCE
    while True:
        uploads = await crowd.uploads()
        going = [
            each
            for each in others
            if not each.lost and (uploads[each.path][0] if each.kind == "upload" else each.last) > since
        ]
        if len(going) == len(others) or time.monotonic() > until:
            return len(going)
        await asyncio.sleep(0.05)


async def main(connections: int, rounds: int) -> None:
    """Print the figures of all rounds as JSON, and the worst of each."""
    with tempfile.TemporaryDirectory() as name:
        async with streaming_city(Path(name)) as crowd:
            case = Case(connections=connections)
            figures = [
                await measure(crowd, case, f"leaving-{number}") for number in progress.rounds("revocation", rounds)
            ]
    hidden = {"receipt", "sessions"}
    rows = [{key: value for key, value in dataclasses.asdict(each).items() if key not in hidden} for each in figures]
    told = ("p50", "p99", "largest", "end_p50", "end_p99", "end_largest", "answered")
    worst = {key: max(getattr(each, key) for each in figures) for key in told}
    exact = all(each.cut == each.told == each.connections for each in figures)
    print(json.dumps({"unit": "ms", "rounds": rows, "worst": worst, "counts_equal": exact}, indent=1))


if __name__ == "__main__":
    uvloop.run(main(*(int(given) for given in (sys.argv[1:] + ["1000", "3"][len(sys.argv) - 1 :]))))
