"""The engine against the naive oracle, and the laws that every policy obeys."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.catalogue import CATALOGUE, DEFAULTS, POSTURE
from policies.compile import CompiledPolicy, compile_policy
from policies.decision import Decision, Effect, Obligation
from policies.model import Condition, Mode, PolicyIR, PostureLimits, Rule
from policies.narrow import ASKED
from policies.reasons import Reason
from tests.support import policy_oracle, policy_worlds
from tests.support.policy_worlds import NOW

worlds = st.integers(0, 2**32).map(random.Random)


def plain(decision: Decision) -> dict[str, Any]:
    """A decision as the oracle writes it."""
    obligations = tuple((item.name, item.value) for item in decision.obligations)
    return {
        "effect": decision.effect.value,
        "reason": decision.reason.value,
        "rule": decision.rule,
        "obligations": obligations,
        "shadow": decision.shadow,
        "warn": decision.warn,
        "observed": decision.observed,
    }


@pytest.mark.promise("P1.policy-equals-oracle")
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_oracle_on_random_policies_and_facts(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # a reproducible world, not a secret
    seen: set[str] = set()
    for _ in range(150):
        ir = policy_worlds.policy(rng)
        compiled = compile_policy(ir)
        for _ in range(12):
            facts = policy_worlds.facts(rng)
            decision = compiled.evaluate(facts)
            assert plain(decision) == policy_oracle.decide(ir, facts), (ir.rules, facts)
            assert compiled.explain(facts).decision == decision
            seen.add(decision.reason.value)
    assert seen == {"allowed", "allowed_observed", "denied_by_rule", "unmet_conditions", "no_applicable_rule"}


@pytest.mark.parametrize("seed", range(4))
def test_a_narrowed_policy_decides_as_the_whole_one(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # a reproducible world, not a secret
    seen: set[str] = set()
    decided: set[bool] = set()
    for _ in range(150):
        compiled = compile_policy(policy_worlds.policy(rng))
        for _ in range(4):
            facts = compiled.fresh_facts(policy_worlds.facts(rng))
            narrowed = compiled.narrow({name: value for name, value in facts.items() if name not in ASKED})
            decided.add(isinstance(narrowed, Decision))
            for _ in range(4):
                other = policy_worlds.facts(rng)
                asked = {name: other[name] for name in ASKED if name in other}
                decision = narrowed if isinstance(narrowed, Decision) else narrowed(asked)
                whole = {name: value for name, value in facts.items() if name not in ASKED} | asked
                assert decision == compiled.evaluate(whole, fresh=True), whole
                seen.add(decision.reason.value)
    assert seen == {"allowed", "allowed_observed", "denied_by_rule", "unmet_conditions", "no_applicable_rule"}
    assert decided == {True, False}


def test_a_fault_in_a_narrowed_policy_refuses(caplog: pytest.LogCaptureFixture) -> None:
    compiled = only(allow(when=(is_app("juki"), Condition("http.path", "under", ("/a",)))))
    decide = compiled.narrow({"app": "juki"})
    assert not isinstance(decide, Decision)
    assert decide({"http.path": "/a/b"}).effect is Effect.ALLOW
    assert decide(Unreadable()) == Decision(Effect.DENY, Reason.INTERNAL_ERROR, "")
    unreadable = compiled.narrow(Unreadable())
    assert not isinstance(unreadable, Decision)
    assert unreadable({}).effect is Effect.DENY
    assert "the request is refused" in caplog.text


@settings(max_examples=150, deadline=None)
@given(worlds)
def test_order_of_rules_is_irrelevant(rng: random.Random) -> None:
    ir = policy_worlds.policy(rng)
    shuffled = list(ir.rules)
    rng.shuffle(shuffled)
    other = compile_policy(dataclasses.replace(ir, rules=tuple(shuffled)))
    compiled = compile_policy(ir)
    for _ in range(5):
        facts = policy_worlds.facts(rng)
        assert compiled.evaluate(facts) == other.evaluate(facts)
        assert compiled.explain(facts) == other.explain(facts)


@settings(max_examples=150, deadline=None)
@given(worlds)
def test_adding_a_deny_rule_never_allows(rng: random.Random) -> None:
    ir = policy_worlds.policy(rng)
    extra = policy_worlds.rule(rng, "zz")
    while extra.effect is not Effect.DENY:
        extra = policy_worlds.rule(rng, "zz")
    compiled, stricter = compile_policy(ir), compile_policy(dataclasses.replace(ir, rules=(*ir.rules, extra)))
    for _ in range(5):
        facts = policy_worlds.facts(rng)
        if compiled.evaluate(facts).effect is Effect.DENY:
            assert stricter.evaluate(facts).effect is Effect.DENY


@pytest.mark.promise("P1.missing-never-allows")
@settings(max_examples=150, deadline=None)
@given(worlds)
def test_taking_a_fact_away_never_allows(rng: random.Random) -> None:
    compiled = compile_policy(policy_worlds.policy(rng))
    for _ in range(5):
        facts = policy_worlds.facts(rng)
        lost = rng.choice([name for name in CATALOGUE if name not in DEFAULTS])
        fewer = {name: value for name, value in facts.items() if name != lost}
        if compiled.evaluate(facts).effect is Effect.DENY:
            assert compiled.evaluate(fewer).effect is Effect.DENY, lost


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.promise("P1.evaluation-total")
@settings(max_examples=150, deadline=None)
@given(worlds, st.dictionaries(st.sampled_from(sorted(CATALOGUE)), hostile))
def test_any_facts_get_a_decision_and_an_explanation(rng: random.Random, facts: dict[str, object]) -> None:
    compiled = compile_policy(policy_worlds.policy(rng))
    decision = compiled.evaluate(facts)
    assert decision.reason is not Reason.INTERNAL_ERROR
    assert compiled.explain(facts).decision == decision


class Unreadable(dict[str, object]):
    """Facts whose reading fails: stands for a fault of our own."""

    def get(self, key: str, default: object = None) -> object:
        raise RuntimeError(f"no {key}, not even {default}")


@pytest.mark.promise("P1.policy-fault-refuses")
def test_a_fault_inside_refuses(caplog: pytest.LogCaptureFixture) -> None:
    compiled = only(allow())
    assert compiled.evaluate(Unreadable()) == Decision(Effect.DENY, Reason.INTERNAL_ERROR, "")
    assert compiled.explain(Unreadable()).decision.reason is Reason.INTERNAL_ERROR
    assert "the request is refused" in caplog.text


def allow(identity: str = "a", **changes: Any) -> Rule:
    """An allow rule that grants app `juki` to everybody."""
    base = Rule(identity, Effect.ALLOW, "", "", Mode.ENFORCE, None, (is_app("juki"),), (), (), "", ())
    return dataclasses.replace(base, **changes)


def deny(identity: str = "d", **changes: Any) -> Rule:
    """A deny rule that hits everybody."""
    return dataclasses.replace(Rule(identity, Effect.DENY, "", "", Mode.ENFORCE, None, (), (), (), "", ()), **changes)


def is_app(app: str) -> Any:
    """The condition `app: [app]`."""
    return Condition("app", "any_of", (app,))


def only(*rules: Rule) -> CompiledPolicy:
    """A policy of these rules."""
    ir = PolicyIR("0" * 64, "t", 1, "", "", (), (), PostureLimits(grace=(("office", 14400.0),)), rules)
    return compile_policy(ir)


def test_a_policy_without_rules_denies() -> None:
    assert only().evaluate({"app": "juki"}) == Decision(Effect.DENY, Reason.NO_APPLICABLE_RULE, "")


@pytest.mark.parametrize(
    ("mode", "now", "reason", "warn"),
    [
        (Mode.OBSERVE, NOW - 1, Reason.ALLOWED_OBSERVED, False),
        (Mode.WARN, NOW - 1, Reason.ALLOWED_OBSERVED, True),
        (Mode.OBSERVE, NOW, Reason.DENIED_BY_RULE, False),
        (Mode.WARN, NOW + 1, Reason.DENIED_BY_RULE, False),
        (Mode.OBSERVE, None, Reason.DENIED_BY_RULE, False),
        (Mode.OBSERVE, "soon", Reason.DENIED_BY_RULE, False),
    ],
)
@pytest.mark.promise("P1.observe-bounded")
def test_an_observed_deny_bites_from_its_expiry_and_without_a_clock(
    mode: Mode, now: object, reason: Reason, warn: bool
) -> None:
    decision = only(allow(), deny(mode=mode, expires=NOW)).evaluate({"app": "juki", "time.now": now})
    assert (decision.reason, decision.warn) == (reason, warn)
    assert decision.observed == (("d",) if reason is Reason.ALLOWED_OBSERVED else ())


def test_an_observed_allow_lifts_its_requirements_but_no_enforced_deny() -> None:
    wanting = allow(mode=Mode.OBSERVE, expires=NOW, require=(Condition("device.known", "is", (True,)),))
    facts = {"app": "juki", "time.now": NOW - 1, "device.known": False}
    assert plain(only(wanting).evaluate(facts))["reason"] == "allowed_observed"
    assert only(wanting).evaluate({**facts, "time.now": NOW}).reason is Reason.UNMET_CONDITIONS
    assert only(wanting, deny()).evaluate(facts).reason is Reason.DENIED_BY_RULE
    assert only(wanting, allow("b")).evaluate(facts).reason is Reason.ALLOWED, "a satisfied rule needs no lifting"
    assert only(wanting).evaluate({**facts, "device.known": True}).reason is Reason.ALLOWED


def test_shadow_rules_have_no_effect_and_are_reported_only_where_they_differ() -> None:
    shadow_deny, shadow_allow = deny("s", mode=Mode.SHADOW), allow("s", mode=Mode.SHADOW)
    facts = {"app": "juki"}
    assert only(allow(), shadow_deny).evaluate(facts) == Decision(Effect.ALLOW, Reason.ALLOWED, "a", shadow=("s",))
    assert only(allow(), shadow_allow).evaluate(facts).shadow == ()
    assert only(shadow_allow).evaluate(facts) == Decision(Effect.DENY, Reason.NO_APPLICABLE_RULE, "", shadow=("s",))
    assert only(shadow_allow, deny()).evaluate(facts).shadow == (), "an enforced deny would still win"
    assert only(allow(), shadow_deny).explain(facts).decision.shadow == ("s",)


@pytest.mark.parametrize(
    ("zone", "read_age", "seen_age", "fresh"),
    [
        ("internet", 900.0, 86400.0, True),
        ("internet", 900.1, 86400.0, False),
        ("internet", 900.0, 86400.1, False),
        ("office", 15300.0, 60.0, True),
        ("office", 15300.1, 60.0, False),
        ("office", 60.0, 86400.1, False),  # grace is about reading, never about the device's own silence
        (None, 900.1, 60.0, False),
        (["office"], 900.1, 60.0, False),
        ("office", None, 60.0, False),
        ("office", 60.0, None, False),
        ("office", float("nan"), 60.0, False),
        ("office", True, 60.0, False),
    ],
)
@pytest.mark.promise("P1.stale-posture-denies")
def test_stale_posture_is_missing(zone: object, read_age: object, seen_age: object, fresh: bool) -> None:
    compiled = only(allow(require=(Condition("device.compliant", "is", (True,)),)))
    facts = {
        "app": "juki",
        "device.compliant": True,
        "net.zone": zone,
        "posture.read_age": read_age,
        "posture.seen_age": seen_age,
    }
    assert compiled.evaluate(facts).effect is (Effect.ALLOW if fresh else Effect.DENY)
    told = compiled.fresh_facts(facts)
    assert (told is facts) is fresh
    assert fresh or not POSTURE & set(told)


def test_needs_names_what_a_decision_can_depend_on() -> None:
    compliant = Condition("device.compliant", "is", (True,))
    zone = Condition("net.zone", "any_of", ("office",))
    compiled = only(allow(require=(compliant,)), deny(when=(is_app("wiki"), zone), unless=(compliant,)))
    assert compiled.needs("juki") == {"device.compliant", "posture.read_age", "posture.seen_age", "net.zone"}
    assert compiled.needs("wiki") >= {"net.zone", "device.compliant"}
    assert compiled.needs("other") == frozenset()
    assert "time.now" in only(allow(mode=Mode.WARN, expires=NOW)).needs("juki")


def test_obligations_of_all_granting_rules_merge_strictest_wins() -> None:
    one = allow("b", obligations=(Obligation("session_max", "900"),))
    both = (Obligation("log", "full"), Obligation("session_max", "60"))
    two = allow("a", obligations=both)
    decision = only(one, two).evaluate({"app": "juki"})
    assert plain(decision)["obligations"] == (("log", "full"), ("session_max", "60"))
    assert decision.rule == "a"
    with pytest.raises(ValueError, match="read_only"):
        only(allow(obligations=(Obligation("read_only", "yes"),)))
