"""The request path under full load as a flame graph: draws docs/request-path.svg, and its table in the document.

`python -m benchmarks.flame [SECONDS] [--raw FILE]`. One worker on one core, app and wrk on the other, `written`, as in
`benchmarks.run`; py-spy looks `RATE` times a second at the stacks of the worker's threads that run, those in C too. It
stops the worker for each look: shares are the worker's own, its speed meanwhile is not. `--raw` keeps what py-spy
wrote, and with SECONDS 0 draws such a file again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks import folded, nginx
from benchmarks.candidates import LOAD_CORE, WARM, gateway, token
from benchmarks.flame_svg import render
from benchmarks.load import TARGET
from benchmarks.measure import THREADS, write_script, wrk
from tests.support.ports import free_port
from tests.support.running_city import HOST
from tests.support.steward_process import ROOT

RATE: Final = 250  # looks a second
PICTURE: Final = ROOT / "docs" / "request-path.svg"
DOCUMENT: Final = ROOT / "docs" / "request-path.md"
MARKS: Final = ("<!-- blocks -->\n", "\n<!-- /blocks -->")
BLOCKS: Final[Mapping[str, frozenset[str]]] = {
    "reading the head": frozenset({"gateway/edge/reader.py HeadReader.take"}),
    "the judgement": frozenset({"gateway/gatekeeper.py WorkerGatekeeper.judge"}),
    "the decision's record": frozenset({"gateway/gatekeeper.py WorkerGatekeeper.keep"}),
    "to the app": frozenset({"gateway/edge/relay.py Exchange.start"}),
    "the answer": frozenset({"gateway/edge/upstream.py UpstreamConnection.data_received"}),
    "the completion's record": frozenset({"gateway/gatekeeper.py WorkerGatekeeper.completed"}),
    "the journal's thread": frozenset({"audit/journal_thread.py WriterThread._run"}),
    "chaining the records": frozenset({"audit/segment.py encode_all"}),
    "handing over to the thread, and back": frozenset(
        {"audit/journal.py Journal._submit", "audit/journal.py Journal.released"}
    ),
    "the connection around all that": frozenset({"gateway/edge/connection.py ClientConnection.data_received"}),
}
"""What the path's functions are part of; a sample belongs to the innermost of them that its stack goes through."""
BETWEEN: Final = "reading sockets, and the loop"  # what goes through none


def spy() -> str:
    """Return where py-spy is: beside this Python. Raises FileNotFoundError."""
    found = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if found is None:
        raise FileNotFoundError("py-spy (requirements/dev.txt)")
    return found


async def sampled(seconds: int, raw: Path) -> None:
    """Load a gateway for so long, and have its worker's stacks written to `raw`."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        script, app = folder / "load.lua", free_port()
        write_script(script, HOST, [token(number) for number in range(THREADS)])
        stack.enter_context(nginx.ended(nginx.start_app(folder, app, LOAD_CORE)))
        city, _ = await stack.enter_async_context(gateway(folder, app))
        url = f"http://127.0.0.1:{city.base.rpartition(':')[2]}{TARGET}"
        command = [
            spy(), "record", "--native", "--nolineno", "--format", "raw", "--rate", str(RATE),
            "--duration", str(seconds), "--output", str(raw), "--pid", str(city.pid("worker-0")),
        ]  # fmt: skip
        await asyncio.to_thread(wrk, url, script, WARM, str(LOAD_CORE))
        load = asyncio.create_task(asyncio.to_thread(wrk, url, script, seconds + 4, str(LOAD_CORE)))
        await asyncio.sleep(WARM)
        await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
        await load


def layers(stacks: Mapping[folded.Stack, int]) -> dict[str, float]:
    """Return the part of all samples by what runs at the leaf: system calls, libraries, Python itself."""
    found: Counter[str] = Counter()
    for stack, samples in stacks.items():
        name = stack[-1] if stack else "interpreter"
        found["kernel" if name.startswith("kernel: ") else "interpreter" if ".py " in name else name] += samples
    total = sum(found.values())
    return {name: samples / total for name, samples in found.most_common()}


def table(stacks: Mapping[folded.Stack, int]) -> str:
    """Return both divisions of the same samples as Markdown."""
    parts = {name or BETWEEN: share for name, share in folded.shares(stacks, BLOCKS).items()}
    rows = [f"| {name} | {share * 100:.0f} % |" for name, share in sorted(parts.items(), key=lambda row: -row[1])]
    leaves = ", ".join(f"{name} {share * 100:.0f} %" for name, share in layers(stacks).items() if share >= 0.01)
    return "\n".join(["| part of the way | share |", "| --- | --- |", *rows, "", f"By what runs: {leaves}."])


def put(document: str, text: str) -> str:
    """Return the document with the table in its place; raises ValueError where the marks are missing."""
    begin, end = MARKS
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"{DOCUMENT.name}: expected the marks {begin.strip()} and {end.strip()} once")
    before, _, rest = document.partition(begin)
    return before + begin + text + end + rest.partition(end)[2]


def main() -> None:
    """Sample, fold, draw."""
    parser = argparse.ArgumentParser(prog="benchmarks.flame")
    parser.add_argument("seconds", type=int, nargs="?", default=30)
    parser.add_argument("--raw", type=Path, help="where py-spy's samples are kept, or read from with 0 seconds")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        raw = asked.raw or Path(name) / "raw.txt"
        if asked.seconds:
            asyncio.run(sampled(asked.seconds, raw))
        stacks = folded.read(raw.read_text().splitlines())
    samples = sum(stacks.values())
    PICTURE.write_text(render(stacks, f"One worker, full load, durability written: {samples:,} samples of CPU time"))
    DOCUMENT.write_text(put(DOCUMENT.read_text(), table(stacks)))
    print(json.dumps({"samples": samples, "layers": layers(stacks), "blocks": folded.shares(stacks, BLOCKS)}, indent=1))


if __name__ == "__main__":
    main()
