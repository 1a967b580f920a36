"""The policy engine at its edges: units, networks, leaves, obligations, explanations, exact boundaries."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from policies import compile as compiling
from policies.catalogue import OPERATORS, Kind
from policies.decision import Decision, Effect, Explanation, Obligation
from policies.evaluate import ConditionInvalid, build_leaf, version_key
from policies.explain import REVERSED
from policies.model import Condition, Mode
from policies.obligations import merge_obligations
from policies.reasons import Reason
from policies.units import (
    format_clock,
    format_duration,
    format_instant,
    parse_clock,
    parse_duration,
    parse_instant,
    rough_duration,
)
from policies.zones import ZoneTable, parse_network
from tests.support.policy_worlds import NOW
from tests.support.small_policy import APP, COMPLIANT, policy, rule


@pytest.mark.parametrize(
    ("text", "seconds", "written"),
    [("90s", 90, "90s"), ("60s", 60, "1m"), ("15m", 900, "15m"), ("24h", 86400, "1d"), ("0s", 0, "0s"),
     ("999999999s", 999999999, "999999999s"), ("30d", 2592000, "30d"), ("36h", 129600, "36h")],
)  # fmt: skip
def test_durations(text: str, seconds: int, written: str) -> None:
    assert parse_duration(text) == seconds
    assert format_duration(seconds) == format_duration(seconds + 0.9) == written


@pytest.mark.parametrize("text", ["", "5", "m", "1.5h", "-1m", "1w", "1h30m", "1000000000s", " 1h", "1H"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a duration such as 15m, 12h or 30d$"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (3661, "1h1m"), (86399, "23h59m"),
     (86400, "1d"), (86460, "1d"), (90000, "1d1h"), (-5, "0s"), (2.9, "2s"), (172_800 + 7200 + 120, "2d2h")],
)  # fmt: skip
def test_rough_durations(seconds: float, text: str) -> None:
    assert rough_duration(seconds) == text


@pytest.mark.parametrize(("text", "minutes"), [("00:00", 0), ("08:05", 485), ("23:59", 1439), ("24:00", 1440)])
def test_clocks(text: str, minutes: int) -> None:
    assert (parse_clock(text), format_clock(minutes), format_clock(minutes + 0.9)) == (minutes, text, text)


@pytest.mark.parametrize("text", ["24:01", "25:00", "8:00", "08:60", "0800", "08:00:00", ""])
def test_what_is_no_clock(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a time of day such as 08:30$"):
        parse_clock(text)


def test_instants_are_japans() -> None:
    assert parse_instant("1970-01-01") == -9 * 3600
    assert parse_instant("1970-01-01T00:00:00+00:00") == parse_instant("1970-01-01T00:00:00Z") == 0
    assert format_instant(0) == "1970-01-01 09:00"
    with pytest.raises(ValueError, match=r"^a date such as 2027-03-31 or a time such as 2027-03-31T17:00:00\+09:00$"):
        parse_instant("31.3.2027")


def test_networks_and_addresses() -> None:
    table = ZoneTable(
        [("wide", ["10.0.0.0/8", "2001:db8::/32"]), ("narrow", ["10.1.0.0/16", "10.1.2.3"]), ("all6", ["::/0"]),
         ("mapped", ["::ffff:192.0.2.0/120"]), ("wide", ["10.0.0.0/8"])]
    )  # fmt: skip
    wanted = {
        "10.0.0.1": "wide", "10.1.0.1": "narrow", "10.1.2.3": "narrow", "11.0.0.0": "internet",
        "9.255.255.255": "internet",
        "::ffff:10.0.0.1": "wide", "192.0.2.9": "mapped", "192.0.3.0": "internet", "2001:db8::1": "wide",
        "2001:db9::1": "all6", "": "internet", "nonsense": "internet", "10.0.0.1/8": "internet",
    }  # fmt: skip
    for _ in range(2):  # the second time from memory
        assert {address: table.zone_of(address) for address in wanted} == wanted
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8: already in zone a"):
        ZoneTable([("a", ["10.0.0.0/8"]), ("b", ["10.0.0.0/8"])])
    assert str(parse_network("::ffff:10.0.0.0/104")) == "10.0.0.0/8"
    with pytest.raises(ValueError, match="host bits"):
        parse_network("10.0.0.1/8")


def test_memory_of_zones_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.zones.CACHE_LIMIT", 3)
    table = ZoneTable([("a", ["10.0.0.0/8"])])
    sizes = []
    for at in range(5):
        assert table.zone_of(f"10.0.0.{at}") == "a"
        sizes.append(len(table._cache))
    assert sizes == [1, 2, 3, 1, 2]


@pytest.mark.parametrize(
    ("text", "key"),
    [("10", (10,)), ("10.0.0", (10,)), ("0", (0,)), ("0.0", (0,)), ("1.0.2", (1, 0, 2)), ("01", (1,)), ("", None),
     ("1.", None), ("1..2", None), ("a", None), ("-1", None), ("١", None),
     ("1.2.3.4.5.6.7.8", (1, 2, 3, 4, 5, 6, 7, 8)),
     ("1.2.3.4.5.6.7.8.9", None), ("999999999", (999999999,)), ("1000000000", None)],
)  # fmt: skip
def test_versions(text: str, key: tuple[int, ...] | None) -> None:
    assert version_key(text) == key


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (("nope", "is", (True,)), "nope is: not in the catalogue"),
        (("app", "min", ("x",)), "app min: not in the catalogue"),
        (("app", "any_of", ()), "app any_of: not in the catalogue"),
        (("app", "any_of", (1.0,)), "app any_of: expected text values"),
        (("device.known", "is", (1,)), "device.known is: expected true or false"),
        (("device.known", "is", (True, False)), "device.known is: too many values to unpack"),
        (("mfa.age", "max", ("1h",)), "mfa.age max: expected numbers"),
        (("mfa.age", "max", (True,)), "mfa.age max: expected numbers"),
        (("mfa.method", "any_of", ("sms",)), r"mfa.method any_of: expected values of \['totp', 'webauthn'\]"),
        (("device.os_version", "min", ("x",)), "device.os_version min: expected dotted numbers"),
        (("app.sensitivity", "min", ("4",)), "app.sensitivity min: "),
        (("time.now", "min", (1.0,)), "time.now min: not in the catalogue"),
    ],
)
def test_a_condition_outside_the_catalogue_is_no_condition(condition: Any, words: str) -> None:
    with pytest.raises(ConditionInvalid, match=f"^{words}"):
        build_leaf(Condition(*condition))


LEAVES: list[tuple[tuple[str, str, tuple[Any, ...]], dict[Any, bool | None]]] = [
    (("device.known", "is", (False,)), {False: True, True: False, "false": None, 0.5: None}),
    (("app", "none_of", ("a", "b")), {"a": False, "c": True, 5: None}),
    (("user.department", "any_of", ("", "x")), {None: True, "x": True, "y": False, 5: None}),
    (("user.department", "none_of", ("",)), {None: False, "x": True}),
    (("user.kind", "any_of", ("staff",)), {"staff": True, "contractor": False, "alien": None}),
    (("user.kind", "none_of", ("staff",)), {"staff": False, "contractor": True, "alien": None}),
    (("user.groups", "any_of", ("a", "b")), {frozenset("ac"): True, frozenset("c"): False, ("a",): None}),
    (("user.groups", "none_of", ("a", "b")), {frozenset("ac"): False, frozenset("c"): True, ("c",): None}),
    (("user.groups", "all_of", ("a", "b")), {frozenset("abc"): True, frozenset("a"): False, ("a", "b"): None}),
    (("mfa.age", "max", (60.0,)), {60: True, 60.1: False, 59: True, float("nan"): None, "60": None, None: None}),
    (("mfa.age", "min", (60.0,)), {60: True, 59.9: False, 61: True, float("nan"): None, "60": None, None: None}),
    (("time.of_day", "between", (480, 1080)), {480: True, 479: False, 1079.5: True, 1080: False, 1440: None, -1: None}),
    (("time.of_day", "between", (1320, 360)), {1320: True, 1319: False, 0: True, 359: True, 360: False, 1439: True}),
    (("time.of_day", "between", (480, 480)), {480: True, 0: True, 1439: True, 1440: None, "480": None, True: None}),
    (("http.path", "under", ("/a", "/b")), {"/a": True, "/a/": True, "/a/b": True, "/ab": False, "a": None, 5: None}),
    (("http.path", "under", ("/",)), {"/": True, "/x": True, "": None}),
    (("http.path", "equals", ("/a",)), {"/a": True, "/a/": False, "a": None, 5: None}),
    (("http.path", "template", ("/a/*", "/*/b/c")),
     {"/a/x": True, "/a/": False, "/a": False, "/a/x/y": False, "/z/b/c": True, "//b/c": False, "a/x": None, 5: None}),
    (("device.os_version", "min", ("10.1",)), {"10.1": True, "10.1.0": True, "10.0.9": False, "x": None, 10: None}),
    (("device.os_version", "max", ("10.1",)), {"10.1": True, "10.1.0.1": False, "9": True, "x": None, 10: None}),
    (("app.sensitivity", "min", ("3C",)), {"3C": True, "2": False, "3A": True, "4": None, 3: None}),
    (("app.sensitivity", "max", ("3C",)), {"3C": True, "2": True, "3B": False, "4": None, 3: None}),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "table"), LEAVES, ids=[" ".join(map(str, row[0])) for row in LEAVES])
def test_a_leaf_at_its_boundaries(condition: Any, table: dict[Any, bool | None]) -> None:
    leaf = build_leaf(Condition(*condition))
    for value, holds in table.items():
        assert leaf({condition[0]: value}) is holds, value
    assert leaf({}) is table.get(None)


def test_each_operator_of_the_catalogue_has_its_leaf_and_its_reverse() -> None:
    assert {operator for kind in Kind for operator in OPERATORS[kind]} == REVERSED.keys()
    assert set(REVERSED.values()) >= {"is_not", "none_of", "any_of", "less_than", "more_than", "outside"}


@pytest.mark.parametrize(
    ("lists", "merged"),
    [
        ([], ()), ([(("log", "normal"),), (("log", "full"),), (("log", "normal"),)], (("log", "full"),)),
        ([(("session_max", "60"), ("log", "normal"))], (("log", "normal"), ("session_max", "60"))),
        ([(("session_max", "60"),), (("session_max", "61"),)], (("session_max", "60"),)),
        ([(("session_max", "61"),), (("session_max", "60"),)], (("session_max", "60"),)),
    ],
)  # fmt: skip
def test_the_strictest_obligation_wins(lists: Any, merged: Any) -> None:
    given = [tuple(Obligation(*item) for item in each) for each in lists]
    assert merge_obligations(given) == tuple(Obligation(*item) for item in merged)


def test_an_unknown_obligation_is_told() -> None:
    with pytest.raises(ValueError, match=r"^obligation: got 'x', expected one of \('log', 'session_max'\)$"):
        merge_obligations([(Obligation("x", "1"),)])


@pytest.mark.parametrize(
    ("zone", "read", "seen", "fresh"),
    [("x", 900, 3600, True), ("x", 900.1, 3600, False), ("x", 900, 3600.1, False), ("office", 1000, 3600, True),
     ("office", 1000.1, 0, False), ("x", True, 0, False), ("x", 0, None, False), (5, 900, 0, True)],
)  # fmt: skip
def test_posture_is_fresh_up_to_its_limit(zone: Any, read: Any, seen: Any, fresh: bool) -> None:
    facts = {
        "app": "x", "device.compliant": True, "device.os": "W", "net.zone": zone, "posture.read_age": read,
        "posture.seen_age": seen,
    }  # fmt: skip
    compiled = policy(rule("a", require=(COMPLIANT,)))
    assert (compiled.evaluate(facts).effect is Effect.ALLOW) is fresh
    assert set(facts) - set(compiled.fresh_facts(facts)) == (set() if fresh else {"device.compliant", "device.os"})
    assert compiled.evaluate(facts, fresh=True).effect is Effect.ALLOW


def test_modes_before_at_and_without_their_time() -> None:
    waiting = rule("w", Effect.DENY, mode=Mode.OBSERVE, expires=NOW)
    warned = rule("v", Effect.DENY, mode=Mode.WARN, expires=NOW)
    shadow = rule("s", Effect.DENY, mode=Mode.SHADOW)
    compiled = policy(rule("a"), rule("b", obligations=(Obligation("log", "full"),)), waiting, warned, shadow)
    full = (Obligation("log", "full"),)
    assert compiled.evaluate({"app": "x", "time.now": NOW - 1}) == Decision(
        Effect.ALLOW, Reason.ALLOWED_OBSERVED, "a", full, ("s",), warn=True, observed=("v", "w")
    )
    for late in ({"time.now": NOW}, {}, {"time.now": "soon"}, {"time.now": True}):
        assert compiled.evaluate({"app": "x", **late}) == Decision(Effect.DENY, Reason.DENIED_BY_RULE, "v")
    silent = policy(rule("a"), waiting)
    assert silent.evaluate({"app": "x", "time.now": NOW - 1}).warn is False
    lifted = policy(
        rule("l", mode=Mode.WARN, expires=NOW, require=(COMPLIANT,)),
        rule("k", mode=Mode.SHADOW),
        rule("m", require=(COMPLIANT,)),
    )
    assert lifted.evaluate({"app": "x", "time.now": NOW - 1}) == Decision(
        Effect.ALLOW, Reason.ALLOWED_OBSERVED, "l", warn=True, observed=("l",)
    )
    assert lifted.evaluate({"app": "x", "time.now": NOW}) == Decision(
        Effect.DENY, Reason.UNMET_CONDITIONS, "", shadow=("k",)
    )
    assert policy(rule("k", mode=Mode.SHADOW)).evaluate({"app": "x"}) == Decision(
        Effect.DENY, Reason.NO_APPLICABLE_RULE, "", shadow=("k",)
    )
    two = policy(rule("b"), rule("a"), shadow)
    for _ in range(2):
        assert two.evaluate({"app": "x"}) == Decision(Effect.ALLOW, Reason.ALLOWED, "a", (), ("s",))


def test_what_a_decision_about_an_app_can_depend_on() -> None:
    other = Condition("app", "any_of", ("other",))
    agent = Condition("user.kind", "any_of", ("staff",))
    path = Condition("http.path", "equals", ("/x",))
    compiled = policy(
        rule("a", require=(agent,)), rule("b", Effect.DENY, when=(other, path), mode=Mode.OBSERVE, expires=NOW),
        rule("c", Effect.DENY, when=(APP,), unless=(path,)), rule("d", when=(other,), require=(COMPLIANT,)),
    )  # fmt: skip
    assert compiled.needs("x") == {"user.kind", "http.path"}
    assert compiled.needs("other") == {
        "http.path", "time.now", "device.compliant", "posture.read_age", "posture.seen_age", "net.zone",
    }  # fmt: skip
    assert compiled.needs("third") == frozenset()


def test_caches_are_bounded_and_change_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "CACHE_LIMIT", 2)
    zones = rule("z", when=(APP, Condition("net.zone", "any_of", ("a",))))
    compiled = policy(zones, rule("y", when=(Condition("user.kind", "any_of", ("staff",)),)))
    for at in range(6):
        facts = {"app": f"app{at}", "app.sensitivity": "2", "net.zone": "a"}
        assert compiled.evaluate(facts).effect is Effect.DENY
        assert compiled.evaluate({**facts, "user.kind": "staff"}).rule == "y"
    assert len(compiled._layouts) == 2
    assert len(compiled._distinct) == 1  # no rule tells those apps apart
    assert compiled.evaluate({"app": "x", "app.sensitivity": "2", "net.zone": "a"}).rule == "z"
    assert compiled.evaluate({"app": ["x"], "user.kind": "staff"}).rule == "y"


def test_a_fault_of_ours_refuses_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compiled = policy(rule("a"))
    monkeypatch.setattr(compiling, "_decide_enforced", lambda _layout, _facts: 1 / 0)
    with caplog.at_level(logging.ERROR):
        refused = Decision(Effect.DENY, Reason.INTERNAL_ERROR, "")
        assert compiled.evaluate({"app": "x"}) == refused
        assert compiled.explain({"app": "x"}) == Explanation(refused, (), "", (), "", None, "h")
    assert [record.message for record in caplog.records] == [
        "policy evaluation failed; the request is refused", "policy explanation failed",
        "policy evaluation failed; the request is refused",
    ]  # fmt: skip
