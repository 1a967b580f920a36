"""What a large installation adds to a request: 200,000 live sessions, and a policy of 200 rules over 30 apps.

`python -m benchmarks.many ROUNDS` prints JSON. Edge, gate and journal run in this process as in `path_cost`, without
the kernel's share, so that the ratios are larger than a person would see. One person asks; the others' sessions only
lie in the view, frozen as those that a worker's snapshot brings.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvloop

from benchmarks import path_cost, progress
from benchmarks.measure import Spread
from policies.decision import Effect
from policies.model import Mode, Rule
from tests.support.gate_world import APP, APP_SESSION, SESSION, World, condition

SESSIONS: Final = 200_000
RULES: Final = 200
APPS: Final = 30
_REQUESTS: Final = 12_800


def live(world: World) -> None:
    """Put so many sessions of other people into the view, each with its app session."""
    view = world.view
    for number in range(SESSIONS):
        name = f"other-{number}"
        view.sessions[name] = dataclasses.replace(SESSION, id=name, user_id=f"u-{number % 20_000}")
        digest = number.to_bytes(32, "big")
        view.app_sessions[digest] = dataclasses.replace(APP_SESSION, id=name, session_id=name, token_hash=digest.hex())


def registered(world: World) -> None:
    """Register the other apps."""
    for number in range(1, APPS):
        app = dataclasses.replace(APP, id=f"app{number}", hosts=(f"app{number}.sekisho.localhost",))
        world.put("app", app.id, app)


def rules() -> list[Rule]:
    """Rules beside the world's own: a quarter deny; one in ten names the app that is asked for."""
    chance = random.Random(5)  # noqa: S311  # a reproducible load, not a secret
    made = []
    for number in range(RULES):
        apps = sorted(chance.sample([f"app{each}" for each in range(1, APPS)], 3))
        if number % 10 == 0:
            apps = ["docs"]
        when = (condition("app", "any_of", *apps), condition("user.groups", "any_of", f"group{number % 12}"))
        deny = number % 4 == 0
        require = () if deny else (condition("mfa.age", "max", 43200.0), condition("net.zone", "any_of", "office"))
        effect = Effect.DENY if deny else Effect.ALLOW
        made.append(Rule(f"more-{number:03}", effect, "", "", Mode.ENFORCE, None, when, require, (), "", ()))
    return made


def once(prepare: Callable[[World], None] | None, more: list[Rule]) -> float:
    """CPU µs of a request in this process."""
    with tempfile.TemporaryDirectory() as name:
        least, _ = uvloop.run(path_cost.full(_REQUESTS, Path(name), prepare=prepare, more_rules=more))
    gc.unfreeze()
    gc.collect()
    return least


def measure(rounds: int) -> dict[str, object]:
    """Let them take turns with a small installation."""
    ratios: dict[str, list[float]] = {"sessions": [], "rules": []}
    begun = time.monotonic()
    for _ in progress.rounds("many", rounds):
        small = once(None, [])
        ratios["sessions"].append(once(live, []) / small)
        ratios["rules"].append(once(registered, rules()) / small)
    figures = {name: dataclasses.asdict(Spread.of(each)) for name, each in ratios.items()}
    return {**figures, "live": SESSIONS, "seconds": time.monotonic() - begun}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
