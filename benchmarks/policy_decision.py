"""CPU time of one policy decision: 40 rules over 20 apps, against deciding every rule anew.

Run: `python benchmarks/policy_decision.py`. Prints medians over interleaved rounds; the ratio column is what counts
on a shared machine.
"""

from __future__ import annotations

import dataclasses
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from policies.compile import compile_policy
from policies.decision import Effect, Obligation
from policies.model import Condition, Mode, PolicyIR, PostureLimits, Rule
from tests.support import policy_oracle

APPS = [f"app{index}" for index in range(20)]
GROUPS = [f"group{index}" for index in range(12)]
EVENTS = 2000
ROUNDS = 7


def leaf(attribute: str, operator: str, *values: Any) -> Condition:
    """One condition."""
    return Condition(attribute, operator, values)


def policy(rng: random.Random) -> PolicyIR:
    """30 allow and 10 deny rules; a third of the deny rules name apps."""
    rules: list[Rule] = []
    for index in range(30):
        when = (leaf("app", "any_of", *rng.sample(APPS, 3)), leaf("user.groups", "any_of", *rng.sample(GROUPS, 3)))
        require = (
            leaf("mfa.age", "max", rng.choice((3600.0, 43200.0))),
            leaf("device.known", "is", True),
            leaf("device.compliant", "is", True),
            leaf("net.zone", "any_of", "office", "telework"),
        )
        log = (Obligation("log", "full"),) if index % 5 == 0 else ()
        rules.append(Rule(f"allow{index:02}", Effect.ALLOW, "", "", Mode.ENFORCE, None, when, require, (), "", log))
    for index in range(10):
        about = (leaf("app.sensitivity", "min", "3C"), leaf("net.zone", "any_of", "internet"))
        if index % 3 == 0:
            about = (leaf("app", "any_of", *rng.sample(APPS, 4)), leaf("http.path", "under", "/admin"))
        unless = (leaf("user.groups", "any_of", rng.choice(GROUPS)),) if index % 2 else ()
        rules.append(Rule(f"deny{index:02}", Effect.DENY, "", "", Mode.ENFORCE, None, about, (), unless, "", ()))
    return PolicyIR("0" * 64, "bench", 1, "", "", (), (), PostureLimits(), tuple(rules))


def facts(rng: random.Random) -> dict[str, object]:
    """Facts of one request, as the gate gives them; some are missing."""
    given: dict[str, object] = {
        "user.id": "u1",
        "user.login": "s0001",
        "user.groups": frozenset(rng.sample(GROUPS, 4)),
        "user.kind": "staff",
        "user.contract_valid": True,
        "mfa.method": "totp",
        "mfa.age": rng.choice((60.0, 7200.0)),
        "mfa.amr": frozenset({"pwd", "otp"}),
        "auth.age": 600.0,
        "device.known": True,
        "device.managed": True,
        "device.compliant": rng.random() < 0.9,
        "device.encrypted": True,
        "posture.read_age": 30.0,
        "posture.seen_age": 1800.0,
        "net.zone": rng.choice(("office", "telework", "internet")),
        "app": rng.choice(APPS),
        "app.sensitivity": rng.choice(("1", "2", "3C", "3A")),
        "http.method": "GET",
        "http.path": "/list/1",
        "time.of_day": 600,
        "time.weekday": "mon",
        "time.now": 1.8e9,
    }
    if rng.random() < 0.1:
        del given[rng.choice(("mfa.age", "device.compliant", "posture.read_age"))]
    return given


def cpu_us(decide: Callable[[dict[str, object]], object], events: list[dict[str, object]]) -> float:
    """CPU microseconds of one decision."""
    start = time.process_time()
    for event in events:
        decide(event)
    return (time.process_time() - start) / len(events) * 1e6


def main() -> None:
    """Measure and print."""
    rng = random.Random(7)  # noqa: S311  # a reproducible load, not a secret
    ir = policy(rng)
    compiled = compile_policy(ir)
    observing = compile_policy(
        dataclasses.replace(
            ir,
            rules=tuple(
                dataclasses.replace(rule, mode=Mode.OBSERVE, expires=2e9) if rule.id in ("allow03", "deny01") else rule
                for rule in ir.rules
            ),
        )
    )
    events = [facts(rng) for _ in range(EVENTS)]
    denied = [event for event in events if compiled.evaluate(event).effect is Effect.DENY]
    ways: dict[str, tuple[Callable[[dict[str, object]], object], list[dict[str, object]]]] = {
        "evaluate": (compiled.evaluate, events),
        "evaluate, 2 rules observed": (observing.evaluate, events),
        "explain (denials)": (compiled.explain, denied),
        "one small call (calibration)": (lambda event: event.get("app") is not None, events),
        "naive oracle": (lambda event: policy_oracle.decide(ir, event), events[:200]),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (decide, given) in ways.items():
            taken[name].append(cpu_us(decide, given))
    base = statistics.median(taken["evaluate"])
    print(f"{len(ir.rules)} rules, {len(APPS)} apps, {len(events)} events, {len(denied) / len(events):.0%} denied")
    for name, values in taken.items():
        median = statistics.median(values)
        print(f"{name:28} {median:8.2f} us (best {min(values):.2f})   {median / base:7.1f} x evaluate")


if __name__ == "__main__":
    main()
