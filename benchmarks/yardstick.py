"""The yardstick in Go (`benchmarks/go`): the same chain as ours in plain Go, and an authoriser for nginx.

It is built from the standard library alone and gets the same people and the rules of the same policy as the gateway.
Without Go on the machine its rows are left out, and `make bench` says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import nginx
from benchmarks.candidates import GATEWAY_CORE, SESSIONS, STARTER, measured, token
from benchmarks.load import HEADERS
from benchmarks.measure import Cost, tree
from policies.load import load_policy
from policies.model import Condition
from tests.support.ports import free_port
from tests.support.running_city import HOST, ROOT

SOURCE: Final = Path(__file__).parent / "go"
COLLECTED: Final = {"go": "100", "go tuned": "800"}
"""GOGC of each: Go's own, and one for a small heap, with which Go's own collects all the time (perf §2)."""
_CACHE: Final = ROOT / ".cache" / "go"
_APP: Final = "wiki"


def go() -> str:
    """Return where Go is, "" where it is not installed."""
    found = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    return found or ""


def version() -> str:
    """Go's own word for its version, "" without one."""
    compiler = go()
    if not compiler:
        return ""
    return subprocess.run([compiler, "env", "GOVERSION"], check=True, capture_output=True, text=True).stdout.strip()


def build(folder: Path) -> Path:
    """Build the program; raises subprocess.CalledProcessError, or FileNotFoundError without Go."""
    compiler = go()
    if not compiler:
        raise FileNotFoundError("go")
    program = folder / "yardstick"
    environment = {**os.environ, "GOCACHE": str(_CACHE), "GOPROXY": "off", "CGO_ENABLED": "0"}
    subprocess.run([compiler, "build", "-o", str(program), "."], check=True, cwd=SOURCE, env=environment)
    write_given(folder)
    return program


def write_given(folder: Path) -> None:
    """Write the people and rules that the gateway gets, as the program reads them."""
    policy = load_policy(STARTER.read_bytes(), "starter")
    rules = [
        {"id": rule.id, "effect": rule.effect.value, "when": _written(rule.when), "require": _written(rule.require),
         "unless": _written(rule.unless)}
        for rule in policy.rules
    ]  # fmt: skip
    (folder / "rules.json").write_text(json.dumps(rules))
    (folder / "people.json").write_text(json.dumps([_person(number) for number in range(SESSIONS)]))


def _written(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    return [{"attribute": each.attribute, "operator": each.operator, "values": each.values} for each in conditions]


def _person(number: int) -> dict[str, Any]:
    name, now = f"m{number}", time.time()
    facts = {
        "user.kind": "staff", "user.department": "", "user.contract_valid": True, "mfa.method": "totp",
        "device.known": False, "app.sensitivity": "1", "app.business": "",
    }  # fmt: skip
    return {
        "token": token(number), "id": name, "user": name, "groups": ["shokuin", "zeimu"], "zone": "office",
        "agent": HEADERS["User-Agent"], "since": now - 60, "until": now + 36_000, "app": _APP, "facts": facts,
    }  # fmt: skip


@contextmanager
def _running(
    program: Path, arguments: list[str], collect: str, cores: Sequence[int] = (GATEWAY_CORE,), threads: int = 1
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The program on these cores with so many threads for Go code, at a free port."""
    port, folder = free_port(), program.parent
    command = [
        "taskset", "-c", ",".join(str(core) for core in cores), str(program),
        "-listen", f"127.0.0.1:{port}", "-host", HOST,
        "-rules", str(folder / "rules.json"), "-people", str(folder / "people.json"), *arguments,
    ]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, "GOMAXPROCS": str(threads), "GOGC": collect})
    try:
        nginx.wait_for(port)
        yield port, process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def chain(
    program: Path, app: int, collect: str, *, cores: Sequence[int] = (GATEWAY_CORE,), threads: int = 1,
    pair: tuple[Path, Path] | None = None,
) -> Iterator[tuple[int, set[int]]]:  # fmt: skip
    """The chain in Go, its garbage collected by GOGC=`collect`, over TLS with `pair`'s PEMs; its port and processes."""
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        arguments = ["-app", f"http://127.0.0.1:{app}", "-journal", f"{folder}/journal"]
        if pair is not None:
            arguments += ["-certificate", str(pair[0]), "-key", str(pair[1])]
        with _running(program, arguments, collect, cores, threads) as (port, process):
            yield port, tree(process.pid)


@contextmanager
def chains(
    folder: Path, app: int, *, cores: Sequence[int] = (GATEWAY_CORE,), threads: int = 1,
    pair: tuple[Path, Path] | None = None,
) -> Iterator[dict[str, tuple[int, set[int]]]]:  # fmt: skip
    """The chain in Go by each way of collecting garbage, all at once; none where Go is not installed."""
    with ExitStack() as stack:
        program = build(folder) if go() else None
        yield {
            name: stack.enter_context(chain(program, app, collect, cores=cores, threads=threads, pair=pair))
            for name, collect in COLLECTED.items()
            if program is not None
        }


def _cost(program: Path, app: int, script: Path, seconds: float, collect: str) -> Cost:
    with chain(program, app, collect) as (port, processes):
        return measured(port, processes, script, seconds)


def asking(program: Path, folder: Path, app: int, script: Path, seconds: float) -> Cost:
    """What nginx with `auth_request` and the authoriser cost together; nothing is recorded there."""
    with _running(program, ["-authorise"], COLLECTED["go tuned"]) as (authoriser, process):
        port = free_port()
        front = nginx.start_asking(folder, port, app, authoriser, GATEWAY_CORE)
        try:
            return measured(port, tree(front.pid) | tree(process.pid), script, seconds)
        finally:
            front.terminate()
            front.wait()


def rows(program: Path, folder: Path, app: int, script: Path, seconds: float) -> dict[str, Callable[[], Cost]]:
    """The candidates that need Go, by the name of their row."""
    return {
        "go": lambda: _cost(program, app, script, seconds, COLLECTED["go"]),
        "go tuned": lambda: _cost(program, app, script, seconds, COLLECTED["go tuned"]),
        "auth_request": lambda: asking(program, folder, app, script, seconds),
    }
