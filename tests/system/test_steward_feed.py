"""The steward and its workers as real processes: what is answered has been seen everywhere, and survives kill -9."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import statistics
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from audit.receipt import Receipt, verify_receipt
from gateway.state.command import CommandRefused
from tests.support.feed_worker import CLOSED_EACH
from tests.support.steward_process import City, city, session, token_hash, user


def proven(made: City, text: str) -> Receipt:
    key = load_pem_public_key((made.root / "keys" / "receipts.pub").read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    return verify_receipt(text, key)


async def revoke(made: City, **selector: object) -> Receipt:
    answer = await made.client.call(
        "session.end", selector=selector, reason="session_revoked", message="情報政策課へ", by="ciso", why="test"
    )
    return proven(made, answer["receipt"])


@pytest.mark.promise("P3.answered-after-every-worker")
def test_a_revocation_is_answered_after_every_worker_closed_its_connections(tmp_path: Path) -> None:
    async def run() -> None:
        async with city(tmp_path) as made:
            workers = [await made.start_worker("worker-0"), await made.start_worker("worker-1")]
            await made.client.call("user.put", user=user().to_row())
            await made.client.call("session.start", session=session("a").to_row())
            assert [(await each.look())["sessions"] for each in workers] == [["a"], ["a"]]
            receipt = await revoke(made, user="u1")
            assert receipt.sessions == ("a",)
            assert receipt.closed == {"worker-0": CLOSED_EACH, "worker-1": CLOSED_EACH}
            assert receipt.fenced == ()
            assert receipt.durable_at <= receipt.last_ack_at < receipt.durable_at + 10.0
            assert [(await each.look())["sessions"] for each in workers] == [[], []]

    asyncio.run(run())


@pytest.mark.promise("P3.answered-after-every-worker")
def test_a_worker_that_drains_counts_beside_its_follower(tmp_path: Path) -> None:
    async def run() -> None:
        async with city(tmp_path) as made:
            for _ in range(2):
                await made.start_worker("worker-0")
            await made.client.call("user.put", user=user().to_row())
            await made.client.call("session.start", session=session("a").to_row())
            assert (await revoke(made, user="u1")).closed == {"worker-0": 2 * CLOSED_EACH}

    asyncio.run(run())


@pytest.mark.promise("P3.stuck-worker-fenced")
def test_a_stopped_worker_is_fenced_and_the_receipt_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with city(tmp_path) as made:
            await made.start_worker("worker-0")
            stuck = await made.start_worker("worker-1")
            await made.client.call("user.put", user=user().to_row())
            await made.client.call("session.start", session=session("a").to_row())
            os.kill(stuck.pid, signal.SIGSTOP)
            receipt = await revoke(made, sessions=["a"])
            assert receipt.fenced == ("worker-1",)
            assert receipt.closed == {"worker-0": CLOSED_EACH}
            assert await stuck.process.wait() == -signal.SIGKILL
            workers = (await made.client.call("status"))["workers"]
            assert [each["name"] for each in workers] == ["worker-0"]

    asyncio.run(run())


@pytest.mark.promise("P3.end-survives-kill")
def test_an_answered_end_survives_kill_of_the_steward(tmp_path: Path) -> None:
    async def run() -> None:
        async with city(tmp_path) as made:
            await made.client.call("user.put", user=user().to_row())
            for round_ in range(5):
                name = f"s{round_}"
                await made.client.call("session.start", session=session(name).to_row())
                await revoke(made, sessions=[name])
                await made.kill_steward()
                await made.start_steward()
                with pytest.raises(CommandRefused, match="session_ended"):
                    await made.client.call(
                        "session.elevate", id=name, token_hash=token_hash("x"), amr=[], acr="", mfa_method="", mfa_at=0
                    )
            assert (await made.client.call("status"))["sessions"] == 0

    asyncio.run(run())


def test_the_time_by_which_a_session_began_survives_a_kill_right_afterwards(tmp_path: Path) -> None:
    """The high-water mark was kept every two seconds only: what began between two of them could begin earlier again."""

    async def run() -> None:
        async with city(tmp_path) as made:
            await made.client.call("user.put", user=user().to_row())
            for name in ("a", "b", "c"):
                begun = (await made.client.call("session.start", session=session(name).to_row()))["created_at"]
                await made.kill_steward()
                with sqlite3.connect(made.root / "state" / "sekisho.db") as store:
                    ((mark,),) = store.execute("SELECT value FROM marks WHERE name = 'clock'").fetchall()
                assert json.loads(mark)["time"] >= begun
                await made.start_steward()

    asyncio.run(run())


@pytest.mark.promise("P3.end-reaches-returning-worker")
def test_a_worker_that_was_cut_off_learns_of_the_ends_that_it_missed(tmp_path: Path) -> None:
    """The feed is away while the session ends: the worker finds it in the difference to the new snapshot."""

    async def run() -> None:
        async with city(tmp_path) as made:
            await made.client.call("user.put", user=user().to_row())
            await made.client.call("session.start", session=session("a").to_row())
            worker = await made.start_worker("worker-0")
            os.kill(worker.pid, signal.SIGSTOP)
            await made.kill_steward()
            await made.start_steward(SEKISHO_RUNNING_WORKERS="")  # a steward that does not know of the worker
            await revoke(made, sessions=["a"])
            os.kill(worker.pid, signal.SIGCONT)
            said = await worker.line(everything=True)
            assert said["ended"] == {"a": "session_revoked"}

    asyncio.run(run())


@pytest.mark.promise("P3.worker-of-former-steward-counts")
def test_a_new_steward_counts_the_workers_of_the_former_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with city(tmp_path) as made:
            await made.client.call("user.put", user=user().to_row())
            await made.client.call("session.start", session=session("a").to_row())
            worker = await made.start_worker("worker-0")
            os.kill(worker.pid, signal.SIGSTOP)
            await made.kill_steward()
            await made.start_steward()
            receipt = await revoke(made, sessions=["a"])
            assert receipt.fenced == ("worker-0",)
            assert await worker.process.wait() == -signal.SIGKILL

    asyncio.run(run())


@pytest.mark.promise("P1.stopped-steward-ages")
def test_a_stopped_steward_makes_the_view_age(tmp_path: Path) -> None:
    async def run() -> None:
        async with city(tmp_path) as made:
            worker = await made.start_worker("worker-0")
            pid = (await made.client.call("status"))["pid"]
            os.kill(pid, signal.SIGSTOP)
            before = time.monotonic()
            stopped = (await worker.look())["age"]
            async with asyncio.timeout(30):
                while (age := (await worker.look())["age"]) < stopped + 1.0:  # noqa: ASYNC110 (the age has no event)
                    await asyncio.sleep(0.1)
            assert age - stopped <= time.monotonic() - before + 0.01  # rounded
            os.kill(pid, signal.SIGCONT)
            async with asyncio.timeout(30):
                while (await worker.look())["age"] > 1.1:  # noqa: ASYNC110 (the age has no event)
                    await asyncio.sleep(0.05)

    asyncio.run(run())


def test_asking_for_a_token_finds_live_ones_only(tmp_path: Path) -> None:
    async def run() -> None:
        async with city(tmp_path) as made:
            await made.client.call("user.put", user=user().to_row())
            await made.client.call("session.start", session=session("a").to_row())
            worker = await made.start_worker("worker-0")
            worker.say(f"ask {token_hash('a')}")
            assert (await worker.line())["found"] is True
            worker.say(f"ask {token_hash('nobody')}")
            assert (await worker.line())["found"] is False

    asyncio.run(run())


def test_revocations_are_fast(tmp_path: Path) -> None:
    """Two workers; the bound is generous for a busy machine, the figures are printed."""

    async def run() -> list[float]:
        taken: list[float] = []
        async with city(tmp_path) as made:
            for name in ("worker-0", "worker-1"):
                await made.start_worker(name)
            await made.client.call("user.put", user=user().to_row())
            for number in range(60):
                await made.client.call("session.start", session=session(f"s{number}").to_row())
                receipt = await revoke(made, sessions=[f"s{number}"])
                taken.append((receipt.last_ack_at - receipt.durable_at) * 1000)
        return taken

    taken = sorted(asyncio.run(run()))
    assert statistics.median(taken) < 1000
