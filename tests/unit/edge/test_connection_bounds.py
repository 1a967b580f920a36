"""Who is not let in, and that a worker which ran out of something lets people in again by itself."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import AsyncIterator
from itertools import count

import pytest
import uvloop

from gateway.edge import accepting
from gateway.edge.accepting import Acceptor, connections_that_fit
from gateway.edge.services import EdgeLimits
from tests.support.edge import Edge, hello, read_head, running
from tests.unit.edge.test_listeners import GET, answer_or_reset, proxy_header


async def held(edge: Edge) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that was answered and stays."""
    reader, writer = await edge.connect()
    writer.write(GET)
    await read_head(reader)
    return reader, writer


@pytest.mark.promise("P1.connections-are-bounded")
@pytest.mark.parametrize("bound", ["connections", "connections_per_zone", "connections_per_address"])
def test_one_connection_too_many_is_reset_counted_and_recorded(bound: str) -> None:
    async def main() -> None:
        async with running(hello, limits=EdgeLimits(**{bound: 2})) as edge:
            first, second = await held(edge), await held(edge)
            assert await answer_or_reset(edge, GET) == b""
            assert edge.services.reached == {bound: 1}
            assert edge.gatekeeper.refused == [("127.0.0.1", bound)]
            first[1].close()
            async with asyncio.timeout(30):
                while len(edge.listeners) > 1:  # noqa: ASYNC110  # the product has no event for it
                    await asyncio.sleep(0)
            assert (await answer_or_reset(edge, GET)).startswith(b"HTTP/1.1 200 ")
            second[1].close()

    uvloop.run(main())


def test_a_full_zone_leaves_room_for_the_others() -> None:
    async def main() -> None:
        async with running(hello, limits=EdgeLimits(connections_per_zone=1)) as edge:
            edge.gatekeeper.zones["127.0.0.1"] = "office"
            stays = await held(edge)
            assert await answer_or_reset(edge, GET) == b""
            edge.gatekeeper.zones["127.0.0.1"] = "telework"  # whose zone changes gives back the one it was counted in
            assert (await answer_or_reset(edge, GET)).startswith(b"HTTP/1.1 200 ")
            stays[1].close()
            async with asyncio.timeout(30):
                while len(edge.listeners):  # noqa: ASYNC110  # the product has no event for it
                    await asyncio.sleep(0)
            assert edge.listeners._by_zone == edge.listeners._by_address == {}

    uvloop.run(main())


def test_connections_of_a_front_count_before_they_say_for_whom() -> None:
    """Else a front that opens connections and says nothing could take every descriptor."""

    async def main() -> None:
        async with running(hello, listener="behind", limits=EdgeLimits(connections=2)) as edge:
            silent = [await edge.connect() for _ in range(2)]
            async with asyncio.timeout(30):
                while edge.listeners._prefaces < 2:  # noqa: ASYNC110  # the product has no event for it
                    await asyncio.sleep(0)
            assert await answer_or_reset(edge, proxy_header() + GET) == b""
            assert edge.services.reached == {"connections": 1}
            silent[0][1].close()
            async with asyncio.timeout(30):
                while edge.listeners._prefaces > 1:  # noqa: ASYNC110  # the product has no event for it
                    await asyncio.sleep(0)
            reader, writer = await edge.connect()
            writer.write(proxy_header() + GET)
            assert (await read_head(reader)).startswith(b"HTTP/1.1 200 ")
            assert (len(edge.listeners), edge.listeners._prefaces) == (2, 1)
            writer.close()
            silent[1][1].close()

    uvloop.run(main())


class Failing(socket.socket):
    """A listening socket whose next accept() fails."""

    fails_with = 0

    def accept(self) -> tuple[socket.socket, object]:
        failure, self.fails_with = self.fails_with, 0
        if failure:
            raise OSError(failure, os.strerror(failure))
        return super().accept()


@contextlib.asynccontextmanager
async def accepting_from(failing: Failing) -> AsyncIterator[tuple[list[socket.socket], list[str]]]:
    taken: list[socket.socket] = []
    failed: list[str] = []
    failing.bind(("127.0.0.1", 0))
    failing.setblocking(False)
    failing.listen()
    acceptor = Acceptor(asyncio.get_running_loop(), failing, taken.append, failed.append)
    acceptor.start()
    try:
        yield taken, failed
    finally:
        acceptor.stop()
        for each in taken:
            each.close()


@pytest.mark.promise("P1.exhaustion-recovers")
@pytest.mark.parametrize("failure", [errno.ENOMEM, errno.ENOBUFS, errno.EPROTO, errno.ENFILE])
def test_bug_a_worker_never_accepted_again_after_one_failure(failure: int) -> None:
    """A server of uvloop closes its socket without a word when accept() fails for want of memory."""

    async def main() -> None:
        failing = Failing()
        async with accepting_from(failing) as (taken, failed):
            failing.fails_with = failure
            sockets = []
            for number in count():
                client = socket.socket()
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.connect(failing.getsockname())
                sockets.append(client)
                if taken:
                    break
                await asyncio.sleep(accepting.RETRY / 4)
                assert number < 100
            assert failed == [errno.errorcode[failure]]
            for client in sockets:
                client.close()

    uvloop.run(main())


@pytest.mark.promise("P1.exhaustion-recovers")
def test_without_descriptors_connections_are_refused_and_accepting_goes_on() -> None:
    """The descriptor that is kept turns them away; the loop does not spin on a socket that stays readable."""

    async def main() -> None:
        failing = Failing()
        async with accepting_from(failing) as (taken, failed):
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            clients = [socket.socket() for _ in range(6)]
            filler: list[int] = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(socket.socket.fileno, clients)) + 10, limits[1]))
            try:
                with contextlib.suppress(OSError):
                    while True:
                        filler.append(os.open(os.devnull, os.O_RDONLY))
                for client in clients[:3]:
                    client.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        client.connect(failing.getsockname())
                async with asyncio.timeout(30):
                    with pytest.raises(ConnectionResetError):
                        await asyncio.get_running_loop().sock_recv(clients[0], 1)
                assert not taken
                assert set(failed) == {"EMFILE"}
                assert len(failed) < 20
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                for each in filler:
                    os.close(each)
            async with asyncio.timeout(30):
                for client in clients[3:]:
                    client.setblocking(False)
                    await asyncio.get_running_loop().sock_connect(client, failing.getsockname())
                while len(taken) < 3:  # noqa: ASYNC110  # the product has no event for it
                    await asyncio.sleep(0.01)
            for client in clients:
                client.close()

    uvloop.run(main())


def test_connections_fit_into_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may need one towards an app, and some are the worker's own."""
    limits, raised = (1024, 4096), []
    monkeypatch.setattr(accepting.resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(accepting.resource, "setrlimit", lambda _, new: raised.append(new))
    assert connections_that_fit(10_000) == (4096 - 128) // 2
    assert connections_that_fit(100) == 100
    assert raised == [(4096, 4096)]
    limits = (1024, resource.RLIM_INFINITY)
    assert connections_that_fit(10_000) == 10_000
    assert raised[1:] == [(20_128, resource.RLIM_INFINITY)]
    limits = (64, 64)
    assert connections_that_fit(10_000) == 1
