"""What a new version of the program says before the running one becomes it: can it run here, with these settings.

`python -m gateway.reloading.preflight --config FILE` is started by the old supervisor and prints one JSON object:
`version`, `faults` as a reload has them, and `fault`, "" or why this program cannot take over. Exit status 0 either
way: a program that prints nothing cannot run at all.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
import time
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

from gateway.reloading.judging import Judged, judge
from gateway.reloading.programs import Accepted
from gateway.settings import Settings, SettingsFaults
from gateway.state import migration, schema
from gateway.supervision import child

_PATIENCE: Final = 60.0  # seconds for a program to load and to look
_MODULE: Final = "gateway.reloading.preflight"


class CannotTakeOver(Exception):
    """The new program does not run, or not here."""


def program_version() -> str:
    """Return the version that is installed, "" where none is."""
    try:
        return installed("sekisho")
    except PackageNotFoundError:
        return ""


async def ask_program(accepted: Accepted) -> dict[str, Any]:
    """Start the program that is installed now and return what it says. Raises CannotTakeOver."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", _MODULE, "--config", str(accepted.config), pass_fds=(accepted.memory,),
        env={**os.environ, child.SETTINGS: str(accepted.memory)}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_PATIENCE):
            said, _ = await process.communicate()
        found: dict[str, Any] = json.loads(said)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise CannotTakeOver(f"the new program said nothing within {_PATIENCE:.0f} s") from error
    except ValueError as error:
        words = f"the new program does not run (exit {process.returncode}); its error is in the log"
        raise CannotTakeOver(words) from error
    return found


def look(config: Path, now: float) -> dict[str, Any]:
    """Return what this program has to say about taking over. `now` in seconds since the epoch."""
    said: dict[str, Any] = {"version": program_version(), "faults": [], "fault": ""}
    try:
        judged = _judged(config, now)
    except SettingsFaults as error:
        return said | {"faults": [dataclasses.asdict(each) for each in error.faults]}
    there = migration.version_of(judged.settings.paths.store)
    if there != schema.HEAD:
        said["fault"] = f"the store has schema {there}, this program expects {schema.HEAD}: stop, then state upgrade"
    return said


def _judged(config: Path, now: float) -> Judged:
    """Judge the file against what runs; settings that this version does not know any more are compared with nothing."""
    try:
        running = Settings.parse(child.settings_text(config), config)
    except SettingsFaults:
        running = Settings.load(config)
    return judge(config, running, now)


def main() -> None:
    """Print what there is to say."""
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}")
    parser.add_argument("--config", type=Path, required=True)
    sys.stdout.write(json.dumps(look(parser.parse_args().config, time.time())))


if __name__ == "__main__":
    main()
