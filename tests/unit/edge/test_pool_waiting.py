"""Who waits for a connection is told, whatever happens to the connections of others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from gateway.edge.address import Upstream
from gateway.edge.held import HeldUpstream
from gateway.edge.pool import HealthChange, Pool
from gateway.edge.response import ResponseHead
from gateway.edge.services import EdgeTimeouts, UpstreamBounds
from gateway.edge.timeouts import Sweeper
from gateway.edge.upstream import UpstreamConnection
from policies.reasons import Reason
from tests.support.ports import free_port


class Asker:
    """A waiter that keeps what it is told."""

    def __init__(self) -> None:
        self.connection: UpstreamConnection | None = None
        self.reused = False
        self.refused: tuple[int, Reason] | None = None
        self.told = asyncio.Event()

    def upstream_ready(self, connection: UpstreamConnection, reused: bool) -> None:
        self.connection, self.reused = connection, reused
        self.told.set()

    def upstream_refused(self, status: int, reason: Reason) -> None:
        self.refused = (status, reason)
        self.told.set()

    async def got(self) -> UpstreamConnection:
        async with asyncio.timeout(30):
            await self.told.wait()
        assert self.connection is not None, self.refused
        return self.connection


class Clock:
    """Time that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def pool_to(
    port: int, clock: Clock, kind: type[Pool] = Pool, **bounds: float
) -> AsyncIterator[tuple[Pool, Sweeper, list[HealthChange]]]:
    """A pool with these bounds in virtual time."""
    changes: list[HealthChange] = []
    sweeper = Sweeper(clock)
    granted = UpstreamBounds(**bounds)  # type: ignore[arg-type]  # counts and seconds alike
    pool = kind(Upstream.parse(f"http://127.0.0.1:{port}"), EdgeTimeouts(), sweeper, granted, changes.append)
    try:
        yield pool, sweeper, changes
    finally:
        pool.close()


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[int]:
    """An app that takes connections and says nothing."""
    taken: list[asyncio.StreamWriter] = []  # else Python 3.13 closes what nobody refers to
    server = await asyncio.start_server(lambda _reader, writer: taken.append(writer), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.promise("P1.every-waiter-is-told")
def test_who_waits_too_long_is_told_that_it_is_busy() -> None:
    async def main() -> None:
        clock = Clock()
        async with (
            listening() as port,
            pool_to(port, clock, connections=1, queue=2, queue_wait=3.0) as (pool, sweeper, _),
        ):
            first, second, third, fourth = (Asker() for _ in range(4))
            pool.acquire(first)
            connection = await first.got()
            for asker in (second, third):
                pool.acquire(asker)
                clock.now += 1.0
                sweeper.sweep()
            pool.acquire(fourth)
            assert fourth.refused == (503, Reason.OVERLOADED)  # at once: the queue is full
            assert (second.refused, pool.load) == (None, 3)
            clock.now += 1.0
            sweeper.sweep()
            assert second.refused == (503, Reason.OVERLOADED)
            assert third.refused is None
            pool.release(connection)
            assert await third.got() is connection
            assert third.reused
            assert (pool.counts.waited, pool.counts.refused, pool.counts.reused) == (2, 2, 1)

    uvloop.run(main())


def test_who_would_wait_too_long_is_told_on_arrival() -> None:
    """An app that has time for one request a second: no more may wait than have their turn within 10 s."""

    async def main() -> None:
        clock = Clock()
        async with (
            listening() as port,
            pool_to(port, clock, connections=1, queue=1000, queue_wait=10.0) as (pool, sweeper, _),
        ):
            working = Asker()
            pool.acquire(working)
            await working.got()
            waiting: list[Asker] = []
            longest = 0.0
            for second in range(60):
                arrived = [Asker() for _ in range(5)]
                for asker in arrived:
                    pool.acquire(asker)
                waiting += [asker for asker in arrived if asker.refused is None]
                if second > 20:  # the first ones could not be told: nobody knew yet how slow it is
                    assert len(waiting) <= 9
                clock.now += 1.0
                sweeper.sweep()
                waiting = [asker for asker in waiting if asker.refused is None]
                assert working.connection is not None
                pool.release(working.connection)
                working = next(asker for asker in waiting if asker.connection is not None)
                waiting.remove(working)
                longest = max(longest, float(len(waiting)))
            assert longest >= 7  # nobody is refused who would be served
            assert pool.counts.reused == 60

    uvloop.run(main())


@pytest.mark.promise("P1.every-waiter-is-told")
@pytest.mark.parametrize("waiting", [1, 5])
def test_no_waiter_is_stranded_where_connections_fail(waiting: int) -> None:
    async def main() -> None:
        port = free_port()
        async with pool_to(port, Clock(), connections=1, breaker_failures=100) as (pool, _, _):
            askers = [Asker() for _ in range(1 + waiting)]
            for asker in askers:
                pool.acquire(asker)
            async with asyncio.timeout(30):
                for asker in askers:
                    await asker.told.wait()
            assert [asker.refused for asker in askers] == [(502, Reason.APP_UNREACHABLE)] * len(askers)
            assert (pool.load, pool.counts.failed) == (0, len(askers))

    uvloop.run(main())


class Losing(Pool):
    """Its connections are gone as soon as they are made."""

    async def _dial(self, connection: UpstreamConnection) -> None:
        await super()._dial(connection)
        assert connection.transport is not None
        connection.transport.abort()
        connection.transport = None


@pytest.mark.promise("P1.every-waiter-is-told")
def test_a_connection_lost_as_it_was_made_strands_nobody() -> None:
    """It used to tell its own waiter only: those behind it waited for their time limit."""

    async def main() -> None:
        bounds = {"connections": 1, "breaker_failures": 100}
        async with listening() as port, pool_to(port, Clock(), Losing, **bounds) as (pool, _, _):
            askers = [Asker() for _ in range(3)]
            for asker in askers:
                pool.acquire(asker)
            async with asyncio.timeout(30):
                for asker in askers:
                    await asker.told.wait()
            assert [asker.refused for asker in askers] == [(502, Reason.APP_UNREACHABLE)] * 3

    uvloop.run(main())


def test_a_host_name_that_no_resolver_takes_is_an_unreachable_app() -> None:
    """It used to end the task with a UnicodeError: nobody was told."""

    async def main() -> None:
        faults: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        pool = Pool(Upstream.parse(f"http://{'x' * 64}.test:80"), EdgeTimeouts(), Sweeper(time.monotonic))
        asker = Asker()
        pool.acquire(asker)
        async with asyncio.timeout(30):
            await asker.told.wait()
        assert asker.refused == (502, Reason.APP_UNREACHABLE)
        assert pool.load == 0

    uvloop.run(main())


def test_the_connection_of_a_waiter_that_left_goes_to_the_next() -> None:
    async def main() -> None:
        async with listening() as port, pool_to(port, Clock(), connections=1) as (pool, _, _):
            gone, queued, after = Asker(), Asker(), Asker()
            pool.acquire(gone)
            pool.acquire(queued)
            pool.acquire(after)
            pool.cancel(queued)
            pool.release(await gone.got())  # as an exchange does whose client left meanwhile
            assert await after.got() is gone.connection
            assert not queued.told.is_set()
            assert pool.counts.opened == 1

    uvloop.run(main())


def test_who_wants_a_fresh_connection_gets_no_used_one_from_the_queue() -> None:
    """NTLM authenticates a connection (RFC 4559): it must not begin on one that served somebody else."""

    async def main() -> None:
        async with listening() as port, pool_to(port, Clock(), connections=1) as (pool, _, _):
            first, fresh = Asker(), Asker()
            pool.acquire(first)
            used = await first.got()
            pool.acquire(fresh, fresh=True)
            pool.release(used)
            assert await fresh.got() is not used
            assert not fresh.reused

    uvloop.run(main())


def test_who_wants_a_fresh_connection_has_one_made_room_for_where_all_are_idle() -> None:
    async def main() -> None:
        async with listening() as port, pool_to(port, Clock(), connections=1) as (pool, _, _):
            first, fresh = Asker(), Asker()
            pool.acquire(first)
            idle = await first.got()
            pool.release(idle)
            pool.acquire(fresh, fresh=True)
            assert await fresh.got() is not idle

    uvloop.run(main())


def test_bug_people_signed_in_by_ntlm_left_no_room_for_others() -> None:
    """Their connections are theirs for as long as they stay: they count as no requests at work."""

    async def main() -> None:
        async with listening() as port, pool_to(port, Clock(), connections=1) as (pool, _, _):
            first, second = Asker(), Asker()
            pool.acquire(first)
            theirs = await first.got()
            verdict: Any = SimpleNamespace(app=SimpleNamespace(id="docs"), app_session_id="one")
            head = ResponseHead((401, "1.1"), b"", {b"www-authenticate": b"NTLM"})
            held = HeldUpstream()
            held.answered(verdict, cast("Any", None), head, theirs, pool)
            pool.acquire(second)
            assert await second.got() is not theirs
            assert held.take(verdict) == (theirs, pool)
            pool.close()
            assert held.take(verdict) is None  # nor to a server that was taken away

    uvloop.run(main())


def test_nobody_is_led_to_a_server_that_was_taken_away() -> None:
    """Neither who asks then, nor whoever was being connected."""

    async def main() -> None:
        async with listening() as port, pool_to(port, Clock()) as (pool, _, _):
            connecting, late = Asker(), Asker()
            pool.acquire(connecting)
            pool.close()
            pool.acquire(late)
            for asker in (connecting, late):
                async with asyncio.timeout(30):
                    await asker.told.wait()
                assert asker.refused == (503, Reason.APP_UNREACHABLE)

    uvloop.run(main())


@pytest.mark.promise("P1.dead-app-is-told-at-once")
def test_an_app_that_is_down_is_told_at_once_and_who_waits_for_it_too() -> None:
    async def main() -> None:
        clock, port = Clock(), free_port()
        async with pool_to(port, clock, connections=3, breaker_first=5.0) as (pool, _, changes):
            askers = [Asker() for _ in range(8)]
            for asker in askers:
                pool.acquire(asker)
            async with asyncio.timeout(30):
                for asker in askers:
                    await asker.told.wait()
            assert pool.counts.failed <= 5  # three, and what two failures before the third began
            later = Asker()
            pool.acquire(later)
            assert later.refused == (503, Reason.APP_UNREACHABLE)  # before acquire returned
            ((_, reason, failures, seconds),) = changes
            assert (reason, failures, seconds) == (Reason.APP_UNREACHABLE, 3, 5.0)
            clock.now += 5.0
            probe, beside = Asker(), Asker()
            pool.acquire(probe)
            pool.acquire(beside)
            assert not probe.told.is_set()
            assert beside.refused == (503, Reason.APP_UNREACHABLE)
            async with asyncio.timeout(30):
                await probe.told.wait()
            assert probe.refused == (502, Reason.APP_UNREACHABLE)
            assert len(changes) == 1  # a probe that fails changes nothing

    uvloop.run(main())


def test_the_idle_connections_of_an_upstream_that_is_left_alone_are_not_used_again() -> None:
    async def main() -> None:
        clock = Clock()
        async with listening() as port, pool_to(port, clock) as (pool, _, changes):
            asker = Asker()
            pool.acquire(asker)
            pool.release(await asker.got())
            for _ in range(3):
                pool.failed(Reason.APP_TIMED_OUT, clock.now, reached=False)
            clock.now += 60.0
            probe = Asker()
            pool.acquire(probe)
            assert await probe.got() is not asker.connection
            pool.answered(clock.now)
            assert [change.reason for change in changes] == [Reason.APP_TIMED_OUT, None]

    uvloop.run(main())


def test_the_first_upstream_to_be_asked_again_says_for_how_long_an_app_is_left_alone() -> None:
    async def main() -> None:
        clock = Clock()
        async with pool_to(1, clock) as (pool, _, _), pool_to(2, clock) as (other, _, _):
            pool.others, other.others = (other,), (pool,)
            for _ in range(3):
                pool.failed(Reason.APP_TIMED_OUT, clock.now, reached=False)
            assert pool.breaker.open
            assert pool.left_alone() == other.left_alone() == 0.0  # the other one is asked
            clock.now += 0.25
            for _ in range(3):
                other.failed(Reason.APP_TIMED_OUT, clock.now, reached=False)
            first = pool.breaker.until - clock.now
            assert 0 < first < other.breaker.until - clock.now
            assert pool.left_alone() == other.left_alone() == first
            clock.now += first
            assert pool.left_alone() == 0.0  # a request may probe it

    uvloop.run(main())


@pytest.mark.parametrize(("reached", "alone", "left"), [(True, True, False), (True, False, True), (False, True, True)])
def test_bad_answers_never_shut_the_last_upstream(reached: bool, alone: bool, left: bool) -> None:
    """One broken page, asked for three times, must not stop an app for everybody."""

    async def main() -> None:
        clock = Clock()
        async with pool_to(1, clock) as (pool, _, _), pool_to(2, clock) as (other, _, _):
            pool.others = () if alone else (other,)
            for _ in range(5):
                pool.failed(Reason.APP_ANSWER_INVALID, clock.now, reached=reached)
            assert pool.breaker.open is left

    uvloop.run(main())
