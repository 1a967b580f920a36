"""People with live connections through a running gateway, as measurements and tests of revocations need them.

Four kinds: WebSockets, server-sent events, downloads and uploads, by the clients of `benchmarks.live_clients`. The app
behind the gateway is `benchmarks.streams`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import ssl
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from audit.receipt import Receipt, verify_receipt
from benchmarks.live_clients import Held, Sleepy, Ticket
from gateway.certificates import issue_device_certificate
from gateway.state.records import AppSession, User
from tests.support.gate_world import APP, DEVICE
from tests.support.running_city import HOST, POLICY, RunningCity, running_city
from tests.support.steward_process import ROOT, session, token_hash, user

# A third of the connections hold a place in a worker's pool of connections to the app, which has 256.
KINDS: Final = ("socket", "events", "download", "socket", "events", "upload")
OTHER_APP: Final = ("notes", "notes.sekisho.localhost")
PER_SESSION: Final = 10
_TRIES: Final = 10  # at opening one while the workers are busy
_AGAIN: Final = 0.2  # seconds between two of them
_AT_ONCE: Final = 50  # connections opened at a time
_OPENED: Final = (b"101", b"200", b"100")  # an upload is open when the app's end is: it is told to go on
_UPLOAD_EACH: Final = 0.25  # seconds between two pieces of an upload
_UPLOADED: Final = b"u" * 4096


class Crowd:
    """People with sessions and open connections on one running gateway."""

    def __init__(self, city: RunningCity, app: tuple[str, int] = ("", 0)) -> None:
        """`app` is where `benchmarks.streams` listens; only the questions about uploads need it."""
        self.city = city
        self._app = app
        self._numbers = itertools.count(1)
        self._sources = itertools.cycle(f"127.0.0.{last}" for last in range(2, 34))
        self.address = self._listener("loopback")
        self._uploads: set[Held] = set()
        self._uploading: asyncio.Task[None] | None = None

    def _listener(self, name: str) -> tuple[str, int]:
        host, _, port = self.city.status["listeners"][name].rpartition(":")
        return host, int(port)

    # -- people -------------------------------------------------------------------------------------------------------

    async def person(self, *groups: str) -> User:
        """One more person whom the policy lets in."""
        name = f"c{next(self._numbers)}"
        made = replace(user(), id=name, login=name, groups=("tax", *groups))
        await self.city.put("user.put", user=made)
        return made

    async def device(self, name: str) -> tuple[str, ssl.SSLContext]:
        """One more device that belongs to nobody alone; its id, and what shows its certificate."""
        root, made = self.city.root, replace(DEVICE, id=name, uuid=str(uuid.uuid4()), name=name, owner="")
        await self.city.steward.call("devices.put", devices=[made.to_row()])
        issued = issue_device_certificate(root / "device-ca", made.uuid, 30, time.time())
        context = ssl.create_default_context(cafile=str(root / "tls" / "demo-ca.pem"))
        file = root / "run" / f"{made.uuid}.pem"
        file.write_bytes(issued.certificate + issued.key)
        context.load_cert_chain(file)
        file.unlink()
        return name, context

    async def ticket(
        self, who: User, app: tuple[str, str] = ("docs", HOST), device: tuple[str, ssl.SSLContext] | None = None
    ) -> Ticket:
        """One more session of a person, with its app session; on a device or on none that is known."""
        name = f"{who.id}-{next(self._numbers)}"
        token = hashlib.sha256(f"token of {name}".encode()).hexdigest()[:43]
        row = session(name, user_id=who.id, device_id=device[0] if device else None)
        await self.city.put("session.start", session=row)
        child = AppSession(name, name, *app, token_hash(token), time.time())
        await self.city.put("app_session.start", app_session=child)
        return Ticket(name, token, app[1], device[1] if device else None)

    # -- connections --------------------------------------------------------------------------------------------------

    async def open(self, count: int, group: str, per_session: int = PER_SESSION) -> list[Held]:
        """Open connections of all kinds, `per_session` on each session of a new person in `group`."""
        sessions = -(-count // per_session)
        return await self.hold(count, [await self.ticket(await self.person(group)) for _ in range(sessions)])

    async def hold(self, count: int, tickets: list[Ticket]) -> list[Held]:
        """Open connections of all kinds, dealt out over `tickets`."""
        held: list[Held] = []
        while len(held) < count:
            batch = range(len(held), min(count, len(held) + _AT_ONCE))
            held += await asyncio.gather(
                *(self._opened(KINDS[n % len(KINDS)], tickets[n // len(KINDS) % len(tickets)]) for n in batch)
            )
        return held

    async def _opened(self, kind: str, ticket: Ticket) -> Held:
        """One open connection; a busy worker's 503 is taken as people take it, by asking again."""
        for _ in range(_TRIES):
            held = await self.one(kind, ticket)
            status = await asyncio.wait_for(held.opened, 10)
            if status in _OPENED:
                return held
            held.leave()
            if status != b"503":
                break
            await asyncio.sleep(_AGAIN)
        raise RuntimeError(f"{kind}: answered {status!r}")

    async def one(self, kind: str, ticket: Ticket) -> Held:
        """One connection; its answer may not have begun."""
        path = f"/upload/{next(self._numbers)}" if kind == "upload" else ""
        tls = {"ssl": ticket.tls, "server_hostname": ticket.host} if ticket.tls else {}
        _, held = await asyncio.get_running_loop().create_connection(
            lambda: Held(kind, ticket, path), *self._place(ticket), local_addr=(next(self._sources), 0), **tls
        )
        if kind == "upload":
            self._uploads.add(held)
            self._uploading = self._uploading or asyncio.create_task(self._upload())
        return held

    def sleepy(self, ticket: Ticket, path: str, *, reads: bool) -> Sleepy:
        """A client that does not keep up with a full stream."""
        return Sleepy(self._place(ticket), ticket, path, reads=reads)

    def _place(self, ticket: Ticket) -> tuple[str, int]:
        return self._listener("public") if ticket.tls else self.address

    async def _upload(self) -> None:
        while self._uploads:
            for each in [*self._uploads]:
                if each.lost:
                    self._uploads.discard(each)
                elif each.opened.done():
                    each.send(_UPLOADED)
            await asyncio.sleep(_UPLOAD_EACH)
        self._uploading = None

    async def uploads(self) -> Mapping[str, tuple[float, bool]]:
        """What the app saw of uploads: by path the time of the last byte, and whether the connection is over."""
        reader, writer = await asyncio.open_connection(*self._app)
        writer.write(b"GET /uploads HTTP/1.1\r\nHost: app\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        said = json.loads(await reader.readexactly(length))
        writer.close()
        return {path: (float(last), bool(over)) for path, (last, over) in said.items()}

    # -- revocation ---------------------------------------------------------------------------------------------------

    def proven(self, text: str) -> Receipt:
        """The receipt, if the steward's key signed it."""
        key = load_pem_public_key((self.city.root / "keys" / "receipts.pub").read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise TypeError("receipts.pub: expected an Ed25519 key")
        return verify_receipt(text, key)

    async def revoke(self, **selector: object) -> Receipt:
        """End the sessions that `selector` names."""
        answer = await self.city.steward.call(
            "session.end", selector=selector, reason="session_revoked", message="", by="ciso", why="measured"
        )
        return self.proven(answer["receipt"])


@contextlib.asynccontextmanager
async def streaming_city(folder: Path, **environment: str) -> AsyncIterator[Crowd]:
    """A crowd before a whole gateway whose two apps are `benchmarks.streams`; `environment` holds settings."""
    app = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.streams", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        if app.stdout is None:
            raise RuntimeError("no pipe")
        port = int(await asyncio.wait_for(app.stdout.readline(), 20))
        async with running_city(folder, **environment) as city:
            upstream = f"http://127.0.0.1:{port}"
            await city.furnish(upstream=upstream)
            other = replace(APP, id=OTHER_APP[0], hosts=(OTHER_APP[1],), upstream=upstream, preflight_origins=())
            await city.put("app.put", app=other)
            await city.activate(POLICY.replace("app: [docs]", f"app: [docs, {other.id}]"))
            yield Crowd(city, ("127.0.0.1", port))
    finally:
        app.kill()
        await app.wait()
