"""The policy semantics written as plainly as possible, sharing no code with the engine: what it must equal.

Reads one rule after the other, decides each condition from the catalogue's words, and knows no layouts, closures,
caches or partial evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from policies.model import Condition, PolicyIR, Rule

SENSITIVITY = ["1", "2", "3C", "3B", "3A"]
CLOSED: dict[str, list[str]] = {
    "app.sensitivity": SENSITIVITY,
    "user.kind": ["staff", "fixed_term", "contractor"],
    "mfa.method": ["totp", "webauthn"],
    "http.method": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    "time.weekday": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
}
BOOLEANS = {
    "user.contract_valid",
    "device.known",
    "device.managed",
    "device.compliant",
    "device.in_grace",
    "device.encrypted",
    "device.jailbroken",
    "device.owner_match",
}
SETS = {"user.groups", "mfa.amr"}
NUMBERS = {"mfa.age", "auth.age", "device.patch_age", "posture.read_age", "posture.seen_age"}
DEFAULTS = {"user.department": "", "app.business": ""}


def _value(name: str, facts: Mapping[str, Any]) -> Any:
    """The fact, or None where it is missing: absent, of another type, outside its vocabulary, or stale."""
    value = facts.get(name)
    if value is None:
        return DEFAULTS.get(name)
    if name in BOOLEANS:
        good = isinstance(value, bool)
    elif name in SETS:
        good = isinstance(value, frozenset)
    elif name in NUMBERS or name == "time.of_day":
        good = _is_number(value) and not math.isnan(value)
        good = good and (name != "time.of_day" or 0 <= value < 1440)
    elif name in CLOSED:
        good = value in CLOSED[name] if isinstance(value, str) else False
    elif name == "http.path":
        good = isinstance(value, str) and value[:1] == "/"
    elif name == "device.os_version":
        good = isinstance(value, str) and all(part.isdecimal() for part in value.split("."))
    else:
        good = isinstance(value, str)
    return value if good else None


def _version(text: str) -> list[int]:
    parts = [int(part) for part in text.split(".")]
    return parts + [0] * (8 - len(parts))


def _holds(condition: Condition, facts: Mapping[str, Any]) -> bool | None:  # noqa: C901, PLR0912  # one plain list of operators
    name = condition.attribute
    values: list[Any] = list(condition.values)
    value = _value(name, facts)
    if value is None:
        return None
    members = set(value) if name in SETS else {value}
    match condition.operator:
        case "is":
            return bool(value == values[0])
        case "any_of":
            return bool(members & set(values))
        case "none_of":
            return not members & set(values)
        case "all_of":
            return set(values) <= members
        case "min" | "max":
            if name == "app.sensitivity":
                left, right = SENSITIVITY.index(value), SENSITIVITY.index(str(values[0]))
                return left >= right if condition.operator == "min" else left <= right
            if name == "device.os_version":
                low, high = _version(value), _version(str(values[0]))
                return low >= high if condition.operator == "min" else low <= high
            return bool(value >= values[0] if condition.operator == "min" else value <= values[0])
        case "between":
            start, end = values
            if start < end:
                return bool(start <= value < end)
            return bool(value >= start or value < end)
        case "equals":
            return value in values
        case "under":
            return any(prefix in ("/", value) or value[: len(str(prefix)) + 1] == f"{prefix}/" for prefix in values)
        case "template":
            return any(_fits(str(template), value) for template in values)
        case other:
            raise AssertionError(other)


def _fits(template: str, path: str) -> bool:
    wanted, given = template.split("/"), path.split("/")
    if len(wanted) != len(given):
        return False
    return all(given[i] != "" if wanted[i] == "*" else wanted[i] == given[i] for i in range(len(wanted)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _without_stale(ir: PolicyIR, facts: Mapping[str, Any]) -> dict[str, Any]:
    read, seen, zone = facts.get("posture.read_age"), facts.get("posture.seen_age"), facts.get("net.zone")
    grace = next((seconds for name, seconds in ir.posture.grace if name == zone), 0)
    fresh = (
        _is_number(read) and _is_number(seen) and read <= ir.posture.read_max + grace and seen <= ir.posture.seen_max  # type: ignore[operator]
    )
    told = {
        "device.managed",
        "device.compliant",
        "device.in_grace",
        "device.encrypted",
        "device.jailbroken",
        "device.owner_match",
        "device.os",
        "device.os_version",
        "device.patch_age",
    }
    return {name: value for name, value in facts.items() if fresh or name not in told}


def _waits(rule: Rule, facts: Mapping[str, Any]) -> bool:
    now: Any = facts.get("time.now")
    waiting = rule.mode.value in ("observe", "warn") and rule.expires is not None
    return waiting and _is_number(now) and bool(now < rule.expires)


DENIED: dict[str, Any] = {
    "effect": "deny", "reason": "", "rule": "", "obligations": (), "shadow": (), "warn": False, "observed": (),
}  # fmt: skip


def decide(ir: PolicyIR, given: Mapping[str, Any]) -> dict[str, Any]:
    """The decision as a plain mapping of the fields of `policies.decision.Decision`."""
    facts = _without_stale(ir, given)

    def true(conditions: tuple[Condition, ...]) -> bool:
        return all(_holds(item, facts) is True for item in conditions)

    def hit(rule: Rule) -> bool:
        if any(_holds(item, facts) is False for item in rule.when):
            return False
        return not (rule.unless and true(rule.unless))

    rules = sorted(ir.rules, key=lambda rule: rule.id)
    live = [rule for rule in rules if rule.mode.value != "shadow"]
    denies = [rule for rule in live if rule.effect.value == "deny" and hit(rule)]
    applying = [rule for rule in live if rule.effect.value == "allow" and true(rule.when)]
    granting = [rule for rule in applying if true(rule.require)]
    lifted = [] if granting else [rule for rule in applying if _waits(rule, facts)]
    biting = [rule for rule in denies if not _waits(rule, facts)]
    if biting:
        return DENIED | {"reason": "denied_by_rule", "rule": biting[0].id}
    if not granting and not lifted:
        shadow = tuple(
            rule.id
            for rule in rules
            if rule.mode.value == "shadow" and rule.effect.value == "allow" and true(rule.when) and true(rule.require)
        )
        return DENIED | {"reason": "unmet_conditions" if applying else "no_applicable_rule", "shadow": shadow}
    observed = sorted(denies + lifted, key=lambda rule: rule.id)
    shadow = tuple(
        rule.id for rule in rules if rule.mode.value == "shadow" and rule.effect.value == "deny" and hit(rule)
    )
    grants = granting or lifted
    return DENIED | {
        "effect": "allow",
        "reason": "allowed_observed" if observed else "allowed",
        "rule": grants[0].id,
        "obligations": _merged(grants),
        "shadow": shadow,
        "observed": tuple(rule.id for rule in observed),
        "warn": any(rule.mode.value == "warn" for rule in observed),
    }


def _merged(rules: list[Rule]) -> tuple[tuple[str, str], ...]:
    held: dict[str, str] = {}
    for rule in rules:
        for item in rule.obligations:
            if item.name == "log":
                held["log"] = "full" if "full" in (item.value, held.get("log")) else "normal"
            else:
                held[item.name] = str(min(int(item.value), int(held.get(item.name, item.value))))
    return tuple(sorted(held.items()))
