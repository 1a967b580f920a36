"""What one request costs in this process alone: edge, gate and journal on transports that go nowhere.

`python -m benchmarks.path_cost [requests]`. The kernel's share is left out, so figures are steadier than a load
test's; calls of Python and C functions do not depend on the machine at all. Use it to see what a change is worth,
and `benchmarks.run` to see what it means.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import uvloop
from cryptography.hazmat.primitives.asymmetric import ec

from audit.anonymous import BoundedJournal, Coalescer
from audit.journal import Journal
from benchmarks.load import ANSWER_HEAD, BODY, HEADERS, TARGET, request_bytes
from gateway.edge.address import Upstream
from gateway.edge.connection import ClientConnection
from gateway.edge.live import LiveExchanges
from gateway.edge.pool import Pool
from gateway.edge.pools import Pools
from gateway.edge.services import EdgeLimits, EdgeServices, EdgeTimeouts, Gatekeeper
from gateway.edge.timeouts import Sweeper
from gateway.edge.upstream import UpstreamConnection
from gateway.gate.assertion import Signer
from gateway.gate.limits import Rate
from gateway.gate.refusal import Refusals
from gateway.gate.request import Peer
from gateway.gatekeeper import Rates, Trail, WorkerGatekeeper
from gateway.state.changes import Change
from policies.compile import compile_policy
from policies.model import Rule
from tests.support.edge import FastGatekeeper, app_at
from tests.support.gate_world import (
    APP,
    APP_SESSION,
    DEVICE,
    HOST,
    RULES,
    SESSION,
    TOKEN,
    World,
    condition,
    policy,
    rule,
)  # fmt: skip

CONNECTIONS: Final = 64
ROUNDS: Final = 7
_WIDE: Final = Rate(1e9, 1e9)


class Nowhere:
    """A transport whose bytes are only counted."""

    def __init__(self) -> None:
        self.writes = 0
        self.last = b""

    def write(self, data: bytes) -> None:
        """Count."""
        self.writes += 1
        self.last = data

    def is_closing(self) -> bool:
        """Never."""
        return False

    def get_extra_info(self, name: str) -> None:
        """Nothing is known."""
        del name

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """There is no buffer."""
        del high, low

    def abort(self) -> None:
        """Nothing to end."""


def services_for(gatekeeper: Gatekeeper) -> EdgeServices:
    """What the connections of one run share."""
    sweeper = Sweeper(time.monotonic)
    timeouts = EdgeTimeouts()
    control = Pool(Upstream.parse("unix:/nonexistent"), timeouts, sweeper)
    return EdgeServices(
        gatekeeper, Pools(timeouts, sweeper), control, LiveExchanges(), sweeper,
        EdgeLimits(requests_per_connection=10**9), timeouts, time.monotonic,
    )  # fmt: skip


class Driver:
    """So many clients, each asking as soon as it was answered, and an app that answers at once."""

    def __init__(self, services: EdgeServices, pool: Pool) -> None:
        loop = asyncio.get_running_loop()
        peer = Peer("10.1.2.3", 50000, "loopback", "http", "")
        self.clients = [ClientConnection(services, loop, peer, lambda _: None) for _ in range(CONNECTIONS)]
        self.sinks = [Nowhere() for _ in self.clients]
        self.upstreams = [UpstreamConnection(pool) for _ in self.clients]
        self.apps = [Nowhere() for _ in self.upstreams]
        for client, sink in zip(self.clients, self.sinks, strict=True):
            client.connection_made(cast("asyncio.Transport", sink))
        for upstream, app in zip(self.upstreams, self.apps, strict=True):
            upstream.connection_made(cast("asyncio.Transport", app))
            pool.adopt(upstream)
        self.request = request_bytes(HOST, TOKEN)
        self.answer = ANSWER_HEAD + BODY
        self.varied = False
        self._asked = 0

    def _next(self) -> bytes:
        """One request; where they vary, no two have the same target, query or Referer."""
        if not self.varied:
            return self.request
        self._asked = number = self._asked + 1
        return self.request.replace(TARGET.encode(), b"/api/items/%d?page=%d" % (number, number)).replace(
            b"/somewhere", b"/somewhere/%d" % number
        )

    async def run(self, requests: int) -> None:
        """Answer that many requests."""
        answer = self.answer
        for _ in range(requests // CONNECTIONS):
            asked = [app.writes for app in self.apps]
            for client in self.clients:
                client.data_received(self._next())
            while any(app.writes == before for app, before in zip(self.apps, asked, strict=True)):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            for upstream in self.upstreams:
                upstream.data_received(answer)
        if not all(sink.last.endswith(BODY) for sink in self.sinks):
            raise RuntimeError(f"not answered: {self.sinks[0].last[:200]!r}")


async def bare(requests: int) -> tuple[float, Counter[str]]:
    """The edge with a gatekeeper that allows everything and records nothing."""
    gatekeeper = FastGatekeeper(app_at("http://127.0.0.1:1", hosts=(HOST,)))
    services = services_for(gatekeeper)
    return await measured(Driver(services, services.pools.of(gatekeeper.app)), requests)


async def full(
    requests: int, folder: Path, *, varied: bool = False, prepare: Callable[[World], None] | None = None,
    more_rules: Sequence[Rule] = (),
) -> tuple[float, Counter[str]]:  # fmt: skip
    """The edge with the real gate and the real journal; `varied` requests help no memory of headers or targets.

    `prepare` puts more into the world; `more_rules` stand beside the few of the policy.
    """
    loop = asyncio.get_running_loop()
    world = World()
    now, world.terms.stale_refuse = time.time(), 1e9
    world.view.beat(now, time.monotonic(), "", False)
    app = replace(APP, upstream="http://127.0.0.1:1", activity="any")
    world.put("app", app.id, app)
    agent = HEADERS["User-Agent"]
    started = replace(SESSION, device_id=None, mfa_at=now, created_at=now, expires_at=now + 6e4, user_agent=agent)
    world.put("session", SESSION.id, started)
    world.put("device", DEVICE.id, DEVICE)
    world.put("app_session", APP_SESSION.token_hash, APP_SESSION)
    bounds: dict[str, Any] = {"segment_bytes": 2**26, "segment_age": 3600.0, "stall_limit": 30.0}
    journal = Journal(folder, "worker-0", **bounds)
    strangers = BoundedJournal(folder, "worker-0.anonymous", total_bytes=2**24, **bounds)
    journal.open(loop)
    strangers.open(loop)

    async def ask(_: str) -> bool:
        return False

    gate = WorkerGatekeeper(
        world.view, world.terms, Refusals(world.view, "https://portal.test", "ja", ""),
        Signer(ec.generate_private_key(ec.SECP256R1()), "https://portal.test"),
        Trail(journal, Coalescer(strangers, 10_000)), Rates(_WIDE, _WIDE, _WIDE), ask, 0.2, loop.time,
    )  # fmt: skip
    open_rule = rule(
        "docs-staff",
        when=(condition("app", "any_of", "docs"), condition("user.groups", "any_of", "shokuin")),
        require=(condition("mfa.age", "max", 43200.0), condition("net.zone", "any_of", "office")),
    )
    if prepare is not None:
        prepare(world)
    rules = [open_rule, *more_rules, *(each for each in RULES if each.id != "docs-staff")]
    world.view.set_policy(compile_policy(policy(*sorted(rules, key=lambda each: each.id))), Change(2))
    services = services_for(gate)
    driver = Driver(services, services.pools.of(world.view.apps["docs"]))
    driver.varied = varied
    try:
        return await measured(driver, requests)
    finally:
        for each in (journal, strangers):
            await asyncio.to_thread(each.close, 5.0)


async def measured(driver: Driver, requests: int) -> tuple[float, Counter[str]]:
    """Return the least CPU µs per request of the rounds, and the function calls of one request."""
    await driver.run(CONNECTIONS * 20)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        await driver.run(requests)
        taken.append((time.process_time() - start) / requests * 1e6)
    calls: Counter[str] = Counter()

    def count(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename != __file__:
            calls[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            calls[f"c {getattr(argument, '__qualname__', argument)}"] += 1

    sys.setprofile(count)
    await driver.run(CONNECTIONS)
    sys.setprofile(None)
    return min(taken), calls


def tell(name: str, least: float, calls: Counter[str], listed: bool) -> None:
    """Print one run."""
    python = sum(number for call, number in calls.items() if not call.startswith("c ")) / CONNECTIONS
    native = sum(number for call, number in calls.items() if call.startswith("c ")) / CONNECTIONS
    print(f"{name:8} {least:6.1f} µs   {python:5.1f} Python calls   {native:5.1f} C calls")
    if listed:
        for call, number in calls.most_common():
            if number >= CONNECTIONS / 2:
                print(f"    {number / CONNECTIONS:5.1f}  {call}")


def main(requests: int, listed: bool) -> None:
    """Measure both and print."""
    tell("bare", *uvloop.run(bare(requests)), listed)
    with tempfile.TemporaryDirectory() as folder:
        tell("full", *uvloop.run(full(requests, Path(folder))), listed)
    with tempfile.TemporaryDirectory() as folder:
        tell("varied", *uvloop.run(full(requests, Path(folder), varied=True)), listed)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6400, "--calls" in sys.argv)
