"""The steward process: the only writer of the state, and the heartbeat that workers trust. Small; nothing that stalls.

`python -m gateway.steward --config DIR/sekisho.toml`. It keeps the store, serves commands (`steward.sock`) and the
state feed (`feed.sock`), ends sessions by time, and signs receipts. It beats only while the store takes writes.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from audit.event import Action, event
from audit.journal import Journal
from gateway.settings import Settings
from gateway.settings_parts.bounds import Writes
from gateway.state import schema
from gateway.state.administrator import Administrator, Tools
from gateway.state.arguments import Arguments
from gateway.state.broadcast import Broadcast
from gateway.state.clock import Mark, SteadyClock, boot_id
from gateway.state.command import Command, CommandRefused, Outcome, Rules, Surroundings
from gateway.state.command_server import CommandServer
from gateway.state.commands import COMMANDS
from gateway.state.fencing import Fencing
from gateway.state.leases import Leases
from gateway.state.loading import StoredPolicies, active_policy, load_tables, policy_row
from gateway.state.sealing import Sealing
from gateway.state.shares import rates_of
from gateway.state.store import Reader, Store
from gateway.state.sweep import BY, LAPSE, Uses, sweep
from gateway.state.transaction import Transaction
from gateway.state.writer import Writer
from gateway.supervision import child

LOG = logging.getLogger("sekisho.steward")
BEAT = 1.0  # seconds between two heartbeats
_MARK_EACH = 2.0  # seconds between two writes of the high-water mark, which prove that the store takes writes
_STORE_SILENT = 5.0  # seconds without such a write after which no heartbeat is sent
_EXPIRE_EACH = 60.0
_CLOCK = "clock"


class Steward:
    """The running parts and their loops."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        """Open store, journal and keys. Raises what each of them raises: without them it must not run."""
        paths, journal = settings.paths, settings.journal
        sealing = Sealing.load(paths.keys / "sealing.key")
        database = paths.store
        self._settings = settings
        self._store = Store(database, sealing)
        with self._store.transaction("start", time.time()) as tx:
            self._clock = SteadyClock(_stored_mark(tx), boot_id())
            self._tables = load_tables(tx, self._store.revision, self._clock.now())
            self._load_policy(tx)
        self.journal = Journal(
            paths.journal, "steward", segment_bytes=journal.segment_bytes, segment_age=journal.segment_age,
            stall_limit=settings.timeouts.journal_stall, reserve=settings.journal.reserve(Writes.LAST),
        )  # fmt: skip
        self.journal.open(loop)
        self._uses = Uses(self._tables, self._clock.now)
        self._fencing = Fencing.inherited(os.environ)
        self._broadcast = Broadcast(
            self._tables, ack_limit=settings.timeouts.ack, fence=self._fencing.fence, used=self._uses.take,
            leases=_leases(settings),
        )  # fmt: skip
        self._checkpoint = ""
        self._marked = time.monotonic()
        self._told_of_leap = False
        self._writer = Writer(loop)
        limits = settings.sessions
        self._administrator = Administrator(Tools(
            store=self._store, writer=self._writer, tables=self._tables, broadcast=self._broadcast,
            journal=self.journal, signing_key=_signing_key(paths.keys / "receipts.pem"),
            policies=StoredPolicies(Reader(database, sealing)),
            rules=Rules(limits.absolute, limits.idle, limits.concurrent, limits.code_lifetime,
                        settings.sign_in.wait_after),
            now=self._clock.now, mark=self._keep_mark, checkpoint=lambda: self._checkpoint,
        ))  # fmt: skip

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`."""
        for name, pid in self._fencing.running:
            self._broadcast.expect(name, pid)
        paths = self._settings.paths
        await self._tell_time()  # whoever follows anew finds a heartbeat with the snapshot
        feed = await self._broadcast.serve(paths.feed_socket)
        commands = await CommandServer(self._execute).serve(paths.steward_socket)
        loops = [asyncio.create_task(each) for each in (self._beat(), self._look(), self._remember())]
        child.ready()
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*loops, stopping], return_when=asyncio.FIRST_COMPLETED)
        for server in (commands, feed):
            server.close()
        for task in (*loops, stopping):
            task.cancel()
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self.journal.close, 5.0)
        self._store.close()
        for task in done - {stopping}:
            task.result()  # a loop that ended did so by a fault: the process ends with it

    async def _execute(self, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if op == "status":
            return self._status()
        if op == "session.used":
            self._uses.take({str(name): float(at) for name, at in args.get("used", {}).items()})
            return {}
        command = Command(self._accept_clock, urgent=True) if op == "clock.accept" else COMMANDS.get(op)
        if command is None:
            raise CommandRefused("unknown_op", f"no such operation: {op[:40]!r}")
        return await self._administrator.execute(command, op, args)

    def _status(self) -> dict[str, Any]:
        sessions = self._tables.sessions()
        return {
            "pid": os.getpid(),
            "workers": self._broadcast.status(),
            "shared_rates": self._broadcast.shared_rates(),
            "revision": self._tables.revision,
            "sessions": sum(1 for each in sessions if each.ended_at is None),
            "policy": next(iter(self._tables.rows["policy"]), None),
            "clock": {"now": self._clock.now(), "jumped": self._clock.jumped, "leap": self._clock.leap},
            "journal": {"healthy": self.journal.healthy, "fault": self.journal.fault},
            "checkpoint": self._checkpoint,
        }

    def _accept_clock(self, _tx: Transaction, args: Arguments, _around: Surroundings) -> Outcome:
        """`by reason` → `leap`: an operator vouches for the time of the machine."""
        by, reason = args.text("by"), args.text("reason")
        args.end()
        leap = self._clock.accept()
        fields = {"sekisho.clock.jump_seconds": leap, "sekisho.by": by, "sekisho.justification": reason}
        return Outcome({"leap": leap}, [event(Action.CLOCK_ACCEPTED, self._clock.now(), fields)])

    # -- loops ----------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Tell the workers each second that what they know is still true, as long as that can be promised."""
        while True:
            await self._tell_time()
            await asyncio.sleep(BEAT)

    async def _tell_time(self) -> None:
        self._checkpoint = await asyncio.to_thread(_text, self._settings.paths.log / "checkpoint")
        now = self._clock.now()
        if time.monotonic() - self._marked < _STORE_SILENT:
            self._broadcast.beat(now, self._checkpoint, self._clock.jumped)
        if self._clock.jumped and not self._told_of_leap and self.journal.healthy:
            leap = event(Action.CLOCK_JUMPED, now, {"sekisho.clock.jump_seconds": self._clock.leap})
            self.journal.append(leap, True, None)
        self._told_of_leap = self._clock.jumped

    async def _look(self) -> None:
        """End what time ends."""

        async def end(ids: tuple[str, ...], reason: str) -> None:
            await self._administrator.execute(LAPSE, "session.lapse", {"sessions": list(ids), "reason": reason})

        async def unlock(lock_id: str) -> None:
            args = {"id": lock_id, "by": BY, "reason": "expired"}
            await self._administrator.execute(COMMANDS["lock.remove"], "lock.remove", args)

        while True:
            await asyncio.sleep(1.0)
            try:
                await sweep(self._tables, self._uses, self._clock.now(), end, unlock)
            except CommandRefused as refusal:  # the journal is unhealthy, or an operator was faster: the next look
                LOG.warning("sweep: %s", refusal)

    async def _remember(self) -> None:
        """Keep the high-water mark and the sessions' last uses in the store."""
        expired = 0.0
        while True:
            started = time.monotonic()
            uses = self._uses.flush()
            expire = started - expired >= _EXPIRE_EACH

            def keep(tx: Transaction, uses: dict[str, float] = uses, expire: bool = expire) -> None:
                self._keep_mark(tx)
                for session_id, at in uses.items():
                    tx.set_last_used(session_id, at)
                if expire:
                    tx.expire(self._clock.now())

            try:
                await self._administrator.write("remember", keep)
            except Exception as fault:  # noqa: BLE001 (no heartbeat until a write succeeds: workers refuse)
                LOG.warning("store: %s", type(fault).__name__)
                self._uses.take(uses)
            else:
                self._marked = started
                expired = started if expire else expired
            await asyncio.sleep(_MARK_EACH)

    def _keep_mark(self, tx: Transaction) -> None:
        """Keep the high-water mark: no end that was worked out from a time may outlive a kill as a later one."""
        mark = self._clock.mark()
        value = {"time": mark.time, "boot": mark.boot, "boot_id": mark.boot_id}
        tx.put_row(schema.marks, {"name": _CLOCK, "value": value})

    def _load_policy(self, tx: Transaction) -> None:
        version = active_policy(tx)
        if version is None:
            return
        try:
            row = policy_row(version)
        except CommandRefused as refusal:  # no policy: every worker refuses, and an operator activates another
            LOG.warning("policy %s is not loaded: %s", version.hash[:12], refusal)
            return
        self._tables.apply(self._store.revision, [("policy", version.hash, row)])


def _leases(settings: Settings) -> Leases:
    return Leases(rates_of(settings.limits.rates()), settings.workers.count, settings.limits.shared_names)


def _stored_mark(tx: Transaction) -> Mark | None:
    row = tx.row(schema.marks, _CLOCK)
    return None if row is None else Mark(**row["value"])


def _signing_key(path: Path) -> Ed25519PrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path.name}: expected an Ed25519 key")
    return key


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


async def _main(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    stop = child.stop_event(loop)
    await Steward(settings, loop).run(stop)


def main() -> None:
    """Run the steward until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m gateway.steward", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    config: Path = parser.parse_args().config
    settings = Settings.parse(child.settings_text(config), config)
    child.await_turn()
    asyncio.run(_main(settings))


if __name__ == "__main__":
    main()
