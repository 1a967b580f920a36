"""How fast a revocation ends live connections, seen from the clients (promise P3).

`python -m benchmarks.revocation [connections] [rounds]` runs the whole gateway with two workers and prints JSON. The
connections are WebSockets, server-sent events and downloads in equal parts, of one session each ten. From the moment
that the revocation is durable (the receipt tells it) to the last byte that each client received, which is what the
promise is about, and beside it to the end that each client saw: its own work on the ends before comes on top there.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from audit.receipt import Receipt, verify_receipt
from tests.support.running_city import HOST, RunningCity, running_city
from tests.support.steward_process import ROOT

KINDS: Final = ("socket", "events", "download")
_PER_SESSION: Final = 10
_AT_ONCE: Final = 50  # connections opened at a time
_LEFT_BEFORE: Final = 7  # closed by the clients themselves just before, so that counts cannot be copied
_UPGRADE: Final = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://{HOST}\r\n"
)


class Held(asyncio.Protocol):
    """One open connection of a client that reads at once. Times in seconds since the epoch."""

    __slots__ = ("_head", "_transport", "kind", "last", "lost", "opened", "received", "tail")

    def __init__(self, kind: str, token: str) -> None:
        self.kind = kind
        upgrade = _UPGRADE if kind == "socket" else ""
        cookie = f"Cookie: __Host-sekisho-app={token}\r\n"
        self._head = f"GET /{kind} HTTP/1.1\r\nHost: {HOST}\r\n{cookie}{upgrade}\r\n".encode()
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.last = 0.0
        self.lost = 0.0
        self.received = 0
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        """Note when the latest byte came."""
        self.last = time.time()
        self.received += len(data)
        self.tail = data
        if not self.opened.done():
            self.opened.set_result(data[9:12])

    def connection_lost(self, error: Exception | None) -> None:
        """Note when the end came, by reset or not."""
        del error
        self.lost = time.time()
        if not self.opened.done():
            self.opened.set_result(b"")

    def leave(self) -> None:
        """Close by ourselves."""
        if self._transport is not None:
            self._transport.abort()


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
    receipt: Receipt = field(repr=False)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


class Crowd:
    """People with sessions and open connections on one running gateway."""

    def __init__(self, city: RunningCity) -> None:
        self._city = city
        self._numbers = itertools.count(1)
        self._sources = itertools.cycle(f"127.0.0.{last}" for last in range(2, 34))
        host, _, port = city.status["listeners"]["loopback"].rpartition(":")
        self._address = host, int(port)

    async def open(self, count: int, group: str, per_session: int = _PER_SESSION) -> list[Held]:
        """Open connections of all kinds in equal parts, `per_session` on each session."""
        sessions = -(-count // per_session)
        people = [await self._city.sign_in(f"c{next(self._numbers)}", group) for _ in range(sessions)]
        held: list[Held] = []
        while len(held) < count:
            batch = range(len(held), min(count, len(held) + _AT_ONCE))
            fresh = await asyncio.gather(*(self.one(KINDS[n % 3], people[n // per_session]) for n in batch))
            for each in fresh:
                status = await asyncio.wait_for(each.opened, 10)
                if status not in (b"101", b"200"):
                    raise RuntimeError(f"{each.kind}: answered {status!r}")
            held += fresh
        return held

    async def one(self, kind: str, token: str) -> Held:
        """One connection; its answer may not have begun."""
        _, held = await asyncio.get_running_loop().create_connection(
            lambda: Held(kind, token), *self._address, local_addr=(next(self._sources), 0)
        )
        return held

    def proven(self, text: str) -> Receipt:
        """The receipt, if the steward's key signed it."""
        key = load_pem_public_key((self._city.root / "keys" / "receipts.pub").read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise TypeError("receipts.pub: expected an Ed25519 key")
        return verify_receipt(text, key)

    async def revoke(self, group: str) -> Receipt:
        """End all sessions of a group."""
        answer = await self._city.steward.call(
            "session.end", selector={"group": group}, reason="session_revoked", message="", by="ciso", why="measured"
        )
        return self.proven(answer["receipt"])


async def measure(crowd: Crowd, connections: int, name: str = "leaving") -> Figures:
    """Open connections, end their sessions, and return what the clients saw."""
    others = await crowd.open(6, f"{name}-not")
    held = await crowd.open(connections, name)
    for each in held[:_LEFT_BEFORE]:
        each.leave()
    held = held[_LEFT_BEFORE:]
    await asyncio.sleep(1.2)  # each connection carries something within that time, and the workers have sorted them
    receipt = await crowd.revoke(name)
    answered = time.time()
    until = answered + 5
    while any(not each.lost for each in held) and time.time() < until:  # noqa: ASYNC110  # a thousand ends, one look
        await asyncio.sleep(0.01)
    ended = [each for each in held if each.lost]
    times = [max(0.0, each.last - receipt.durable_at) * 1000 for each in ended]
    ends = [(each.lost - receipt.durable_at) * 1000 for each in ended]
    await asyncio.sleep(1.1)  # each of the others gets something at least once a second
    going = [each for each in others if not each.lost and each.last > receipt.last_ack_at]
    for each in others:
        each.leave()
    return Figures(
        connections=len(held), p50=statistics.median(times), p99=percentile(times, 0.99), largest=max(times),
        end_p50=statistics.median(ends), end_p99=percentile(ends, 0.99), end_largest=max(ends),
        answered=(answered - receipt.durable_at) * 1000,
        last_ack=(receipt.last_ack_at - receipt.durable_at) * 1000, cut=len(ended),
        told=sum(receipt.closed.values()), by_worker=dict(receipt.closed),
        by_kind=dict(Counter(each.kind for each in ended)), fenced=receipt.fenced,
        survivors=len(going), strangers=len(others), receipt=receipt,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def streaming_city(folder: Path, **environment: str) -> AsyncIterator[RunningCity]:
    """A whole gateway whose one app is `benchmarks.streams`."""
    app = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.streams", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        if app.stdout is None:
            raise RuntimeError("no pipe")
        port = int(await asyncio.wait_for(app.stdout.readline(), 20))
        async with running_city(folder, **environment) as city:
            await city.furnish(upstream=f"http://127.0.0.1:{port}")
            yield city
    finally:
        app.kill()
        await app.wait()


async def main(connections: int, rounds: int) -> None:
    """Print the figures of all rounds as JSON, and the worst of each."""
    with tempfile.TemporaryDirectory() as name:
        async with streaming_city(Path(name)) as city:
            crowd = Crowd(city)
            figures = [await measure(crowd, connections, f"leaving-{number}") for number in range(rounds)]
    rows = [{key: value for key, value in dataclasses.asdict(each).items() if key != "receipt"} for each in figures]
    told = ("p50", "p99", "largest", "end_p50", "end_p99", "end_largest", "answered")
    worst = {key: max(getattr(each, key) for each in figures) for key in told}
    exact = all(each.cut == each.told == each.connections for each in figures)
    print(json.dumps({"unit": "ms", "rounds": rows, "worst": worst, "counts_equal": exact}, indent=1))


if __name__ == "__main__":
    uvloop.run(main(*(int(given) for given in (sys.argv[1:] + ["1000", "3"][len(sys.argv) - 1 :]))))
