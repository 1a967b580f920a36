"""Everything a policy's author is told, word for word: faults, findings, differences, and the catalogue itself.

The golden files under tests/golden/policy were read by a person. A change of words changes them on purpose.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.catalogue import AMR_OF_METHOD, CATALOGUE, DEFAULTS, INTERNET, NAMEABLE, POSTURE
from policies.check import check
from policies.decision import Effect, Obligation
from policies.load import PolicyFaults, load_policy, load_policy_file
from policies.model import Condition, Mode, PostureLimits, WireInvalid
from policies.schema import context_of
from policies.testing import run_tests
from policies.versions import diff, policy_hash
from policies.words import say_obligation
from policies.yaml_positions import Document, Fault, dotted, read

GOLDEN = Path(__file__).parents[2] / "golden" / "policy"
VALID = """version: 1
metadata: { id: t, revision: 1, title: T, owner: O }
rules:
  - { id: a, effect: allow, when: { app: [x] } }
"""


def golden(name: str) -> str:
    return (GOLDEN / name).read_text(encoding="utf-8")


def faults(source: bytes | str) -> list[str]:
    with pytest.raises(PolicyFaults) as caught:
        load_policy(source.encode() if isinstance(source, str) else source, "p")
    assert str(caught.value) == "\n".join(str(fault) for fault in caught.value.faults)
    return [str(fault) for fault in caught.value.faults]


def test_the_faults_of_a_file_with_every_fault() -> None:
    assert faults((GOLDEN / "faulty.yaml").read_bytes()) == golden("faulty.txt").splitlines()


def test_the_findings_about_a_policy_with_every_slip() -> None:
    found = check(load_policy_file(GOLDEN / "lint.yaml"), 1_800_000_000.0)
    told = [f"{item.severity.value} {item.code} {item.rule or '-'} {item.line} {item.text}" for item in found]
    assert told == golden("lint.txt").splitlines()


def test_the_difference_of_two_versions() -> None:
    before, after = load_policy_file(GOLDEN / "before.yaml"), load_policy_file(GOLDEN / "after.yaml")
    told = [f"{change.kind.value} {change.subject} {change.text}" for change in diff(before, after)]
    assert told == golden("diff.txt").splitlines()
    assert diff(after, after) == ()
    assert "テストが0件から1件になります。" in [change.text for change in diff(after, before)]


def test_the_catalogue_is_part_of_every_record() -> None:
    told = [
        f"{item.name} | {item.kind.value} | {item.title} | {','.join(item.choices)}"
        f" | {'-' if item.on_missing is None else repr(item.on_missing)} | {item.remediation or '-'}"
        f" | fix {item.user_can_fix} | {item.cost} | posture {item.posture} | nameable {item.nameable}"
        for item in CATALOGUE.values()
    ]
    assert told == golden("catalogue.txt").splitlines()
    assert list(CATALOGUE) == [item.name for item in CATALOGUE.values()]
    assert set(CATALOGUE) - set(NAMEABLE) == {"time.now"}
    assert {item.name for item in CATALOGUE.values() if item.posture} == POSTURE
    assert (DEFAULTS, INTERNET) == ({"user.department": "", "app.business": ""}, "internet")
    assert {"totp": {"pwd", "otp", "mfa"}, "webauthn": {"hwk", "user", "mfa"}} == AMR_OF_METHOD


ANOTHER = "another name: internet is every address that no zone holds"
DEEP = "a: " + "[" * 17 + "]" * 17
SYNTAX: list[tuple[bytes | str, list[str]]] = [
    ("", ["p:1:1: policy: got an empty file, expected a policy"]),
    (VALID + "---\n{}\n", ["p:5:1: policy: got a second document, expected one document a file"]),
    ("[]", ["p:1:1: policy: got an empty list, expected a mapping"]),
    ("[x]", ["p:1:1: policy: got a list, expected a mapping"]),
    ("just text", ['p:1:1: policy: got "just text", expected a mapping']),
    ("~", ["p:1:1: policy: got nothing, expected a mapping"]),
    (b"a: 1\nb: \xff\n", ["p:2:1: policy: got bytes that are not UTF-8, expected UTF-8 text"]),
    ("a: [", ["p:2:1: policy: got did not find expected node content, expected YAML"]),
    ("a: 1\n\tb: 2", ["p:2:1: policy: got found a tab character that violates indentation, expected YAML"]),
    ("a: 1\n b: \x01", ["p:1:1: policy: got ReaderError, expected YAML"]),
    (b" " * ((1 << 20) + 1), [f"p:0:0: policy: got {(1 << 20) + 1} bytes, expected at most {1 << 20}"]),
    (VALID + "rules: []\n", ["p:5:1: rules: got the key a second time, expected once (first in line 3)"]),
    (VALID + "rules: { a: [b, { c: d }] }\n",
     ["p:5:1: rules: got the key a second time, expected once (first in line 3)"]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "told"), SYNTAX, ids=[repr(row[0])[-40:] for row in SYNTAX])
def test_what_is_no_policy_at_all(source: bytes | str, told: list[str]) -> None:
    assert faults(source) == told


def test_what_yaml_would_allow_and_a_policy_does_not() -> None:
    document = read(
        b"a: &x 1\nb: *x\nc: !t [1]\n? [k]\n: v\n? *x\n: [v]\n&k d: 1\n!t e: 2\nf: 3\n" + DEEP.encode(), "p"
    )
    assert [str(fault) for fault in document.faults] == [
        "p:1:4: a: got an anchor, expected values written out (or a bundle)",
        "p:2:4: b: got an alias, expected values written out (or a bundle)",
        "p:3:4: c: got the tag !t, expected no tag",
        "p:4:3: policy: got a key that is not text, expected text",
        "p:6:3: policy: got a key that is not text, expected text",
        "p:8:1: d: got a key with an anchor or a tag, expected plain text",
        "p:9:1: e: got a key with an anchor or a tag, expected plain text",
        "p:11:1: a: got the key a second time, expected once (first in line 1)",
    ]
    assert document.data == {"a": 1, "b": None, "c": [1], "d": 1, "e": 2, "f": 3}
    deep = read(DEEP.encode(), "p")
    path = "a" + "[0]" * 15
    assert [str(fault) for fault in deep.faults] == [f"p:1:19: {path}: got deeper nesting, expected at most 16 levels"]
    assert read(DEEP.replace("[" * 17, "[" * 15).replace("]" * 17, "]" * 15).encode(), "p").faults == []


def test_a_scalar_is_what_it_looks_like() -> None:
    source = (
        b"[true, false, null, ~, , 0, -1, 007, 1.5, no, on, 08:00, 0x1f, '1', \"true\", 1e3, -0,"
        b" 999999999999999, 9999999999999999, 1_000, True]"
    )
    wanted = [
        True, False, None, None, 0, -1, "007", "1.5", "no", "on", "08:00", "0x1f", "1", "true", "1e3", 0,
        999999999999999, "9999999999999999", "1_000", "True",
    ]  # fmt: skip
    document = read(source.replace(b", ,", b","), "p")
    assert (document.data, document.faults) == (wanted, [])
    assert read(b"a:\nb: ''\n", "p").data == {"a": None, "b": ""}


def test_places_are_found_where_they_stand() -> None:
    document = read(b"a:\n  - x\n  - b: 1\n", "p")
    assert document.values == {
        (): (1, 1), ("a",): (2, 3), ("a", 0): (2, 5), ("a", 1): (3, 5), ("a", 1, "b"): (3, 8),
    }  # fmt: skip
    assert document.keys == {("a",): (1, 1), ("a", 1, "b"): (3, 5)}
    assert document.where(("a", 1, "b", "c", 5)) == (3, 8)
    assert (document.where(("z",)), Document("p").where(("z",))) == ((1, 1), (1, 1))
    assert [dotted(path) for path in ((), ("a",), (0,), ("a", 0, "b.c"))] == ["policy", "a", "[0]", "a[0].b.c"]
    assert str(Fault("f", 1, 2, "k", "g", "e", "n")) == "f:1:2: k: got g, expected e (did you mean n?)"


def test_faults_that_show_only_once_all_else_is_right() -> None:
    zones = VALID + "zones: { internet: [192.0.2.0/24], b: [10.0.0.0/8, 192.0.2.0/24], c: [10.0.0.0/8] }\n"
    assert faults(zones) == [
        f"p:5:10: zones.internet: got the zone internet, expected {ANOTHER}",
        "p:5:52: zones.b[1]: got 192.0.2.0/24 again, expected a network of its own (it is in internet)",
        "p:5:71: zones.c[0]: got 10.0.0.0/8 again, expected a network of its own (it is in b)",
    ]
    tests = (
        VALID + "tests:\n"
        "  - { name: right, given: { app: x }, expect: { effect: allow, rule: a, reason: allowed } }\n"
        "  - { name: wrong, given: { app: y }, expect: { effect: allow, rule: a, reason: allowed } }\n"
        "  - { name: other, given: { app: x }, expect: { effect: allow, reason: allowed_observed } }\n"
    )
    assert faults(tests) == [
        "p:7:5: tests[1]: got deny no_applicable_rule, expected allow a allowed",
        "p:8:5: tests[2]: got allow a allowed, expected allow allowed_observed",
    ]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("read_max: 3600s", ""), ("read_max: 3601s", 'read_max: got "3601s", expected at most 1h'),
     ("seen_max: 604800s", ""), ("seen_max: 604801s", 'seen_max: got "604801s", expected at most 7d'),
     ("grace: { internet: 86400s }", ""),
     ("grace: { internet: 86401s }", 'grace.internet: got "86401s", expected at most 24h')],
)  # fmt: skip
def test_how_old_posture_may_be_allowed_to_grow(limit: str, expected: str) -> None:
    source = VALID + f"posture: {{ {limit} }}\n"
    if expected:
        assert [told.partition(": posture.")[2] for told in faults(source)] == [expected]
    else:
        assert load_policy(source.encode(), "p").posture != PostureLimits()


WHOLE = """version: 1
metadata: { id: t, revision: 7, title: T, owner: O, description: D }
zones: { z: [192.0.2.7, "::ffff:10.0.0.0/104"], a: [10.1.0.0/16] }
groups: { g: G, f: F }
posture: { read_max: 60m, seen_max: 7d, grace: { z: 24h, a: 90s } }
bundles:
  one: { mfa.age: { max: 1h }, advice: B }
  two: [ { device.known: true }, { net.zone: [z, a, z], advice: C } ]
samples:
  s: { app: x, user.groups: [g, f], mfa.age: 5m, net.zone: null, device.known: true }
  r: { app: y, time.of_day: "08:30" }
rules:
  - id: b
    effect: deny
    when:
      http.path: { under: [/q/, /], template: ["/*/x"], equals: /p/ }
      device.os_version: { min: "10.0", max: "11" }
    unless: { user.groups: { any_of: [g], all_of: g, none_of: [f] } }
    mode: warn
    expires: 2027-03-31T00:00:00Z
  - id: a
    effect: allow
    description: DD
    owner: 7
    advice: AA
    when: { app: x, app.sensitivity: { min: 3C, max: 3A }, http.method: [POST, GET] }
    require:
      - { bundle: one, advice: R }
      - { bundle: two, advice: R }
      - { time.of_day: { between: ["22:00", "06:30"] }, mfa.age: { max: 1h }, advice: B }
      - { bundle: one }
    obligations: { log: full, session_max: 15m }
tests:
  - { name: n, given: { sample: [r, s], app: z, mfa.age: null }, expect: { effect: deny, reason: denied_by_rule } }
  - { name: m, given: { sample: s, time.now: 2030-01-01 }, expect: { effect: deny, rule: b } }
"""


def test_a_whole_file_becomes_these_values() -> None:
    ir = load_policy(WHOLE.encode(), "p")
    assert (ir.hash, ir.id, ir.revision, ir.title, ir.owner) == (policy_hash(WHOLE.encode()), "t", 7, "T", "O")
    assert ir.zones == (("a", ("10.1.0.0/16",)), ("z", ("192.0.2.7", "::ffff:10.0.0.0/104")))
    assert (ir.groups, ir.posture) == (
        (("f", "F"), ("g", "G")), PostureLimits(3600.0, 604800.0, (("a", 90.0), ("z", 86400.0))),
    )  # fmt: skip
    allow, deny = ir.rules
    assert (allow.id, allow.effect, allow.description, allow.owner) == ("a", Effect.ALLOW, "DD", "7")
    assert (allow.advice, allow.mode, allow.expires, allow.line) == ("AA", Mode.ENFORCE, None, 21)
    assert allow.when == (
        Condition("app", "any_of", ("x",)), Condition("app.sensitivity", "min", ("3C",)),
        Condition("app.sensitivity", "max", ("3A",)), Condition("http.method", "any_of", ("GET", "POST")),
    )  # fmt: skip
    assert allow.require == (
        Condition("mfa.age", "max", (3600.0,), "B"), Condition("device.known", "is", (True,), "R"),
        Condition("net.zone", "any_of", ("a", "z"), "C"), Condition("time.of_day", "between", (1320, 390), "B"),
    )  # fmt: skip
    assert allow.obligations == (Obligation("log", "full"), Obligation("session_max", "900"))
    assert (deny.mode, deny.expires, deny.require, deny.line) == (Mode.WARN, 1806451200.0, (), 13)
    assert deny.when == (
        Condition("device.os_version", "min", ("10.0",)), Condition("device.os_version", "max", ("11",)),
        Condition("http.path", "under", ("/", "/q")), Condition("http.path", "equals", ("/p/",)),
        Condition("http.path", "template", ("/*/x",)),
    )  # fmt: skip
    exempt = (("any_of", "g"), ("none_of", "f"), ("all_of", "g"))
    assert deny.unless == tuple(Condition("user.groups", operator, (value,)) for operator, value in exempt)
    first, second = ir.tests
    assert (first.name, first.line, first.rule, first.reason) == ("n", 34, "", "denied_by_rule")
    assert first.facts == (
        ("app", "z"), ("device.known", True), ("time.of_day", 510), ("user.groups", frozenset("gf")),
    )  # fmt: skip
    assert dict(second.facts)["time.now"] == 1893423600.0
    assert (ir.rule("a"), ir.rule("z")) == (allow, None)
    assert type(ir).from_wire(ir.to_wire()) == ir


def test_a_files_own_tests_say_what_was_expected_and_got() -> None:
    ir = load_policy(WHOLE.encode(), "p")
    told = [(result.passed, result.expected, result.got) for result in run_tests(ir)]
    assert told == [
        (True, "deny denied_by_rule", "deny b denied_by_rule"), (True, "deny b", "deny b denied_by_rule"),
    ]  # fmt: skip


def test_a_wire_form_that_is_not_ours_is_told() -> None:
    ir = load_policy(WHOLE.encode(), "p")
    with pytest.raises(WireInvalid, match="policy wire version: got 2, expected 1"):
        type(ir).from_wire({**ir.to_wire(), "v": 2})
    for broken in ({"rules": [{}]}, {"zones": 5}, {"tests": [[]]}, {"posture": None}):
        with pytest.raises(WireInvalid, match=r"policy wire form: (KeyError|TypeError|ValueError|AttributeError): "):
            type(ir).from_wire({**ir.to_wire(), **broken})


def test_the_names_that_a_file_declares() -> None:
    bare = {"zones": {"internet"}, "groups": None, "bundles": set(), "samples": set(), "rules": set()}
    assert context_of({}) == bare
    assert context_of({"zones": [], "rules": 5, "bundles": "x"}) == bare
    given = {"zones": {"z": []}, "groups": {}, "bundles": {"b": 1}, "samples": {"s": 1}, "rules": [{"id": "r"}, 5, {}]}
    assert context_of(given) == {
        "zones": {"internet", "z"}, "groups": set(), "bundles": {"b"}, "samples": {"s"}, "rules": {"r"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("obligation", "text"),
    [
        (("session_max", "5400"), "セッションは90mまで"), (("log", "full"), "すべて記録"),
        (("log", "normal"), "通常の記録"),
    ],
)  # fmt: skip
def test_obligations_in_words(obligation: tuple[str, str], text: str) -> None:
    assert say_obligation(Obligation(*obligation)) == text
