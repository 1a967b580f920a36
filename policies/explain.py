"""Why a decision came out as it did, and what would help: the full answer, built on denial or on request.

Two readers: a person sees remedies and advice, the CISO sees rules, thresholds and values. A rule whose `when` did
not hold is nobody's business here and never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from policies.catalogue import AMR_OF_METHOD, CATALOGUE, MFA_METHODS, Kind
from policies.decision import Decision, Effect, Explanation, StepUpNeed, Unmet
from policies.evaluate import Facts, Leaf
from policies.model import Condition, Mode, Rule
from policies.reasons import Reason
from policies.units import format_clock, format_duration, rough_duration

REVERSED: Final[Mapping[str, str]] = {
    "is": "is_not",
    "any_of": "none_of",
    "none_of": "any_of",
    "all_of": "not_all_of",
    "min": "less_than",
    "max": "more_than",
    "between": "outside",
    "under": "not_under",
    "equals": "not_equals",
    "template": "not_template",
}
"""The operator that would lift a deny rule's condition."""

READABLE_MAX: Final = 1e12
"""Numbers beyond this are shown as they are: nobody reads them as a duration."""

FIXABLE_COST: Final = 100
"""A condition of this cost or more is about what the request is, not about what a person could change."""

Pair = tuple[Condition, Leaf]


@dataclass(frozen=True, slots=True)
class RuleLeaves:
    """A rule with the closure of each of its conditions."""

    rule: Rule
    when: tuple[Pair, ...]
    require: tuple[Pair, ...]
    unless: tuple[Pair, ...]

    @classmethod
    def build(cls, rule: Rule, leaves: Mapping[Condition, Leaf]) -> RuleLeaves:
        """Join a rule with its closures."""

        def pairs(conditions: Iterable[Condition]) -> tuple[Pair, ...]:
            return tuple((item, leaves[item]) for item in conditions)

        return cls(rule, pairs(rule.when), pairs(rule.require), pairs(rule.unless))

    def applies(self, facts: Facts) -> bool:
        """An allow rule is about these facts: every `when` is known to hold."""
        return all(leaf(facts) is True for _, leaf in self.when)

    def matches(self, facts: Facts) -> bool:
        """A deny rule hits these facts: no `when` is known to fail and no exemption is known to hold."""
        if any(leaf(facts) is False for _, leaf in self.when):
            return False
        return not (self.unless and all(leaf(facts) is True for _, leaf in self.unless))

    def waits(self, facts: Facts) -> bool:
        """The rule is in observe or warn and its time has not come; without a clock it has."""
        now = facts.get("time.now")
        return (
            self.rule.mode in (Mode.OBSERVE, Mode.WARN)
            and self.rule.expires is not None
            and (type(now) is float or type(now) is int)
            and now < self.rule.expires
        )


class Explainer:
    """Explains the decisions of one policy version."""

    __slots__ = ("_allows", "_decide", "_denies", "_fresh", "_hash")

    def __init__(
        self,
        policy_hash: str,
        rules: Sequence[RuleLeaves],
        decide: Callable[[Facts], Decision],
        fresh: Callable[[Facts], Facts],
    ) -> None:
        """`decide` is the hot path's own answer; `fresh` leaves out what a stale posture no longer tells."""
        biting = [item for item in sorted(rules, key=lambda item: item.rule.id) if item.rule.mode is not Mode.SHADOW]
        self._allows = [item for item in biting if item.rule.effect is Effect.ALLOW]
        self._denies = [item for item in biting if item.rule.effect is Effect.DENY]
        self._decide = decide
        self._fresh = fresh
        self._hash = policy_hash

    def explain(self, facts: Facts) -> Explanation:
        """The full answer for one set of facts."""
        decision = self._decide(facts)
        known = self._fresh(facts)
        if decision.effect is Effect.ALLOW:
            return self._explain_allow(decision, facts, known)
        step_up = self._step_up(facts)
        if decision.reason is Reason.DENIED_BY_RULE:
            hits = [item for item in self._denies if not item.waits(known) and item.matches(known)]
            unmet = tuple(gap for item in hits for gap in _lifting(item, facts, known))
            return self._answer(decision, [item.rule for item in hits], "", unmet, step_up)
        nearest, unmet = self._nearest(facts, known)
        rules = [nearest.rule] if nearest else []
        return self._answer(decision, rules, rules[0].id if rules else "", unmet, step_up)

    def _explain_allow(self, decision: Decision, facts: Facts, known: Facts) -> Explanation:
        granting = [item for item in self._allows if item.applies(known) and not _gaps(item, facts, known)]
        deciding = [item.rule.id for item in granting] or [decision.rule]
        observed = [item for item in (*self._allows, *self._denies) if item.rule.id in decision.observed]
        unmet = tuple(
            gap
            for item in observed
            for gap in (_gaps(item, facts, known) if item.rule.effect is Effect.ALLOW else _lifting(item, facts, known))
        )
        advice = next((item.rule.advice for item in observed if item.rule.advice), "")
        return Explanation(decision, tuple(deciding), "", unmet, advice, None, self._hash)

    def _answer(
        self,
        decision: Decision,
        rules: Sequence[Rule],
        nearest: str,
        unmet: tuple[Unmet, ...],
        step_up: StepUpNeed | None,
    ) -> Explanation:
        deciding = () if nearest else tuple(rule.id for rule in rules)
        advice = next((rule.advice for rule in rules if rule.advice), "")
        return Explanation(decision, deciding, nearest, unmet, advice, step_up, self._hash)

    def _nearest(self, facts: Facts, known: Facts) -> tuple[RuleLeaves | None, tuple[Unmet, ...]]:
        """The applicable allow rule whose unmet conditions are cheapest to meet; ties go to the smaller id."""
        best: tuple[int, RuleLeaves] | None = None
        for item in self._allows:
            if item.applies(known):
                open_ones = [condition for condition, leaf in item.require if leaf(known) is not True]
                cost = sum(CATALOGUE[condition.attribute].cost for condition in open_ones)
                if best is None or cost < best[0]:
                    best = (cost, item)
        if best is None:
            return None, ()
        return best[1], _gaps(best[1], facts, known)

    def _step_up(self, facts: Facts) -> StepUpNeed | None:
        """The second factor that alone would turn the answer into allow, found by deciding as if it had been shown."""
        helping: dict[str, float | None] = {}
        for method in MFA_METHODS:
            assumed = {**facts, "mfa.method": method, "mfa.age": 0.0, "mfa.amr": AMR_OF_METHOD[method]}
            decision = self._decide(assumed)
            if decision.effect is Effect.ALLOW:
                helping[method] = self._age_limit(decision.rule, self._fresh(assumed))
        if not helping:
            return None
        ages = [age for age in helping.values() if age is not None]
        return StepUpNeed(() if len(helping) == len(MFA_METHODS) else tuple(helping), min(ages) if ages else None)

    def _age_limit(self, rule_id: str, known: Facts) -> float | None:
        """The smallest age that the granting rule, or an exemption from a deny rule in play, asks of the factor."""
        pairs = [pair for item in self._allows if item.rule.id == rule_id for pair in item.when + item.require]
        for item in self._denies:
            if not any(leaf(known) is False for _, leaf in item.when):
                pairs.extend(item.unless)
        limits = [
            float(condition.values[0])
            for condition, _ in pairs
            if condition.attribute == "mfa.age" and condition.operator == "max"
        ]
        return min(limits) if limits else None


def _gaps(item: RuleLeaves, facts: Facts, known: Facts) -> tuple[Unmet, ...]:
    """What an applicable allow rule still wants."""
    return tuple(
        _unmet(condition, condition.operator, facts, known)
        for condition, leaf in item.require
        if leaf(known) is not True
    )


def _lifting(item: RuleLeaves, facts: Facts, known: Facts) -> tuple[Unmet, ...]:
    """What would lift a deny rule: any one of its changeable conditions reversed, or its exemption met."""
    reversed_when = [
        _unmet(condition, REVERSED[condition.operator], facts, known)
        for condition, _ in item.when
        if CATALOGUE[condition.attribute].cost < FIXABLE_COST
    ]
    exemption = [
        _unmet(condition, condition.operator, facts, known)
        for condition, leaf in item.unless
        if leaf(known) is not True and CATALOGUE[condition.attribute].cost < FIXABLE_COST
    ]
    return tuple(reversed_when + exemption)


def _unmet(condition: Condition, operator: str, facts: Facts, known: Facts) -> Unmet:
    attribute = CATALOGUE[condition.attribute]
    remediation, fixable = attribute.remediation, attribute.user_can_fix
    value = known.get(attribute.name)
    if attribute.posture and facts.get("device.known") is not True:
        remediation, fixable = "use_known_device", True
    elif attribute.posture and value is None:
        stale = facts.get(attribute.name) is not None and _is_older(facts, "posture.seen_age", "posture.read_age")
        remediation, fixable = ("refresh_posture", True) if stale else ("wait_for_posture", False)
    return Unmet(
        attribute.name,
        operator,
        describe_values(condition),
        describe_fact(attribute.kind, value),
        remediation,
        fixable,
        condition.advice,
    )


def _is_older(facts: Facts, name: str, other: str) -> bool:
    first, second = facts.get(name), facts.get(other)
    return type(first) in (int, float) and type(second) in (int, float) and first > second  # type: ignore[operator]


def describe_values(condition: Condition) -> str:
    """The wanted values as a policy file writes them."""
    values = condition.values
    match CATALOGUE[condition.attribute].kind:
        case Kind.BOOL:
            return "true" if values[0] is True else "false"
        case Kind.DURATION:
            return format_duration(float(values[0]))
        case Kind.CLOCK:
            return f"{format_clock(float(values[0]))}-{format_clock(float(values[1]))}"
        case _:
            return ", ".join(str(value) for value in values)


def describe_fact(kind: Kind, value: object) -> str | None:
    """One fact for reading; None where it is missing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and abs(value) < READABLE_MAX:
        if kind is Kind.DURATION:
            return rough_duration(value)
        if kind is Kind.CLOCK:
            return format_clock(value)
    if isinstance(value, frozenset | set):
        return ", ".join(sorted(str(item) for item in value))
    return str(value)
