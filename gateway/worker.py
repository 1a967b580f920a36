"""The worker process: requests in, decisions, records, requests out. Nothing else, and nothing that can block.

`python -m gateway.worker --slot 0 --config DIR/sekisho.toml`. It says it is ready when it counts: its view is complete
and acknowledged, its journals are open, its sockets accept. It ends when what keeps its view true ends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import uvloop

from audit.anonymous import BoundedJournal, Coalescer
from audit.event import Action, event
from audit.journal import Journal, JournalUnhealthy
from gateway.edge.accepting import connections_that_fit
from gateway.edge.address import Upstream
from gateway.edge.listener import Listeners
from gateway.edge.live import LiveExchange, LiveExchanges
from gateway.edge.pool import HealthChange, Pool
from gateway.edge.pools import Pools
from gateway.edge.server_certificates import CertificateFaults
from gateway.edge.services import EdgeLimits, EdgeServices, EdgeTimeouts, UpstreamBounds
from gateway.edge.timeouts import Sweeper
from gateway.edge.tunnel import RESTARTING
from gateway.entrances import LOOK_EACH, Entrances
from gateway.gate.assertion import Signer, load_key
from gateway.gate.judge import Terms
from gateway.gate.masking import record_key
from gateway.gate.refusal import Refusals
from gateway.gate.verdict import Forward
from gateway.gatekeeper import Rates, Trail, WorkerGatekeeper
from gateway.keyfiles import ASSERTION_CURRENT, SEALING
from gateway.leasing import Leasing
from gateway.settings import Settings
from gateway.settings_parts.bounds import Writes
from gateway.state.changes import Change
from gateway.state.feed import FeedClient
from gateway.state.serials import bucket_of, packed
from gateway.state.shares import rates_of
from gateway.state.view import View
from gateway.supervision import child
from gateway.upstream_health import health_record
from policies.reasons import Reason

LOG = logging.getLogger("sekisho.worker")
DRAIN: Final = 10.0  # seconds that requests in flight may take to end after SIGTERM
_DRAIN_STEP: Final = 0.1
_FAREWELL: Final = 0.05  # seconds for close frames to leave before the process does
_BEAT_LOOK: Final = 0.01
_USE_EACH: Final = 4.0  # seconds between two reports of session use: the steward counts on one each 5 s
_LOOK_EACH: Final = 1.0
_ROUND: Final = 30  # looks in which every live exchange is judged again
_GC_THRESHOLDS: Final = (50_000, 20, 50)  # the path allocates no cycles: collect seldom (perf §6)


class Worker:
    """The running parts of one slot."""

    def __init__(self, settings: Settings, slot: int, loop: asyncio.AbstractEventLoop, place: int = 0) -> None:
        """Read certificates, open journals and keys; raises what each of them raises: without them it must not run.

        `place` names the journals: a slot may have several workers, of which all but one only end what they have.
        """
        self._settings = settings
        self._entrances = Entrances(settings, os.environ, time.time(), self._tell)
        self._loop = loop
        self.name = f"worker-{slot}"
        self.view = View()
        self._journal, strangers = _journals(settings, f"{self.name}.{place}" if place else self.name)
        self._strangers_journal = strangers
        self._journal.open(loop)
        strangers.open(loop)
        bounds = settings.journal
        self._strangers = Coalescer(
            strangers, bounds.anonymous_budget_per_minute, total=bounds.anonymous_total_per_minute
        )
        self._feed = FeedClient(settings.paths.feed_socket, self.name, self.view, self._on_change)
        self._gate = self._gatekeeper()
        self._leasing = self._feed.rates = Leasing(self._gate.leased, self._feed.say, loop)
        self.live = LiveExchanges(settings.limits.streams_per_session)
        self._gate.crowded = self.live.crowded
        self._turn = 0  # of judging shares of the live exchanges again
        self._sweeper = Sweeper(time.monotonic)
        timeouts = EdgeTimeouts.of(settings.timeouts)
        control = Upstream.parse(f"unix:{settings.paths.control_socket}")
        granted = UpstreamBounds.of(settings.upstreams)
        self._pools = Pools(timeouts, self._sweeper, granted, self._on_health)
        # Control is back within a second of its death; leaving it alone would only keep people from signing in.
        patient = replace(granted, breaker_failures=sys.maxsize)
        limits = EdgeLimits.of(settings.limits)
        self._listeners = Listeners(
            EdgeServices(
                gatekeeper=self._gate, pools=self._pools, control=Pool(control, timeouts, self._sweeper, patient),
                live=self.live, sweeper=self._sweeper, timeouts=timeouts,
                limits=replace(limits, connections=_connections_that_fit(limits.connections)),
                clock=time.monotonic, public_port=settings.portal.port,
                hsts_max_age=settings.portal.hsts_max_age, reached=self._gate.counters.reached,
            ),
            loop,
        )  # fmt: skip

    def _gatekeeper(self) -> WorkerGatekeeper:
        settings = self._settings
        keys, portal, limits = settings.paths.keys, settings.portal, settings.limits
        terms = Terms(portal.host, settings.timeouts.stale_refuse, record_key((keys / SEALING).read_bytes()))
        return WorkerGatekeeper(
            self.view,
            terms,
            Refusals(self.view, portal.origin, portal.default_language, portal.help_contact),
            Signer(load_key((keys / ASSERTION_CURRENT).read_bytes()), portal.origin),
            Trail(self._journal, self._strangers),
            Rates(**rates_of(limits.rates()), workers=settings.workers.count),
            self._feed.ask,
            settings.timeouts.unknown_ask,
            self._loop.time,
            settings.timeouts.overload_lag,
        )

    async def run(self, stop: asyncio.Event, retire: asyncio.Event) -> None:
        """Serve until `stop`, or until `retire` and all it has is done; raises what ends the feed."""
        self._loop.set_exception_handler(self._on_loop_fault)
        feed = asyncio.create_task(self._feed.run())
        ends = [feed, asyncio.create_task(stop.wait()), asyncio.create_task(retire.wait())]
        counted = asyncio.create_task(self._believed())
        await asyncio.wait([*ends, counted], return_when=asyncio.FIRST_COMPLETED)
        if counted.done():
            await self._open()
            child.ready()
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await self._drain(feed, stop)
        stopped = feed.done()
        for task in (*ends, counted):
            task.cancel()
        if stopped:
            feed.result()

    async def _believed(self) -> None:
        """Return once the view is complete and its first heartbeat has come: before that every answer would be 503."""
        await self._feed.counted.wait()
        while not self.view.beat_mono:  # noqa: ASYNC110  # the feed tells of applied changes only
            await asyncio.sleep(_BEAT_LOOK)

    async def _open(self) -> None:
        fields = {"sekisho.worker": self.name, "process.pid": os.getpid()}
        try:
            await self._journal.record(event(Action.PROCESS_STARTED, time.time(), fields), essential=True)
        except JournalUnhealthy as error:  # it refuses with a reason until the disk takes records
            LOG.warning("%s", error)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        self._sweeper.every(0.0, lambda: self._gate.overload.swept(self._sweeper.late, self._sweeper.busy))
        self._sweeper.every(_LOOK_EACH, self._look)
        self._sweeper.every(_USE_EACH, self._report_use)
        self._sweeper.every(60.0, self._flush_strangers)
        self._sweeper.start(self._loop)
        self._sweeper.every(LOOK_EACH, lambda: self._entrances.look(self._loop, time.time()))
        for listening in self._entrances.listening():
            await self._listeners.open(listening)

    def _tell(self, action: Action, fields: Mapping[str, Any]) -> None:
        """Record what happened to this worker itself; a failing journal counts it in its gap."""
        fields = {"sekisho.worker": self.name, **fields}
        try:
            self._journal.append(event(action, time.time(), fields), False, None, essential=True)
        except JournalUnhealthy as error:
            LOG.warning("%s is not on record: %s", action.value, error)

    async def _drain(self, feed: asyncio.Task[None], stop: asyncio.Event) -> None:
        """Stop accepting, let what is in flight end, then end what is left.

        Told to retire, it has `timeouts.drain`, and a connection between two requests stays for one more, whose answer
        says that it is the last: a request under way never meets a closed door (RFC 9112 §9.6). Told to stop, it has
        `DRAIN` at most. Without a feed there is no patience: what this worker believes may be wrong by now.
        """
        self._listeners.stop_accepting()
        now, stopping = time.monotonic(), False
        until = now + self._settings.timeouts.drain
        if not stop.is_set():
            self._listeners.only_last_requests()
        while not feed.done() and len(self._listeners) and now < until:
            if stop.is_set():
                until, stopping = until if stopping else min(until, now + DRAIN), True
                self._listeners.cut_idle()
            await asyncio.sleep(_DRAIN_STEP)
            now = time.monotonic()
        self._listeners.cut_idle()  # what would come on them now could not be carried to its end
        self.live.cut_each(self.live.all(), RESTARTING)
        await asyncio.sleep(_FAREWELL)
        self.live.conclude()
        self._report_use()
        self._sweeper.stop()
        self._pools.close()
        self._flush_strangers()
        await asyncio.to_thread(self._close_journals)

    def _close_journals(self) -> None:
        self._journal.close(5.0)
        self._strangers_journal.close(5.0)

    # -- what changes -------------------------------------------------------------------------------------------------

    def _on_change(self, change: Change) -> Mapping[str, int]:
        """End the live exchanges that the change no longer allows; return how many per session."""
        if change.apps:
            self._pools.keep(self.view.apps)
        if not change.narrows:
            return {}
        if change.apps or change.everything:
            self._listeners.services.blocks.forget()  # they were read by the exceptions that apps had
        ended = change.ended

        def reason(exchange: LiveExchange) -> str:
            verdict = exchange.verdict
            known = ended.get(verdict.session.id) if isinstance(verdict, Forward) else None
            return known or self._judge_again(exchange)

        self.live.settle()
        return self.live.rejudge(self._touched(change), reason)

    def _touched(self, change: Change) -> Iterable[LiveExchange]:
        if change.everything or change.policy or change.groups:
            return self.live.all()
        found: dict[LiveExchange, None] = {}
        sessions = change.sessions | change.ended.keys()
        named = {device.uuid for each in change.devices if (device := self.view.devices.get(each)) is not None}
        if change.revoked:
            found.update(dict.fromkeys(each for each in self.live.all() if _shows(each, change.revoked)))
        for index, ids in (
            ("session", sessions), ("user", change.users), ("device", change.devices), ("certificate", named),
            ("app", change.apps),
        ):  # fmt: skip
            for each in ids:
                found.update(dict.fromkeys(self.live.find(index, each)))
        return found

    def _look(self) -> None:
        """Once a second: index what lives on, end all of it when the state is too old, else judge a share of it again.

        Posture and sign-ins age without any change that would tell.
        """
        self.live.settle()
        now = time.monotonic()
        for exchange in self.live.untold(now, self._settings.journal.progress_each):
            self._gate.progressed(exchange.verdict, exchange.outcome())
        age, limits = self.view.age(now), self._settings.timeouts
        if age > limits.stale_cut and len(self.live):
            self.live.cut_each(self.live.all(), Reason.STATE_STALE.value)
        if age > limits.stale_refuse:
            return  # nothing new is allowed, but what lives has until `stale_cut`
        self._turn += 1
        if share := self.live.share(self._turn, _ROUND):
            self.live.rejudge(share, self._judge_again)

    def _judge_again(self, exchange: LiveExchange) -> str:
        return self._gate.judge_again(exchange.request)

    def _report_use(self) -> None:
        self._gate.use.tunnelled(self.live.all(), self._gate.moment().wall)
        rates = {"shared_names": self._leasing.held, "unanswered": self._leasing.lapses}
        counted = {**self._gate.counts(), "rates": rates, "upstreams": self._pools.counted()}
        self._feed.report_use(self._gate.use.take(), counted)

    def _on_health(self, app_id: str, change: HealthChange) -> None:
        """Record that an upstream is left alone, or gets requests again; a failing journal counts it in its gap."""
        try:
            self._journal.append(health_record(app_id, change, self.name, self._gate.moment().wall), False, None)
        except JournalUnhealthy:
            self._gate.counters.completions_lost += 1

    def _flush_strangers(self) -> None:
        try:
            self._strangers.flush(self._gate.moment().wall)
        except JournalUnhealthy:
            LOG.warning("counts of anonymous refusals wait for the journal")

    def _on_loop_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback failed outside every request: tell and count it. What it was doing is refused or times out."""
        del loop
        self._gate.counters.internal_errors += 1
        LOG.error("%s", context.get("message", "fault in the loop"), exc_info=context.get("exception"))


def _shows(exchange: LiveExchange, buckets: AbstractSet[str]) -> bool:
    """Whether an exchange's certificate is one of those whose revocation may have changed."""
    certificate = exchange.request.peer.certificate
    return certificate is not None and bucket_of(certificate.authority, packed(certificate.serial)) in buckets


def _connections_that_fit(wanted: int) -> int:
    fitting = connections_that_fit(wanted)
    if fitting < wanted:
        LOG.warning(
            "RLIMIT_NOFILE leaves room for %d connections, expected %d (settings: limits.connections): raise"
            " LimitNOFILE= of the service, or lower the setting", fitting, wanted,
        )  # fmt: skip
    return fitting


def _journals(settings: Settings, name: str) -> tuple[Journal, BoundedJournal]:
    journal, stall = settings.journal, settings.timeouts.journal_stall
    return (
        Journal(
            settings.paths.journal, name, segment_bytes=journal.segment_bytes, segment_age=journal.segment_age,
            stall_limit=stall, reserve=journal.reserve(Writes.STAFF),
        ),
        BoundedJournal(
            settings.paths.journal, f"{name}.anonymous", total_bytes=journal.anonymous_total_bytes,
            segment_bytes=journal.segment_bytes, segment_age=journal.segment_age, stall_limit=stall,
            reserve=journal.reserve(Writes.STRANGERS),
        ),
    )  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Run one worker until it is told to stop."""
    parser = argparse.ArgumentParser(prog="gateway.worker")
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--place", type=int, default=0, help="which of the slot's journals is free")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = Settings.parse(child.settings_text(arguments.config), arguments.config)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        stop, retire = child.stop_event(loop), child.retire_event(loop)
        await Worker(settings, arguments.slot, loop, arguments.place).run(stop, retire)

    try:
        uvloop.run(serve())
    except CertificateFaults as faults:
        raise SystemExit(f"certificates that cannot be served:\n{faults}") from None


if __name__ == "__main__":
    main()
