"""How long a CISO waits for an answer from the embedded index: the ten questions of docs/questions.md.

`python -m benchmarks.searching [--events N] [--rounds N]`. A synthetic city's journal is written and indexed by the
real writer (`build`: events a second of CPU); its Parquet file is then repeated with other times, numbers and paths
until there are N events over a year. Each question is asked as control asks it, by a process of its own; the figure is
the wall time from start to last answer, p50 and p95 over all questions and rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson

from audit.event import Action, event, short
from audit.index.files import COLUMNS, Manifest, load, save
from audit.index.writer import FORMAT, IndexWriter
from audit.segment import GENESIS, encode_all, head
from benchmarks import progress

ROOT: Final = Path(__file__).parents[1]
BASE: Final = 40_000  # requests that are really written and indexed
YEAR: Final = 365 * 86_400.0
END: Final = 1_763_784_000.0
_FILE: Final = 500_000  # events of one repeated file
_PEOPLE: Final = 800


@dataclass(frozen=True)
class Searched:
    """Milliseconds of wall time, and the index's own figures."""

    events: int
    p50_ms: float
    p95_ms: float
    slowest: str
    build_per_second: float
    bytes_per_event: float


def requests() -> Iterator[dict[str, Any]]:
    """Yield the records of `BASE` requests, the last ones at `END`."""
    draw = random.Random(4)  # noqa: S311 (synthetic load)
    facts = {
        "user.kind": "staff", "user.department": "住民課", "mfa.amr": ["mfa", "otp", "pwd"], "app.sensitivity": "3A",
        "device.known": True, "device.compliant": True, "device.os": "Windows", "device.os_version": "10.0.22631",
    }  # fmt: skip
    for number in range(BASE):
        person, at, refused = draw.randrange(_PEOPLE), END - (BASE - number) * 0.2, draw.random() < 0.02
        fields = {
            "http.request.id": f"Q{number:015d}", "user.id": f"u{person}", "user.name": f"user{person}",
            "user.group.name": ["shokuin", "juumin"], "sekisho.session.id": f"s{person}-{number // 9000}",
            "sekisho.app.id": f"app{draw.randrange(20)}", "device.id": f"d{person}", "url.domain": "juki.example.jp",
            "source.ip": f"10.1.{person % 200}.{person % 250}", "http.request.method": "GET",
            "url.path": f"/juki/{draw.randrange(100_000)}", "user_agent.original": "Mozilla/5.0 (Windows NT 10.0)",
            "sekisho.verdict": "refuse" if refused else "forward", "event.outcome": "failure" if refused else "success",
            "sekisho.reason": f"reason{number % 7}" if refused else "allowed", "rule.id": f"rule{number % 40}",
            "sekisho.policy.hash": "ab" * 32, "sekisho.zone": "office",
            "sekisho.facts": {**facts, "posture.read_age": number % 900, "posture.seen_age": draw.randrange(9000)},
        }  # fmt: skip
        yield short(event(Action.REQUEST_DECIDED, at, fields))
        if not refused:
            ended = {
                "http.request.id": fields["http.request.id"], "http.response.status_code": 200,
                "http.response.body.bytes": draw.randrange(90_000), "event.duration": draw.randrange(10**9),
            }  # fmt: skip
            yield short(event(Action.REQUEST_COMPLETED, at + 0.1, ended))


def built(folder: Path) -> float:
    """Write the journal and index it; return the CPU seconds that indexing took."""
    journal = folder / "journal" / "worker-0"
    journal.mkdir(parents=True)
    lines = [(b"", orjson.dumps(record)) for record in requests()]
    prev = GENESIS.hex().encode()
    for start in range(0, len(lines), 10_000):
        part = lines[start : start + 10_000]
        data, prev = encode_all(head("worker-0", 1), start + 1, prev, os.urandom(16 * len(part)), part)
        (journal / f"000001-{start + 1:012d}.jsonl").write_bytes(data)
    begun = time.process_time()
    writer = IndexWriter(folder / "journal", folder / "index")
    while writer.poll(END):
        pass
    writer.flush()
    return time.process_time() - begun


def repeated(folder: Path, events: int) -> int:
    """Repeat what is indexed until there are `events`, over a year; return how many there are."""
    index = folder / "index"
    manifest = load(index)
    (base,) = (str(index / name) for name, _, _ in manifest.files)
    span, made = BASE * 0.2, [manifest.files[0]]
    copies = max(0, events // BASE - 1)
    step = max(span, (YEAR - span) / max(1, copies))
    per_file = _FILE // BASE
    for first in range(1, copies + 1, per_file):
        last = min(first + per_file, copies + 1)
        name = f"repeated-{first:06d}.parquet"
        with duckdb.connect() as database:
            database.execute("SET threads = 1")
            database.execute(_repetition(base, index / name, first, last, step))
            ends = database.execute("SELECT min(ts), max(ts) FROM read_parquet(?)", [str(index / name)]).fetchall()
        made.append((name, *ends[0]))
    save(index, Manifest(tuple(made), manifest.links, manifest.open_requests, manifest.made))
    return BASE * (copies + 1)


def _repetition(base: str, target: Path, first: int, last: int, step: float) -> str:
    path, request = COLUMNS["url.path"], COLUMNS["http.request.id"]
    moved = f"strftime(ts::TIMESTAMP - to_milliseconds(CAST(k * {step * 1000:.0f} AS BIGINT)), '%Y-%m-%dT%H:%M:%S.%gZ')"
    return f"""COPY (
        SELECT * EXCLUDE (k) REPLACE (
            {moved} AS ts, seq - k * 1000000 AS seq, {path} || '-' || k AS {path}, {request} || '-' || k AS {request},
            replace(replace(replace(event, ts, {moved}), '"' || {path} || '"', '"' || {path} || '-' || k || '"'),
                '"' || {request} || '"', '"' || {request} || '-' || k || '"') AS event
        ) FROM read_parquet('{base}'), (SELECT unnest(range({first}, {last})) AS k) ORDER BY 1
    ) TO '{target}' {FORMAT}"""  # noqa: S608 (our own names)


def questions(draw: random.Random, copies: int) -> dict[str, dict[str, Any]]:
    """Return the ten questions with values of this city, as jobs."""
    person, copy = draw.randrange(_PEOPLE), draw.randrange(1, max(2, copies))
    user, day = {"user.name": f"user{person}"}, 86_400.0

    def job(days: float, filters: dict[str, str], **more: Any) -> dict[str, Any]:
        return {
            "since": END - days * day, "until": None, "filters": filters, "text": "", "limit": 100, "actions": [],
            "order": "newest", "by": None, **more,
        }  # fmt: skip

    refused = {"event.outcome": "failure"}
    return {
        "who read this record": job(400, {"url.path": f"/juki/{draw.randrange(100_000)}-{copy}"}),
        "one person today": job(1, user),
        "refusals by reason": job(7, refused, by=["sekisho.reason"]),
        "who is refused most": job(7, refused, by=["user.name", "sekisho.reason"]),
        "who used this device": job(30, {"device.id": f"d{person}"}, by=["user.name"]),
        "from this address": job(7, {"source.ip": f"10.1.{person % 200}.{person % 250}"}),
        "this reference": job(400, {"http.request.id": f"Q{draw.randrange(BASE):015d}-{copy}"}),
        "ended sessions": job(30, {}, actions=["session.ended"]),
        "administrators' changes": job(30, {}, actions=["admin.requested"]),
        "a word today": job(1, {}, text="ｼﾞｭｳﾐﾝｶ"),
    }


def asked(folder: Path, job: dict[str, Any]) -> float:
    """Ask by a process of its own; return the seconds until its last answer."""
    line = json.dumps({"journals": str(folder / "journal"), "index": str(folder / "index"), **job}) + "\n"
    begun = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "audit.index.query"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None  # noqa: S101 (it is a pipe)
        assert child.stdout is not None  # noqa: S101
        child.stdin.write(line.encode())
        child.stdin.flush()
        for _ in child.stdout:
            pass
        if child.wait() != 0:
            raise RuntimeError(f"the search of {job} failed")
    return time.perf_counter() - begun


def measured(folder: Path, events: int, rounds: int) -> Searched:
    """Build, repeat, ask."""
    cpu = built(folder)
    there = repeated(folder, events)
    draw = random.Random(10)  # noqa: S311 (synthetic load)
    times: dict[str, list[float]] = {}
    for _ in progress.rounds("searching", rounds):
        for name, job in questions(draw, there // BASE).items():
            times.setdefault(name, []).append(asked(folder, job) * 1000)
    every = sorted(each for row in times.values() for each in row)
    size = sum(path.stat().st_size for path in (folder / "index").iterdir())
    slowest = max(times, key=lambda name: statistics.median(times[name]))
    return Searched(
        there, round(statistics.median(every), 1), round(every[int(len(every) * 0.95)], 1),
        f"{slowest}: {statistics.median(times[slowest]):.0f} ms", round(BASE / cpu), round(size / there, 1),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print JSON; returns the exit code."""
    parser = argparse.ArgumentParser(description="How long answers from the embedded index take.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="searching-"))
    try:
        found = measured(folder, options.events, options.rounds)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(asdict(found), ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
