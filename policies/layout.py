"""The rules that can matter for one kind of request, with the conditions on app, sensitivity and zone already decided.

Those three facts take few values and most conditions name them, so each combination that occurs gets a layout of its
own, made once. A decided condition that holds is left out; one that does not hold takes its rule out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from policies.catalogue import POSTURE
from policies.decision import Decision, Effect
from policies.evaluate import Facts, Leaf
from policies.model import Condition, Mode, Rule
from policies.obligations import merge_obligations
from policies.reasons import Reason

DECIDED: Final = ("app", "app.sensitivity", "net.zone")
"""The facts that a layout is made for."""

Leaves = tuple[Leaf, ...]


class Deny:
    """One deny rule: it matches unless a `when` leaf is False, or every `unless` leaf is True (None = no exemption)."""

    __slots__ = ("decision", "expires", "id", "unless", "warn", "when")

    def __init__(self, rule: Rule, when: Leaves, unless: Leaves | None) -> None:
        self.id = rule.id
        self.when = when
        self.unless = unless
        self.decision = Decision(Effect.DENY, Reason.DENIED_BY_RULE, rule.id)
        self.expires = rule.expires
        self.warn = rule.mode is Mode.WARN

    def matches(self, facts: Facts) -> bool:
        """Whether the rule hits these facts; unknown counts as a hit."""
        for leaf in self.when:
            if leaf(facts) is False:
                return False
        return self.unless is None or not holds(self.unless, facts)


class Allow:
    """One allow rule: `when` says whether it applies, `require` whether it is satisfied."""

    __slots__ = ("decision", "expires", "id", "obligations", "require", "warn", "when")

    def __init__(self, rule: Rule, when: Leaves, require: Leaves) -> None:
        self.id = rule.id
        self.when = when
        self.require = require
        self.obligations = rule.obligations
        # where no other rule allows too
        self.decision = Decision(Effect.ALLOW, Reason.ALLOWED, rule.id, merge_obligations([rule.obligations]))
        self.expires = rule.expires
        self.warn = rule.mode is Mode.WARN


class Layout:
    """Rules by effect and mode, each list sorted by id."""

    __slots__ = (
        "allows",
        "cache",
        "denies",
        "observed_allows",
        "observed_denies",
        "posture",
        "shadow_allows",
        "shadow_denies",
    )

    def __init__(self) -> None:
        self.denies: list[Deny] = []
        self.observed_denies: list[Deny] = []
        self.shadow_denies: list[Deny] = []
        self.allows: list[Allow] = []
        self.observed_allows: list[Allow] = []
        self.shadow_allows: list[Allow] = []
        self.posture = False
        self.cache: dict[tuple[str, ...], Decision] = {}


def holds(leaves: Leaves, facts: Facts) -> bool:
    """Whether every leaf is known to hold."""
    for leaf in leaves:  # noqa: SIM110  # a generator in all() costs twice the time on the hot path
        if leaf(facts) is not True:
            return False
    return True


def lay_out(rules: Iterable[Rule], leaves: Mapping[Condition, Leaf], decided: Facts) -> Layout:
    """The layout for requests whose `DECIDED` facts are exactly these; `rules` come sorted by id."""
    layout = Layout()
    for rule in rules:
        kept = reduce_rule(rule, leaves, decided, DECIDED)
        if kept is None:
            continue
        when = tuple([leaves[item] for item in kept[0]])
        if rule.effect is Effect.DENY:
            unless = None if kept[1] is None else tuple([leaves[item] for item in kept[1]])
            denies = {Mode.ENFORCE: layout.denies, Mode.SHADOW: layout.shadow_denies}
            denies.get(rule.mode, layout.observed_denies).append(Deny(rule, when, unless))
        else:
            require = tuple(
                [
                    leaves[item]
                    for item in rule.require
                    if item.attribute not in DECIDED or leaves[item](decided) is not True
                ]
            )
            allows = {Mode.ENFORCE: layout.allows, Mode.SHADOW: layout.shadow_allows}
            allows.get(rule.mode, layout.observed_allows).append(Allow(rule, when, require))
        layout.posture = layout.posture or any(item.attribute in POSTURE for item in rule.conditions)
    return layout


def reduce_rule(
    rule: Rule, leaves: Mapping[Condition, Leaf], decided: Facts, names: tuple[str, ...]
) -> tuple[tuple[Condition, ...], tuple[Condition, ...] | None] | None:
    """(when, unless) without the conditions on `names`, or None if the rule cannot matter given these facts.

    `unless` comes back as None when it can never exempt.
    """
    denying = rule.effect is Effect.DENY
    for item in rule.when:
        if item.attribute in names:
            known = leaves[item](decided)
            if known is False or (known is None and not denying):
                return None
    when = tuple(item for item in rule.when if item.attribute not in names)
    if not rule.unless or any(item.attribute in names and leaves[item](decided) is not True for item in rule.unless):
        return when, None
    unless = tuple(item for item in rule.unless if item.attribute not in names)
    return (when, unless) if unless else None
