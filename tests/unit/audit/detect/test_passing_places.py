"""Of requests that pass as many before them only the place is looked at: every finding is that of the whole record."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.checkpoint import generate
from audit.detect.detection import Detection
from audit.detect.engine import Engine
from audit.detect.signal import Kind, Signal
from audit.event import timestamp
from audit.segment import GENESIS, SALT, encode_all, head, name_of
from tests.support.trails import Trail

T0 = 1_790_000_000.0
EDGE = "Mozilla/5.0 (Windows NT 10.0) Edg/154.0.1"

Written = tuple[bytes, bytes]


def passed(at: float, session: str = "s1", address: str = "10.1.2.3", agent: str = "", **shared: Any) -> Written:
    """A decision as a worker writes it: members that others have too, then its own."""
    members = {
        "event.action": "request.decided", "user.id": "u1", "user.name": "sato", "sekisho.session.id": session,
        "event.outcome": "success", "sekisho.verdict": "forward", "source.ip": address, "sekisho.reason": "allowed",
        **{name.replace("__", "."): value for name, value in shared.items()},
    }  # fmt: skip
    own = {"@timestamp": timestamp(at), "http.request.id": f"R{at}", "url.path": "/"}
    return orjson.dumps(members)[1:-1] + b",", orjson.dumps(own | ({"user_agent.original": agent} if agent else {}))


def told(at: float, action: str, session: str = "s1", **fields: Any) -> Written:
    """A record that has nothing in common with others."""
    return b"", orjson.dumps({
        "@timestamp": timestamp(at), "event.action": action, "sekisho.session.id": session, "user.id": "u1",
        "user.name": "sato", "source.ip": "10.1.2.3", "user_agent.original": EDGE,
        **{name.replace("__", "."): value for name, value in fields.items()},
    })  # fmt: skip


def written(root: Path, writer: str, records: list[Written]) -> None:
    lines, _ = encode_all(head(writer, 1), 1, GENESIS.hex().encode(), bytes(SALT * len(records)), records)
    (root / writer).mkdir(parents=True)
    (root / writer / name_of(1, 1, "jsonl")).write_bytes(lines)


class Whole(Engine):
    """An engine that reads every record whole."""

    def _place(self, members: bytes) -> None:
        del members


def run(engine: Engine) -> tuple[list[Signal], list[Any]]:
    signals: list[Signal] = []
    while True:
        taken, found = engine.poll()
        signals += found
        if not taken:
            return signals, [orjson.loads(orjson.dumps(each.snapshot())) for each in engine._detectors]


sessions = st.sampled_from(["s1", "s2", ""])
addresses = st.sampled_from(["10.1.2.3", "10.1.9.9", "203.0.113.9", "2001:db8::1", "none"])
agents = st.sampled_from(["", "", EDGE, "curl/8.5.0"])
kinds = st.sampled_from([
    {}, {}, {}, {"sekisho__reason": "device_changed"}, {"event__outcome": "failure"}, {"user__id": ""},
    {"sekisho__verdict": "local"}, {"user_agent__original": "curl/8.5.0"}, {"source__ip": None}, {"user__id": 5},
])  # fmt: skip
steps = st.floats(0, 90)
records = st.one_of(
    st.builds(lambda *of: ("passed", *of), sessions, addresses, agents, kinds),
    st.builds(lambda session: ("session.started", session), sessions),
    st.builds(lambda session: ("request.completed", session), sessions),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.tuples(steps, records), max_size=25), min_size=1, max_size=2))
def test_findings_and_state_are_those_of_whole_records(drawn: list[list[tuple[float, tuple[Any, ...]]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number, each in enumerate(drawn):
            at, made = T0, list[Written]()
            for step, (kind, session, *more) in each:
                at += step
                if kind == "passed":
                    address, agent, shared = more
                    made.append(passed(at, session, address, agent, **shared))
                else:
                    made.append(told(at, kind, session))
            written(root, f"worker-{number}", made)
        assert run(Engine(root, root / "state")) == run(Whole(root, root / "state"))


def test_two_networks_in_turn_are_found_among_ordinary_requests(tmp_path: Path) -> None:
    far = "203.0.113.9"
    made = [told(T0, "session.started")]
    made += [passed(T0 + number, address=far if number // 10 % 2 else "10.1.2.3") for number in range(60)]
    written(tmp_path, "worker-0", made)

    signals, _ = run(Engine(tmp_path, tmp_path / "state"))

    assert [signal.kind for signal in signals] == [Kind.SESSION_ON_TWO_ADDRESSES]


def test_ordinary_requests_are_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = told(T0 + 99, "request.completed")
    completed = (b'"event.action":"request.completed",', ended[1])
    written(tmp_path, "worker-0", [told(T0, "session.started"), *(passed(T0 + 1) for _ in range(50)), completed])
    whole: list[bytes] = []
    real = orjson.loads

    def loads(data: bytes) -> Any:
        whole.append(data)
        return real(data)

    monkeypatch.setattr("audit.segment.orjson.loads", loads)

    run(Engine(tmp_path, tmp_path / "state"))

    assert len([data for data in whole if b"request.decided" in data or b"request.completed" in data]) <= 1


@pytest.mark.promise("P6.detection-keeps-up")
def test_what_stands_in_the_journals_is_judged_without_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause between two looks at a journal that has more would let detection fall behind a busy worker for ever."""
    padding = "x" * 2500
    made = [passed(T0 + number / 100, padding=padding) for number in range(4000)]  # ten megabytes
    trail = Trail(tmp_path / "journal", tmp_path / "log", generate("log.example"))
    written(trail.journals, "worker-0", made)
    looks: list[int] = []
    real_sleep = asyncio.sleep

    class Watched(Engine):  # a class of the compiled copy cannot be changed
        def poll(self) -> tuple[int, list[Signal]]:
            found = super().poll()
            looks.append(found[0])
            return found

    async def until_a_pause() -> None:
        paused = asyncio.Event()

        async def sleep(seconds: float) -> None:
            paused.set()
            await real_sleep(seconds)

        monkeypatch.setattr("audit.detect.detection.asyncio.sleep", sleep)
        monkeypatch.setattr("audit.detect.detection.Engine", Watched)
        detection = Detection(trail.journals, tmp_path / "detect.json", None, lambda: T0)  # type: ignore[arg-type]
        task = asyncio.create_task(detection.run())
        async with asyncio.timeout(30):
            await paused.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(until_a_pause())

    assert sum(looks) == 4000
