"""Gives the tour: a fresh city on free ports, one step after the other, one line each."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cli.city.build import Site, build
from cli.city.processes import running
from cli.exit_codes import ExitCode
from cli.tour import (
    cases,
    devices,
    elastic,
    elasticsearch,
    entrances,
    evidence,
    kills,
    passkeys,
    registration,
    revocation,
    trail,
)
from cli.tour.chromium import chromium
from cli.tour.stage import CannotShow, NotShown, Shown, Stage, Step

PROMISES = Path(__file__).parents[2] / "tests" / "promises.toml"
SKIPPED = 3  # exit status: everything that ran holds, something could not be shown here
_STEP_WITHIN = 120.0  # seconds
_FIRST_PORT = 20_443

STEPS: tuple[Step, ...] = (
    Step("totp", ("P1.lands-where-asked",), entrances.by_code),
    Step("office-device", ("P1.own-apps-only",), entrances.from_the_office),
    Step("no-device", ("P1.unknown-device-refused", "P7.refusal-says-what-to-do"), entrances.without_a_device),
    Step("device-state", ("P1.device-state-ends-connections",), devices.falls_ill),
    Step("passkey", ("P1.passkey-in-a-browser",), passkeys.by_passkey),
    Step("step-up", ("P1.payment-needs-passkey",), passkeys.steps_up),
    Step("es-prepared", ("P6.prepared-with-two-keys",), elastic.prepared),
    Step("two-people", ("P1.app-needs-two-people",), registration.by_two_people),
    Step("case", ("P7.burst-becomes-one-case",), cases.appears),
    Step("revocation", ("P3.three-kinds-end-and-are-counted",), revocation.ends_everything),
    Step("verify", ("P5.verifies-offline",), trail.verifies),
    Step("search", ("P7.found-by-reference",), trail.found_again),
    Step("offline-proof", ("P5.proof-away-from-here",), evidence.proof_of_one_record),
    Step("bundle", ("P5.bundle-in-another-hand",), evidence.bundle_in_another_hand),
    Step("es-restarts", ("P6.restarts-lose-and-double-nothing", "P6.search-and-copy-agree"), elastic.agrees),
    Step("kills", ("P2.kills-agree-both-ways",), kills.agree),
    Step("es-kills", ("P6.kills-lose-and-double-nothing",), elastic.agrees_again),
    Step("es-tampered", ("P6.tampered-copy-is-named",), elastic.tampered),
)


def give(now: float) -> int:
    """Give the whole tour; returns the exit status: 0 all shown, 1 something does not hold, 3 something was skipped."""
    folder = Path(tempfile.mkdtemp(prefix="sekisho-tour-"))
    begun = time.monotonic()
    try:
        with _stage(folder, now) as stage:
            print(f"   町を作って起動  ({time.monotonic() - begun:.1f} s)", flush=True)
            shown, failed, skipped = asyncio.run(_steps(stage))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    missing = unshown(shown)
    for clause in missing if not skipped else []:
        print(f"×  示されなかった約束: {clause}")
    print(f"   {len(STEPS)} 段のうち {len(STEPS) - failed - skipped} 段を表示、{time.monotonic() - begun:.0f} s")
    if failed or (missing and not skipped):
        return ExitCode.FAILED
    return SKIPPED if skipped else ExitCode.DONE


def unshown(shown: Sequence[str], path: Path = PROMISES) -> list[str]:
    """The clauses that `tests/promises.toml` gives to the tour and that were not shown, and those it does not list."""
    listed = {
        row["id"] for row in tomllib.loads(path.read_text(encoding="utf-8"))["clause"] if row["shown_by"] == "tour"
    }
    return sorted(listed ^ set(shown))


@contextmanager
def _stage(folder: Path, now: float) -> Iterator[Stage]:
    """A running city in `folder`; the node of its copy starts while the city is built."""
    port = _free_port(_FIRST_PORT)
    with contextlib.ExitStack() as stack:
        node, absent = None, ""
        try:
            node = stack.enter_context(elasticsearch.standing(folder / "elasticsearch", _free_port(port + 20)))
        except CannotShow as fault:
            absent = str(fault)
        copy = "" if node is None else node.url
        site = Site(folder / "city", "127.0.0.1", port, "sekisho.localhost", mdm_interval=1, elasticsearch=copy)
        city = build(site, now)
        processes = stack.enter_context(running(city))
        yield Stage(city, processes, folder, node=node, no_node=absent)


async def _steps(stage: Stage) -> tuple[list[str], int, int]:
    shown: list[str] = []
    failed = skipped = 0
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.suppress(CannotShow):
            stage.chromium = await stack.enter_async_context(chromium(stage.city, stage.city.device("KAIKEI-PC-02")))
        for number, step in enumerate(STEPS, 1):
            try:
                done = await asyncio.wait_for(step.show(stage), _STEP_WITHIN)
            except CannotShow as fault:
                skipped += 1
                print(f"SKIPPED: {step.name}: {fault}", flush=True)
            except Exception as fault:  # noqa: BLE001  # the tour goes on and ends with exit status 1
                failed += 1
                said = str(fault) if isinstance(fault, NotShown) else f"{type(fault).__name__}: {fault}"
                print(f"×  {number:2} {step.name}: {said}", flush=True)
            else:
                shown += step.clauses
                print(_line(number, step, done), flush=True)
    return shown, failed, skipped


def _line(number: int, step: Step, done: Shown) -> str:
    return f"✓  {number:2} {step.name}: {done.proved}  [{done.figure}]"


def _free_port(first: int) -> int:
    """A port that is free now and lies below the range that clients' own ports are taken from."""
    for port in range(first, first + 4000, 40):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port for the tour")
