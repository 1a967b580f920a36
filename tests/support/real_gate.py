"""The real gate behind real sockets in one loop: edge, gatekeeper and journals as a worker has them, without a feed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from audit.anonymous import BoundedJournal, Coalescer
from audit.event import Action, event
from audit.journal import Journal
from gateway.edge.address import Upstream
from gateway.edge.listener import Listeners, Listening
from gateway.edge.live import LiveExchanges
from gateway.edge.pool import Pool
from gateway.edge.pools import Pools
from gateway.edge.services import EdgeLimits, EdgeServices, EdgeTimeouts
from gateway.edge.timeouts import Sweeper
from gateway.gate.assertion import Signer
from gateway.gate.limits import Rate
from gateway.gate.refusal import Refusals
from gateway.gatekeeper import Rates, Trail, WorkerGatekeeper
from tests.support.edge import Handler, RecordingApp
from tests.support.gate_world import APP, APP_SESSION, DEVICE, SESSION, World

WIDE = Rate(1e6, 1e6)


@dataclass
class RealGate:
    """What a test asks and looks at."""

    port: int
    world: World
    gate: WorkerGatekeeper
    app: RecordingApp
    live: LiveExchanges
    pools: Pools
    folder: Path
    journals: tuple[Journal, ...]
    asked: list[str] = field(default_factory=list)

    async def ask(self, data: bytes, wait: float = 30.0) -> bytes:
        """Send bytes on a new connection, half-close, return everything until the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), wait)
        finally:
            writer.close()

    async def kept(self) -> None:
        """Return once all that was recorded so far is on disk: it is kept with the record that this adds."""
        for journal in self.journals:
            await journal.record(event(Action.PROCESS_STARTED, 0.0))

    def records(self, writer: str) -> list[dict[str, Any]]:
        """What one journal holds on disk now."""
        return [
            json.loads(line)["body"]
            for path in sorted((self.folder / writer).iterdir())
            for line in path.read_text().splitlines()
            if line.startswith('{"salt"')
        ]


@contextlib.asynccontextmanager
async def real_gate(
    folder: Path, handler: Handler, rates: Rates | None = None, budget: int = 10_000
) -> AsyncIterator[RealGate]:
    """Run it before `handler`, the session bound to no device; `budget`: strangers' records in full, a minute."""
    loop = asyncio.get_running_loop()
    app = RecordingApp(handler)
    server = await asyncio.start_server(app.serve, "127.0.0.1", 0)
    app.port = server.sockets[0].getsockname()[1]
    world = World()
    world.view.beat(time.time(), time.monotonic(), "", False)
    world.terms.stale_refuse = 60.0
    now = time.time()
    world.put("app", APP.id, replace(APP, upstream=f"http://127.0.0.1:{app.port}"))
    world.put("session", SESSION.id, replace(SESSION, device_id=None, mfa_at=now, created_at=now, expires_at=now + 600))
    world.put("device", DEVICE.id, DEVICE)
    world.put("app_session", APP_SESSION.token_hash, APP_SESSION)
    bounds: dict[str, Any] = {"segment_bytes": 2**24, "segment_age": 3600.0, "stall_limit": 30.0}
    journal = Journal(folder, "worker-0", **bounds)
    strangers = BoundedJournal(folder, "worker-0.anonymous", total_bytes=2**24, **bounds)
    journal.open(loop)
    strangers.open(loop)
    asked: list[str] = []

    async def ask(token_hash: str) -> bool:
        asked.append(token_hash)
        return False

    gate = WorkerGatekeeper(
        world.view, world.terms, Refusals(world.view, "https://portal.test", "ja", "内線 1"),
        Signer(ec.generate_private_key(ec.SECP256R1()), "https://portal.test"),
        Trail(journal, Coalescer(strangers, budget)), rates or Rates(WIDE, WIDE, WIDE), ask, 0.2,
    )  # fmt: skip
    sweeper = Sweeper(time.monotonic)
    sweeper.start(loop)
    timeouts, live = EdgeTimeouts(), LiveExchanges()
    pools = Pools(timeouts, sweeper)
    control = Pool(Upstream.parse("unix:/nonexistent"), timeouts, sweeper)
    services = EdgeServices(gate, pools, control, live, sweeper, EdgeLimits(), timeouts, time.monotonic, 8443)
    listeners = Listeners(services, loop)
    sock = socket.create_server(("127.0.0.1", 0))
    await listeners.open(Listening("loopback", sock))
    try:
        yield RealGate(sock.getsockname()[1], world, gate, app, live, pools, folder, (journal, strangers), asked)
    finally:
        listeners.stop_accepting()
        pools.close()
        sweeper.stop()
        server.close()
        await asyncio.to_thread(journal.close, 5.0)
        await asyncio.to_thread(strangers.close, 5.0)
