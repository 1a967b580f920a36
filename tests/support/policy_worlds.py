"""Random policies and facts that meet each other often: few names, few values, thresholds among the facts.

Everything is drawn from one `random.Random`, so that a world is named by its seed.
"""

from __future__ import annotations

import random
from typing import Any

from policies.catalogue import CATALOGUE, NAMEABLE, OPERATORS, Attribute, Kind
from policies.decision import Effect, Obligation
from policies.model import Condition, Mode, PolicyIR, PostureLimits, Rule

NOW = 1_800_000_000.0
APPS = ("juki", "zaimu", "wiki", "unnamed")
TEXTS: dict[str, tuple[str, ...]] = {
    "app": APPS,
    "net.zone": ("office", "telework", "internet"),
    "user.groups": ("a", "b", "c"),
    "mfa.amr": ("pwd", "otp", "hwk"),
    "device.os": ("Windows", "iOS"),
}
PATHS = ("/", "/a", "/a/b", "/a/b/edit", "/ab", "/a/", "/a//edit", "relative")
PREFIXES = ("/", "/a", "/a/b")
TEMPLATES = ("/a/*", "/a/*/edit", "/*")
AGES = (0.0, 60.0, 900.0, 901.0, 3600.0, 90000.0)
CLOCKS = (0, 480, 600, 1200, 1439)
VERSIONS = ("10", "10.0", "10.0.2", "9.9.9", "11", "x")
STRANGE: tuple[Any, ...] = (None, True, 1, 5000, -1.0, float("nan"), "x", "", b"x", ("a",), frozenset({"a"}), [], {})
COMMON = ("app", "user.groups", "mfa.age", "mfa.method", "device.compliant", "net.zone", "http.path", "app.sensitivity")
"""Attributes that conditions are drawn from most, so that rules and facts meet."""
OBLIGATIONS = (
    Obligation("log", "full"),
    Obligation("log", "normal"),
    Obligation("session_max", "900"),
    Obligation("session_max", "60"),
)


def texts(attribute: Attribute) -> tuple[str, ...]:
    """The values in play for an attribute that holds text."""
    return attribute.choices or TEXTS.get(attribute.name, ("x", "y", ""))


def condition(rng: random.Random) -> Condition:
    """One valid condition."""
    attribute = CATALOGUE[rng.choice(COMMON if rng.random() < 0.6 else NAMEABLE)]
    operator = rng.choice(OPERATORS[attribute.kind])
    single: dict[Kind, tuple[Any, ...]] = {
        Kind.BOOL: (True, False),
        Kind.DURATION: AGES,
        Kind.VERSION: VERSIONS[:-1],
        Kind.ORDERED: attribute.choices,
    }
    if operator in ("is", "min", "max"):
        return Condition(attribute.name, operator, (rng.choice(single[attribute.kind]),))
    if operator == "between":
        return Condition(attribute.name, operator, tuple(rng.sample((*CLOCKS, 1440), 2)))
    pool = {"under": PREFIXES, "equals": PATHS[:3], "template": TEMPLATES}.get(operator, texts(attribute))
    return Condition(attribute.name, operator, tuple(sorted(set(rng.choices(pool, k=2)))))


def rule(rng: random.Random, identity: str) -> Rule:
    """One valid rule."""
    allowing = rng.random() < 0.66
    mode = Mode.ENFORCE if rng.random() < 0.6 else rng.choice(list(Mode))

    def some(least: int) -> tuple[Condition, ...]:
        return tuple(condition(rng) for _ in range(rng.randint(least, 2)))

    return Rule(
        id=identity,
        effect=Effect.ALLOW if allowing else Effect.DENY,
        description="",
        owner="",
        mode=mode,
        expires=rng.choice((NOW, NOW + 60)) if mode in (Mode.OBSERVE, Mode.WARN) else None,
        when=some(1 if allowing else 0),
        require=some(0) if allowing else (),
        unless=() if allowing else some(0),
        advice="",
        obligations=tuple(rng.sample(OBLIGATIONS, rng.randint(0, 2))) if allowing else (),
    )


def policy(rng: random.Random, most: int = 6) -> PolicyIR:
    """One valid policy with up to `most` rules, in no order."""
    names = [f"r{index}" for index in range(rng.randint(1, most))]
    rng.shuffle(names)
    return PolicyIR(
        hash="0" * 64,
        id="random",
        revision=1,
        title="",
        owner="",
        zones=(),
        groups=(),
        posture=PostureLimits(900.0, 86400.0, (("office", 2700.0),)),
        rules=tuple(rule(rng, name) for name in names),
    )


def value(rng: random.Random, attribute: Attribute) -> Any:
    """One fact of the right type."""
    match attribute.kind:
        case Kind.BOOL:
            return rng.random() < 0.7
        case Kind.DURATION:
            return rng.choice(AGES[:4] if attribute.name.startswith("posture") else AGES)
        case Kind.CLOCK:
            return rng.choice(CLOCKS)
        case Kind.INSTANT:
            return rng.choice((NOW - 1, NOW, NOW + 30))
        case Kind.SET:
            return frozenset(rng.choices(texts(attribute), k=rng.randint(0, 2)))
        case Kind.PATH:
            return rng.choice(PATHS)
        case Kind.VERSION:
            return rng.choice(VERSIONS)
        case Kind.TEXT | Kind.CHOICE | Kind.ORDERED:
            return rng.choice(texts(attribute))


def facts(rng: random.Random, odd: float = 0.03, absent: float = 0.08) -> dict[str, Any]:
    """Facts of one request; `absent` and `odd` are the shares that are missing or of a wrong type."""
    given: dict[str, Any] = {}
    for attribute in CATALOGUE.values():
        if rng.random() >= absent:
            given[attribute.name] = rng.choice(STRANGE) if rng.random() < odd else value(rng, attribute)
    return given
