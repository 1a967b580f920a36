"""From a policy (IR) to closures, indexed by app: what a worker asks once a request.

Rules are laid out once for each app that any rule names, with the `app` conditions already decided; every other app
shares one layout, and a request without an app has its own. Decisions that recur are values made once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from policies.catalogue import POSTURE
from policies.decision import Decision, Effect, Explanation
from policies.evaluate import Facts, Leaf, Test, all_true, build_leaf, none_false
from policies.explain import Explainer, RuleLeaves
from policies.model import Condition, Mode, PolicyIR, PostureLimits, Rule
from policies.obligations import merge_obligations
from policies.reasons import Reason
from policies.zones import ZoneTable

INTERNAL_ERROR: Final = Decision(Effect.DENY, Reason.INTERNAL_ERROR, "")
NOTHING_APPLIES: Final = Decision(Effect.DENY, Reason.NO_APPLICABLE_RULE, "")
UNMET: Final = Decision(Effect.DENY, Reason.UNMET_CONDITIONS, "")
CACHE_LIMIT: Final = 4096
"""Allow decisions kept a layout; beyond it they are built anew each time."""

_NO_APP_NAMED: Final = "\0"  # stands for every app that no rule names: no app id can be this
_log = logging.getLogger(__name__)


class _Deny:
    """One deny rule of a layout: `test` holds when the rule matches (exemption already inside)."""

    __slots__ = ("decision", "expires", "id", "test", "warn")

    def __init__(self, rule: Rule, test: Test) -> None:
        self.id = rule.id
        self.test = test
        self.decision = Decision(Effect.DENY, Reason.DENIED_BY_RULE, rule.id)
        self.expires = rule.expires
        self.warn = rule.mode is Mode.WARN


class _Allow:
    """One allow rule of a layout: `when` says whether it applies, `require` whether it is satisfied."""

    __slots__ = ("expires", "id", "obligations", "require", "warn", "when")

    def __init__(self, rule: Rule, when: Test, require: Test) -> None:
        self.id = rule.id
        self.when = when
        self.require = require
        self.obligations = rule.obligations
        self.expires = rule.expires
        self.warn = rule.mode is Mode.WARN


class _Layout:
    """The rules that can matter for one app, sorted by id within each list."""

    __slots__ = ("allows", "cache", "denies", "needs", "observed_allows", "observed_denies", "posture",
                 "shadow_allows", "shadow_denies")

    def __init__(self) -> None:
        self.denies: list[_Deny] = []
        self.observed_denies: list[_Deny] = []
        self.shadow_denies: list[_Deny] = []
        self.allows: list[_Allow] = []
        self.observed_allows: list[_Allow] = []
        self.shadow_allows: list[_Allow] = []
        self.needs: frozenset[str] = frozenset()
        self.posture = False
        self.cache: dict[tuple[str, ...], Decision] = {}


class CompiledPolicy:
    """One policy version, ready to decide. Immutable in effect: its caches never change an answer."""

    def __init__(self, ir: PolicyIR) -> None:
        """Compile `ir`; raises ConditionInvalid or ValueError when any part of it is not understood."""
        self.hash = ir.hash
        self.title = ir.title
        self.ir = ir
        self._zones = ZoneTable(ir.zones)
        self._posture = ir.posture
        self._grace = dict(ir.posture.grace)
        merge_obligations(rule.obligations for rule in ir.rules)  # an obligation that nobody knows is a fault now
        leaves = _build_leaves(ir.rules)
        conditions = [item for rule in ir.rules for item in rule.conditions if item.attribute == "app"]
        named = {str(value) for item in conditions for value in item.values}
        self._layouts = {app: _lay_out(ir.rules, leaves, app) for app in sorted(named)}
        self._other = _lay_out(ir.rules, leaves, _NO_APP_NAMED)
        self._absent = _lay_out(ir.rules, leaves, None)
        self._explainer = Explainer(
            ir.hash, tuple(RuleLeaves.build(rule, leaves) for rule in ir.rules), self._decide, self.fresh_facts
        )

    def evaluate(self, facts: Facts) -> Decision:
        """Decide. Total: whatever the facts, the answer is a Decision; a fault of ours denies as `internal_error`."""
        try:
            return self._decide(facts)
        except Exception:  # noqa: BLE001  # whatever went wrong here, the request must be refused, not the worker
            _log.exception("policy evaluation failed; the request is refused")
            return INTERNAL_ERROR

    def explain(self, facts: Facts) -> Explanation:
        """Decide and say why, what was unmet and what would help. Total as `evaluate`."""
        try:
            return self._explainer.explain(facts)
        except Exception:  # noqa: BLE001  # a refusal without its explanation is still a refusal
            _log.exception("policy explanation failed")
            return Explanation(self.evaluate(facts), (), "", (), "", None, self.hash)

    def zone_of(self, address: str) -> str:
        """The zone of a textual address: `internet` when no network of the policy holds it."""
        return self._zones.zone_of(address)

    def needs(self, app_id: str) -> frozenset[str]:
        """Names of the facts that a decision about this app can depend on."""
        return self._layouts.get(app_id, self._other).needs

    def fresh_facts(self, facts: Facts) -> Facts:
        """The facts without what a stale posture no longer tells; the same object when the posture is fresh."""
        if _posture_is_fresh(facts, self._posture, self._grace):
            return facts
        return {name: value for name, value in facts.items() if name not in POSTURE}

    def _decide(self, facts: Facts) -> Decision:
        app = facts.get("app")
        layout = self._layouts.get(app, self._other) if type(app) is str else self._absent
        if layout.posture:
            facts = self.fresh_facts(facts)
        for deny in layout.denies:
            if deny.test(facts):
                if layout.observed_denies:
                    break
                return deny.decision
        if layout.observed_denies or layout.observed_allows:
            return _decide_observing(layout, facts)
        granting: list[_Allow] = []
        applies = False
        for allow in layout.allows:
            if allow.when(facts):
                if allow.require(facts):
                    granting.append(allow)
                else:
                    applies = True
        return _settle(layout, facts, granting, applies)


def compile_policy(ir: PolicyIR) -> CompiledPolicy:
    """Return the compiled policy.

    Raises:
        policies.evaluate.ConditionInvalid: a condition outside the catalogue.
        ValueError: a zone's network is not one.
    """
    return CompiledPolicy(ir)


def _decide_observing(layout: _Layout, facts: Facts) -> Decision:
    """As `_decide`, where some rules do not bite before their expiry. Without a clock every rule bites."""
    now = facts.get("time.now")
    moment = float(now) if type(now) is float or type(now) is int else None
    matching = [deny for deny in layout.observed_denies if deny.test(facts)]
    denials = [deny for deny in layout.denies if deny.test(facts)]
    denials += [deny for deny in matching if not _waits(deny, moment)]
    if denials:
        return min(denials, key=lambda item: item.id).decision
    applying = [allow for allow in layout.allows + layout.observed_allows if allow.when(facts)]
    granting = [allow for allow in applying if allow.require(facts)]
    observed: list[_Deny | _Allow] = list(matching)
    if not granting:
        granting = [allow for allow in applying if allow in layout.observed_allows and _waits(allow, moment)]
        observed += granting
    granting.sort(key=lambda item: item.id)
    if not granting or not observed:
        return _settle(layout, facts, granting, bool(applying))
    return Decision(
        Effect.ALLOW, Reason.ALLOWED_OBSERVED, granting[0].id,
        merge_obligations(item.obligations for item in granting),
        shadow=_matching(layout.shadow_denies, facts),
        warn=any(item.warn for item in observed),
        observed=tuple(sorted(item.id for item in observed)),
    )


def _waits(rule: _Deny | _Allow, moment: float | None) -> bool:
    return moment is not None and rule.expires is not None and moment < rule.expires


def _settle(layout: _Layout, facts: Facts, granting: Sequence[_Allow], applies: bool) -> Decision:
    """The decision when no enforced deny matched and nothing was lifted; `granting` is sorted by id."""
    if not granting:
        shadow = tuple(item.id for item in layout.shadow_allows if item.when(facts) and item.require(facts))
        if shadow:
            return Decision(Effect.DENY, UNMET.reason if applies else NOTHING_APPLIES.reason, "", shadow=shadow)
        return UNMET if applies else NOTHING_APPLIES
    shadow = _matching(layout.shadow_denies, facts) if layout.shadow_denies else ()
    key = tuple([allow.id for allow in granting])
    decision = None if shadow else layout.cache.get(key)
    if decision is None:
        obligations = merge_obligations(allow.obligations for allow in granting)
        decision = Decision(Effect.ALLOW, Reason.ALLOWED, key[0], obligations, shadow)
        if not shadow and len(layout.cache) < CACHE_LIMIT:
            layout.cache[key] = decision
    return decision


def _matching(rules: Iterable[_Deny], facts: Facts) -> tuple[str, ...]:
    return tuple(rule.id for rule in rules if rule.test(facts))


def _posture_is_fresh(facts: Facts, limits: PostureLimits, grace: dict[str, float]) -> bool:
    read, seen, zone = facts.get("posture.read_age"), facts.get("posture.seen_age"), facts.get("net.zone")
    if type(read) not in (float, int) or type(seen) not in (float, int):
        return False
    allowed = limits.read_max + (grace.get(zone, 0.0) if type(zone) is str else 0.0)
    return bool(read <= allowed and seen <= limits.seen_max)  # type: ignore[operator]  # both numbers, checked above


def _build_leaves(rules: Iterable[Rule]) -> dict[Condition, Leaf]:
    """One closure for each distinct condition, shared by the rules that use it."""
    shared: dict[tuple[str, str, tuple[object, ...]], Leaf] = {}
    leaves: dict[Condition, Leaf] = {}
    for rule in rules:
        for item in rule.conditions:
            key = (item.attribute, item.operator, item.values)
            leaves[item] = shared.setdefault(key, build_leaf(item))
    return leaves


def _lay_out(rules: Iterable[Rule], leaves: dict[Condition, Leaf], app: str | None) -> _Layout:
    layout = _Layout()
    needs: set[str] = set()
    facts: dict[str, object] = {} if app is None else {"app": app}
    for rule in sorted(rules, key=lambda item: item.id):
        kept = _for_app(rule, leaves, facts)
        if kept is None:
            continue
        when, unless = kept
        needs.update(item.attribute for item in when + rule.require + (unless or ()))
        if rule.effect is Effect.DENY:
            target = {Mode.ENFORCE: layout.denies, Mode.SHADOW: layout.shadow_denies}
            target.get(rule.mode, layout.observed_denies).append(_Deny(rule, _deny_test(when, unless, leaves)))
        else:
            granted = {Mode.ENFORCE: layout.allows, Mode.SHADOW: layout.shadow_allows}
            applies, satisfied = ([leaves[item] for item in part] for part in (when, rule.require))
            granted.get(rule.mode, layout.observed_allows).append(_Allow(rule, all_true(applies), all_true(satisfied)))
    layout.posture = not needs.isdisjoint(POSTURE)
    if layout.posture:
        needs |= {"posture.read_age", "posture.seen_age", "net.zone"}
    if layout.observed_denies or layout.observed_allows:
        needs.add("time.now")
    layout.needs = frozenset(needs)
    return layout


def _for_app(
    rule: Rule, leaves: dict[Condition, Leaf], facts: Facts
) -> tuple[tuple[Condition, ...], tuple[Condition, ...] | None] | None:
    """(when, unless) with the `app` conditions decided and left out, or None if the rule cannot matter here.

    `unless` comes back as None when it can never exempt.
    """
    denying = rule.effect is Effect.DENY
    for item in rule.when:
        if item.attribute == "app":
            known = leaves[item](facts)
            if known is False or (known is None and not denying):
                return None
    when = tuple(item for item in rule.when if item.attribute != "app")
    if not rule.unless or any(item.attribute == "app" and leaves[item](facts) is not True for item in rule.unless):
        return when, None
    unless = tuple(item for item in rule.unless if item.attribute != "app")
    return (when, unless) if unless else None


def _deny_test(when: Sequence[Condition], unless: Sequence[Condition] | None, leaves: dict[Condition, Leaf]) -> Test:
    matches = none_false([leaves[item] for item in when])
    if unless is None:
        return matches
    exempt = all_true([leaves[item] for item in unless])
    return lambda facts: matches(facts) and not exempt(facts)
