"""From a policy (IR) to closures, indexed by app, sensitivity and zone: what a worker asks once a request.

Layouts are made when first needed and kept; decisions that recur are values made once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from policies.catalogue import POSTURE, SENSITIVITY
from policies.decision import Decision, Effect, Explanation
from policies.evaluate import Facts, Leaf, build_leaf
from policies.explain import Explainer, RuleLeaves
from policies.layout import DECIDED, Allow, Deny, Layout, holds, lay_out, reduce_rule
from policies.model import Condition, Mode, PolicyIR, PostureLimits, Rule
from policies.narrow import ASKED, asks, narrow
from policies.obligations import merge_obligations
from policies.reasons import Reason
from policies.zones import ZoneTable

INTERNAL_ERROR: Final = Decision(Effect.DENY, Reason.INTERNAL_ERROR, "")
NOTHING_APPLIES: Final = Decision(Effect.DENY, Reason.NO_APPLICABLE_RULE, "")
UNMET: Final = Decision(Effect.DENY, Reason.UNMET_CONDITIONS, "")
CACHE_LIMIT: Final = 4096
"""Layouts kept by exact facts, and allow decisions kept a layout; beyond it they are looked up or built anew."""

_UNNAMED: Final = "\0"  # stands for every app or zone that no rule names: no name can be this
_log = logging.getLogger(__name__)


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
        self._rules = tuple(sorted(ir.rules, key=lambda rule: rule.id))
        self._leaves = _build_leaves(self._rules)
        self._asking = frozenset(leaf for item, leaf in self._leaves.items() if item.attribute in ASKED)
        self._named = {
            name: frozenset(
                str(value)
                for rule in ir.rules
                for item in rule.conditions
                if item.attribute == name
                for value in item.values
            )
            for name in ("app", "net.zone")
        }
        self._layouts: dict[tuple[object, ...], Layout] = {}  # by the facts as they come, bounded
        self._distinct: dict[tuple[str | None, ...], Layout] = {}  # by what rules can tell apart
        self._explainer = Explainer(
            ir.hash, tuple(RuleLeaves.build(rule, self._leaves) for rule in self._rules), self._decide, self.fresh_facts
        )

    def evaluate(self, facts: Facts, *, fresh: bool = False) -> Decision:
        """Decide. Total: whatever the facts, the answer is a Decision; a fault of ours denies as `internal_error`.

        `fresh` says that the facts come from `fresh_facts`: it need not be asked again.
        """
        try:
            return self._decide(facts, fresh)
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
        needs: set[str] = set()
        for rule in self._rules:
            kept = reduce_rule(rule, self._leaves, {"app": app_id}, ("app",))
            if kept is not None:
                needs.update(item.attribute for item in (*kept[0], *rule.require, *(kept[1] or ())))
                needs.update({"time.now"} if rule.mode in (Mode.OBSERVE, Mode.WARN) else ())
        if not needs.isdisjoint(POSTURE):
            needs |= {"posture.read_age", "posture.seen_age", "net.zone"}
        return frozenset(needs)

    def fresh_facts(self, facts: Facts) -> Facts:
        """The facts without what a stale posture no longer tells; the same object when the posture is fresh."""
        if _posture_is_fresh(facts, self._posture, self._grace):
            return facts
        return {name: value for name, value in facts.items() if name not in POSTURE}

    def _decide(self, facts: Facts, fresh: bool = False) -> Decision:
        key = (facts.get("app"), facts.get("app.sensitivity"), facts.get("net.zone"))
        try:
            layout = self._layouts[key]
        except (KeyError, TypeError):  # not seen yet, or a fact that is no text
            layout = self._layout(key)
        if layout.posture and not fresh:
            facts = self.fresh_facts(facts)
        if layout.observed_denies or layout.observed_allows:
            return _decide_observing(layout, facts)
        return _decide_enforced(layout, facts)

    def narrow(self, facts: Facts) -> Decision | Callable[[Facts], Decision]:
        """Return what decides for these facts and any of `narrow.ASKED`, as `evaluate` does for all of them together.

        Where no rule asks for those, it is decided. The facts come from `fresh_facts`. Worth it where several decisions
        follow.
        """
        try:
            layout = self._layout(tuple(facts.get(name) for name in DECIDED))
            if not (layout.observed_denies or layout.observed_allows or layout.shadow_denies or layout.shadow_allows):
                narrowed = narrow(layout, facts, self._asking)
                return partial(_decide_narrowed, narrowed) if asks(narrowed) else _decide_narrowed(narrowed, {})
        except Exception:  # noqa: BLE001  # the whole policy decides, and refuses where it fails too
            _log.exception("narrowing the policy failed")
        return lambda asked: self.evaluate({**facts, **asked}, fresh=True)

    def _layout(self, key: tuple[object, ...]) -> Layout:
        """The layout for these facts, shared by all that no rule tells apart."""
        app, sensitivity, zone = (value if isinstance(value, str) else None for value in key)
        if app is not None and app not in self._named["app"]:
            app = _UNNAMED
        if zone is not None and zone not in self._named["net.zone"]:
            zone = _UNNAMED
        if sensitivity not in SENSITIVITY:
            sensitivity = None
        distinct = (app, sensitivity, zone)
        layout = self._distinct.get(distinct)
        if layout is None:
            decided = {name: value for name, value in zip(DECIDED, distinct, strict=True) if value is not None}
            layout = self._distinct[distinct] = lay_out(self._rules, self._leaves, decided)
        if len(self._layouts) < CACHE_LIMIT and all(isinstance(value, str) for value in key):
            self._layouts[key] = layout
        return layout


def compile_policy(ir: PolicyIR) -> CompiledPolicy:
    """Return the compiled policy.

    Raises:
        policies.evaluate.ConditionInvalid: a condition outside the catalogue.
        ValueError: a zone's network is not one.
    """
    return CompiledPolicy(ir)


def _decide_narrowed(layout: Layout, asked: Facts) -> Decision:
    """Decide from what a narrowed layout asks for. Total as `evaluate`."""
    try:
        return _decide_enforced(layout, asked)
    except Exception:  # noqa: BLE001  # as in `evaluate`
        _log.exception("policy evaluation failed; the request is refused")
        return INTERNAL_ERROR


def _decide_enforced(layout: Layout, facts: Facts) -> Decision:
    """Decide where every rule bites at once."""
    for deny in layout.denies:
        if deny.matches(facts):
            return deny.decision
    granting: list[Allow] = []
    applies = False
    for allow in layout.allows:
        for leaf in allow.when:
            if leaf(facts) is not True:
                break
        else:
            for leaf in allow.require:
                if leaf(facts) is not True:
                    applies = True
                    break
            else:
                granting.append(allow)
    if len(granting) == 1 and not layout.shadow_denies:
        return granting[0].decision
    return _settle(layout, facts, granting, applies)


def _decide_observing(layout: Layout, facts: Facts) -> Decision:
    """As `_decide`, where some rules do not bite before their expiry. Without a clock every rule bites."""
    now = facts.get("time.now")
    moment = float(now) if type(now) is float or type(now) is int else None
    matching = [deny for deny in layout.observed_denies if deny.matches(facts)]
    denials = [deny for deny in layout.denies if deny.matches(facts)]
    denials += [deny for deny in matching if not _waits(deny, moment)]
    if denials:
        return min(denials, key=lambda item: item.id).decision
    applying = [allow for allow in layout.allows + layout.observed_allows if holds(allow.when, facts)]
    granting = [allow for allow in applying if holds(allow.require, facts)]
    observed: list[Deny | Allow] = list(matching)
    if not granting:
        granting = [allow for allow in applying if allow in layout.observed_allows and _waits(allow, moment)]
        observed += granting
    granting.sort(key=lambda item: item.id)
    if not granting or not observed:
        return _settle(layout, facts, granting, bool(applying))
    return Decision(
        Effect.ALLOW,
        Reason.ALLOWED_OBSERVED,
        granting[0].id,
        merge_obligations(item.obligations for item in granting),
        shadow=_matching(layout.shadow_denies, facts),
        warn=any(item.warn for item in observed),
        observed=tuple(sorted(item.id for item in observed)),
    )


def _waits(rule: Deny | Allow, moment: float | None) -> bool:
    return moment is not None and rule.expires is not None and moment < rule.expires


def _settle(layout: Layout, facts: Facts, granting: Sequence[Allow], applies: bool) -> Decision:
    """The decision when no enforced deny matched and nothing was lifted; `granting` is sorted by id."""
    if not granting:
        shadow = tuple(
            item.id for item in layout.shadow_allows if holds(item.when, facts) and holds(item.require, facts)
        )
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


def _matching(rules: Iterable[Deny], facts: Facts) -> tuple[str, ...]:
    return tuple(rule.id for rule in rules if rule.matches(facts))


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
