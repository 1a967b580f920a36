"""A worker that has no descriptor left: it turns new connections away, serves those it has, and recovers by itself."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from pathlib import Path

import pytest

from tests.support.running_city import HOST, RunningCity, running_city


async def counted(city: RunningCity, name: str) -> int:
    """How often the workers say that something held a connection back."""
    workers = (await city.steward.call("status"))["workers"]
    return sum(worker["counters"].get("reached", {}).get(name, 0) for worker in workers)


def highest_descriptor(pid: int) -> int:
    return max(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.one_stack
@pytest.mark.promise("P1.exhaustion-recovers")
def test_a_worker_without_descriptors_refuses_and_recovers(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_city(tmp_path, SEKISHO_WORKERS__COUNT="1") as city:
            await city.furnish()
            pid = city.pid("worker-0")
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            assert soft >= min(hard, 20_000)  # raised for 10,000 connections, each with one to an app
            opened: list[asyncio.StreamWriter] = []
            async with city.client() as client:
                async with client.get("/before") as answer:
                    assert answer.status == 200
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest_descriptor(pid) + 3, hard))
                host, port = city.status["listeners"]["loopback"].rsplit(":", 1)
                ended = 0
                async with asyncio.timeout(60):
                    while ended < 5:
                        with contextlib.suppress(ConnectionError):
                            reader, writer = await asyncio.open_connection(host, int(port))
                            opened.append(writer)
                            with contextlib.suppress(TimeoutError):
                                assert await asyncio.wait_for(reader.read(1), 0.3) == b""
                                ended += 1
                            continue
                        ended += 1
                    while not await counted(city, "EMFILE"):  # noqa: ASYNC110  # workers report, nobody tells
                        await asyncio.sleep(0.2)
                async with client.get("/meanwhile") as answer:
                    assert answer.status == 200
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            async with city.client() as client, asyncio.timeout(60):
                while True:
                    with contextlib.suppress(OSError):
                        async with client.get("/after", headers={"Host": HOST}) as answer:
                            assert answer.status == 200
                        break
            for writer in opened:
                writer.close()
            assert city.pid("worker-0") == pid
        refused = [each for each in city.records() if each["event.action"] == "connection.refused"]
        assert "EMFILE" in {each["error.message"] for each in refused}

    asyncio.run(run())
