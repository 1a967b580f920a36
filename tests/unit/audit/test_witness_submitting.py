"""The auditor's side of witnessing, against a real server on loopback: cosigned, refused, false, silent, back again."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from audit.checkpoint import Checkpoint, cosigned, generate, generate_cosigner, with_line
from audit.log import TileLog
from audit.witness import submitting
from audit.witness.client import Conflict, Cosigned, Declined, Place, Unreachable
from audit.witness.memory import Witness
from audit.witness.server import application
from audit.witness.submitting import Submitting, judged
from audit.witnesses import Standing, State, standings

NOW = 1_700_000_000.0
SIGNER = generate("log.example/audit")
COSIGNER = generate_cosigner("w.example")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Bench:
    """A growing log, what the task reported, and how to wait for it."""

    folder: Path
    attached: list[tuple[str, str]] = field(default_factory=list)
    changes: list[Standing] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def grow(self, size: int, forge: bytes = b"") -> str:
        """Grow the log to `size` leaves and return its signed note."""
        size_now = int((self.folder / "size").read_text()) if (self.folder / "size").exists() else 0
        tiles = TileLog(self.folder / "log", size_now)
        for at in range(size_now, size):
            tiles.append((b"%d" % at + forge).ljust(32, b"."))
        tiles.flush()
        (self.folder / "size").write_text(str(size))
        return SIGNER.sign(Checkpoint(SIGNER.name, size, tiles.root()))

    def task(self, url: str) -> Submitting:
        async def changed(standing: Standing) -> None:
            self.changes.append(standing)
            self.grown.set()

        def attach(note: str, line: str) -> None:
            self.attached.append((note, line))
            self.grown.set()

        place = Place(url, COSIGNER.verifier)
        (self.folder / "state").mkdir(exist_ok=True)
        return Submitting(self.folder / "log", self.folder / "state", [place], attach, changed, lambda: NOW)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.grown.clear()
                await self.grown.wait()

    @property
    def states(self) -> list[State]:
        return [each.state for each in self.changes]


def looped(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an asynchronous test in a loop of its own."""

    @functools.wraps(test)
    def run(*given: Any, **named: Any) -> None:
        async def whole() -> None:
            await test(*given, **named)

        asyncio.run(whole())

    return run


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The log, with pauses short enough for a test."""
    monkeypatch.setattr(submitting, "_PACE", 0.01)
    monkeypatch.setattr(submitting, "_SOONEST", 0.01)
    return Bench(tmp_path)


@asynccontextmanager
async def running(task: Submitting) -> AsyncIterator[None]:
    runner = asyncio.create_task(task.run())
    try:
        yield
    finally:
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def witnessed(folder: Path) -> AsyncIterator[str]:
    witness = Witness(folder, COSIGNER, {SIGNER.name: [SIGNER.verifier]})
    try:
        async with served(application(witness, lambda: NOW)) as url:
            yield url
    finally:
        witness.close()


@looped
async def test_each_checkpoint_is_cosigned_with_the_proof_from_the_last(bench: Bench, tmp_path: Path) -> None:
    async with witnessed(tmp_path / "w") as url:
        task = bench.task(url)
        async with running(task):
            for size in (1, 5, 300, 700):
                note = bench.grow(size)
                task.checkpoint(note)
                await bench.until(lambda size=size: len(bench.attached) > 0 and f"\n{size}\n" in bench.attached[-1][0])
                signed, line = bench.attached[-1]
                assert cosigned(with_line(signed, line), COSIGNER.verifier) == int(NOW)
        assert bench.states == [State.COSIGNING]  # told once
        (standing,) = standings(tmp_path / "state")
        assert (standing.size, standing.time, standing.state) == (700, int(NOW), State.COSIGNING)
        again = bench.task(url)  # after a restart it goes on from what it knew
        async with running(again):
            again.checkpoint(bench.grow(701))
            await bench.until(lambda: "\n701\n" in bench.attached[-1][0])
        assert bench.states == [State.COSIGNING]


@looped
async def test_a_log_that_lost_its_own_knowledge_is_told_the_size(bench: Bench, tmp_path: Path) -> None:
    async with witnessed(tmp_path / "w") as url:
        for size in (300, 555):
            (tmp_path / "state" / "witnesses.json").unlink(missing_ok=True)
            task = bench.task(url)
            async with running(task):
                task.checkpoint(bench.grow(size))
                await bench.until(lambda size=size: bool(bench.attached) and f"\n{size}\n" in bench.attached[-1][0])


@pytest.mark.promise("P5.witness-refuses-rollback")
@looped
async def test_a_rolled_back_log_and_a_forked_one_are_named(bench: Bench, tmp_path: Path) -> None:
    async with witnessed(tmp_path / "w") as url:
        task = bench.task(url)
        async with running(task):
            task.checkpoint(bench.grow(300))
            await bench.until(lambda: len(bench.attached) == 1)
        restored = Bench(tmp_path / "restored")
        restored.folder.mkdir()
        task = restored.task(url)
        async with running(task):
            task.checkpoint(restored.grow(200))
            await restored.until(lambda: State.ROLLED_BACK in restored.states)
            assert "300" in restored.changes[-1].detail
            task.checkpoint(restored.grow(300, forge=b"!"))
            await restored.until(lambda: restored.states.count(State.FORKED) == 1)
            task.checkpoint(restored.grow(301))
            await asyncio.sleep(0.1)
        assert restored.states == [State.ROLLED_BACK, State.FORKED]
        assert restored.attached == []


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, "— w.example AAAA\n", State.FALSE),
        (200, "", State.FALSE),
        (200, "<html>sign in</html>", State.FALSE),
        (200, generate_cosigner("w.example").cosign(Checkpoint(SIGNER.name, 5, bytes(32)), 1), State.FALSE),
        (200, COSIGNER.cosign(Checkpoint(SIGNER.name, 5, bytes(32)), 1), State.FALSE),
        (200, "x" * 100_000, State.UNREACHABLE),
        (302, "", State.DECLINING),
        (403, "key", State.UNKNOWN),
        (404, "log", State.UNKNOWN),
        (409, "many", State.DECLINING),
        (409, "3\n", State.DECLINING),
        (500, "disk", State.DECLINING),
    ],
)
@looped
async def test_what_a_bad_witness_answers_is_told_and_asked_again(
    bench: Bench, status: int, body: str, state: State
) -> None:
    asked = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        bench.grown.set()
        return web.Response(status=status, text=body, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_post("/add-checkpoint", handler)
    async with served(app) as url:
        task = bench.task(url)
        async with running(task):
            task.checkpoint(bench.grow(5))
            await bench.until(lambda: asked >= 3 and bool(bench.changes))
    assert bench.states == [state]
    assert bench.attached == []


@looped
async def test_a_silent_witness_is_asked_later_and_later_and_taken_up_again(bench: Bench, tmp_path: Path) -> None:
    async with witnessed(tmp_path / "w") as url:
        port = int(url.rstrip("/").rpartition(":")[2])
    task = bench.task(f"http://127.0.0.1:{port}")
    async with running(task):
        task.checkpoint(bench.grow(5))
        await bench.until(lambda: bench.states == [State.UNREACHABLE])
        witness = Witness(tmp_path / "w", COSIGNER, {SIGNER.name: [SIGNER.verifier]})
        runner = web.AppRunner(application(witness, lambda: NOW))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await bench.until(lambda: len(bench.attached) == 1)
        await bench.until(lambda: bench.states == [State.UNREACHABLE, State.COSIGNING])
        await runner.cleanup()
        witness.close()


def test_each_answer_has_its_state() -> None:
    checkpoint = Checkpoint("log.example", 7, bytes(32))
    assert [
        judged(answer, checkpoint)[0]
        for answer in (
            Cosigned("", 1), Conflict(9), Conflict(7), Conflict(3), Declined(422, ""), Declined(403, ""),
            Declined(500, ""), Declined(200, ""), Unreachable(""),
        )
    ] == [
        State.COSIGNING, State.ROLLED_BACK, State.FORKED, State.DECLINING, State.FORKED, State.UNKNOWN,
        State.DECLINING, State.FALSE, State.UNREACHABLE,
    ]  # fmt: skip
