"""Reading policy files: every fault with its place, all at once; wire form; bundled policies."""

from __future__ import annotations

import random
from importlib.resources import files
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.check import Severity, check
from policies.compile import compile_policy
from policies.load import PolicyFaults, load_policy, load_policy_file
from policies.model import PolicyIR, WireInvalid
from policies.testing import run_tests
from policies.versions import policy_hash
from tests.support import policy_worlds

GOLDEN = Path(__file__).parents[2] / "golden" / "policy"

HEAD = """version: 1
metadata: { id: t, revision: 1, title: T, owner: O }
zones: { office: [10.0.0.0/8] }
groups: { shokuin: 職員, kaikei: 会計課 }
rules:
"""
RULE = """  - id: a
    effect: allow
    when: { app: [juki], user.groups: [shokuin] }
"""


def faults_of(source: str) -> list[tuple[int, int, str, str, str]]:
    """(line, column, key, got, nearest) of all faults."""
    with pytest.raises(PolicyFaults) as caught:
        load_policy(source.encode(), "p.yaml")
    assert all(fault.expected for fault in caught.value.faults)
    return [(item.line, item.column, item.key, item.got, item.nearest) for item in caught.value.faults]


@pytest.mark.parametrize(
    ("rest", "fault"),
    [
        ("  - { id: a, effect: alow, when: { app: [x] } }\n", (6, 22, "rules[0].effect", '"alow"', "allow")),
        (
            "  - { id: a, effect: allow, wehn: { app: [x] } }\n",
            (6, 29, "rules[0].wehn", "the unknown key wehn", "when"),
        ),
        (
            RULE + "    require: [ { mfa.ages: { max: 1h } } ]\n",
            (9, 18, "rules[0].require[0].mfa.ages", "the unknown key mfa.ages", "mfa.age"),
        ),
        (
            RULE + "    require: [ { mfa.age: { maximum: 1h } } ]\n",
            (9, 29, "rules[0].require[0].mfa.age.maximum", "the unknown key maximum", "max"),
        ),
        (
            RULE + "    require: [ { mfa.age: { max: 10 days } } ]\n",
            (9, 34, "rules[0].require[0].mfa.age.max", '"10 days"', ""),
        ),
        (
            RULE + "    require: [ { mfa.method: [webauthm] } ]\n",
            (9, 31, "rules[0].require[0].mfa.method[0]", '"webauthm"', "webauthn"),
        ),
        (
            RULE + "    require: [ { net.zone: [offise] } ]\n",
            (9, 29, "rules[0].require[0].net.zone[0]", '"offise"', "office"),
        ),
        (
            RULE + "    require: [ { user.groups: { all_of: [kaikej] } } ]\n",
            (9, 42, "rules[0].require[0].user.groups.all_of[0]", '"kaikej"', "kaikei"),
        ),
        (RULE + "    require: [ { bundle: nope } ]\n", (9, 26, "rules[0].require[0].bundle", '"nope"', "")),
        (RULE + "    require: [ { device.known: yes } ]\n", (9, 32, "rules[0].require[0].device.known", '"yes"', "")),
        (
            RULE + "    require: [ { device.known: { is: true } } ]\n",
            (9, 32, "rules[0].require[0].device.known", "a mapping", ""),
        ),
        (
            RULE + "    require: [ { http.path: { under: [juki] } } ]\n",
            (9, 39, "rules[0].require[0].http.path.under[0]", '"juki"', "/juki"),
        ),
        (
            RULE + "    require: [ { http.path: { under: [/a/../b] } } ]\n",
            (9, 39, "rules[0].require[0].http.path.under[0]", '"/a/../b"', ""),
        ),
        (
            RULE + "    require: [ { http.path: { template: [/a/*b] } } ]\n",
            (9, 42, "rules[0].require[0].http.path.template[0]", '"/a/*b"', ""),
        ),
        (RULE + "    require: [ { http.path: [/a] } ]\n", (9, 29, "rules[0].require[0].http.path", "a list", "")),
        (
            RULE + "    require: [ { app.sensitivity: { min: 3D } } ]\n",
            (9, 42, "rules[0].require[0].app.sensitivity.min", '"3D"', ""),
        ),
        (
            RULE + '    require: [ { time.of_day: { between: ["8:00", "20:00"] } } ]\n',
            (9, 43, "rules[0].require[0].time.of_day.between[0]", '"8:00"', ""),
        ),
        (
            RULE + "    require: [ { device.os_version: { min: ten } } ]\n",
            (9, 44, "rules[0].require[0].device.os_version.min", '"ten"', ""),
        ),
        (
            RULE + "    require: [ { user.groups: [] } ]\n",
            (9, 31, "rules[0].require[0].user.groups", "an empty list", ""),
        ),
        (
            RULE + "    require: [ { time.now: { min: 1d } } ]\n",
            (9, 18, "rules[0].require[0].time.now", "the unknown key time.now", "time.of_day"),
        ),
        (RULE + "    mode: observe\n", (6, 5, "rules[0].expires", "nothing", "")),
        (RULE + "    expires: 2027-03-31\n", (9, 5, "rules[0].expires", '"2027-03-31"', "")),
        (RULE + "    mode: warn\n    expires: 31.3.2027\n", (10, 14, "rules[0].expires", '"31.3.2027"', "")),
        (RULE + "    unless: { device.known: true }\n", (9, 5, "rules[0].unless", "a mapping", "")),
        (RULE + "    obligations: [ { log: fall } ]\n", (9, 27, "rules[0].obligations[0].log", '"fall"', "full")),
        (
            RULE + "    obligations: [ { read_only: true } ]\n",
            (9, 22, "rules[0].obligations[0].read_only", "the unknown key read_only", ""),
        ),
        (RULE + RULE, (9, 9, "rules[1].id", '"a" a second time', "")),
        (RULE + "    when: { app: [x] }\n", (9, 5, "rules[0].when", "the key a second time", "")),
        ("  - { id: a, effect: allow, when: {} }\n", (6, 29, "rules[0].when", "an empty mapping", "")),
        ("  - { id: a, effect: deny, when: {}, require: [] }\n", (6, 38, "rules[0].require", "an empty list", "")),
        ("  - { effect: deny, when: {} }\n", (6, 5, "rules[0].id", "nothing", "")),
        ("  - { id: A B, effect: deny, when: {} }\n", (6, 11, "rules[0].id", '"A B"', "")),
        ("  []\n", (6, 3, "rules", "an empty list", "")),
        (RULE + "zones: {}\n", (9, 1, "zones", "the key a second time", "")),
        (RULE + "rule: []\n", (9, 1, "rule", "the unknown key rule", "rules")),
        (RULE + "posture: { read_max: 2h }\n", (9, 22, "posture.read_max", '"2h"', "")),
        (RULE + "posture: { grace: { tele: 1h } }\n", (9, 21, "posture.grace.tele", "", "")),
        (RULE + "x: &a 1\n", (9, 4, "x", "an anchor", "")),
        (RULE + "    advice: !x/os.system y\n", (9, 13, "rules[0].advice", "the tag !x/os.system", "")),
        (
            RULE + "tests:\n  - { name: n, given: { app: juki, user.groups: [shokuin] }, expect: { effect: deny } }\n",
            (10, 5, "tests[0]", "allow a allowed", ""),
        ),
        (
            RULE + "tests:\n  - { name: n, given: { app: juki }, expect: { effect: allow, rule: b } }\n",
            (10, 69, "tests[0].expect.rule", '"b"', ""),
        ),
        (
            RULE + "tests:\n  - { name: n, given: { sample: pc }, expect: { effect: allow } }\n",
            (10, 33, "tests[0].given.sample", '"pc"', ""),
        ),
    ],
)
def test_a_fault_names_its_place_and_what_was_probably_meant(rest: str, fault: tuple[int, int, str, str, str]) -> None:
    found = faults_of(HEAD + rest)
    wanted = [item for item in found if item[:3] == fault[:3]]
    assert wanted, found
    assert fault[3] in ("", wanted[0][3])
    assert wanted[0][4] == fault[4]


def test_all_faults_come_at_once_in_the_order_of_the_file() -> None:
    source = HEAD.replace("10.0.0.0/8", "10.0.0.1/8") + (
        "  - { id: a, effect: alow, when: { app: [x] }, owner: 7.5 }\n"
        "  - { id: b, effect: allow, when: { mfa.age: { max: long }, http.method: [FETCH] }, unless: {} }\n"
        "  - { id: a, effect: deny, when: { net.zone: [home] } }\n"
        "tests: [ { name: n, given: {}, expect: { effect: maybe } } ]\n"
    )
    keys = [item[2] for item in faults_of(source)]
    assert keys == [
        "zones.office[0]",
        "rules[0].effect",
        "rules[1].when.mfa.age.max",
        "rules[1].when.http.method[0]",
        "rules[1].unless",
        "rules[2].id",
        "rules[2].when.net.zone[0]",
        "tests[0].expect.effect",
    ]


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"[]",
        b"a: [",
        b"\xff\xfe\x00",
        b"a: &x [*x]",
        b"--- {}\n--- {}",
        b"[" * 4000,
        b"{" * 4000,
        b"? [a]\n: b",
        b"\x00",
        b"- " * 5000,
        b"x" * (1 << 20 | 1),
        b"a: 1\n\tb: 2",
    ],
)
def test_what_is_no_policy_is_a_fault_and_nothing_else(source: bytes) -> None:
    with pytest.raises(PolicyFaults):
        load_policy(source, "p.yaml")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32).map(random.Random), st.binary(min_size=1, max_size=3))
def test_a_damaged_file_loads_or_is_faulted(rng: random.Random, noise: bytes) -> None:
    source = (HEAD + RULE).encode()
    cut = rng.randrange(len(source))
    try:
        load_policy(source[:cut] + noise + source[cut + rng.randrange(3) :], "p.yaml")
    except PolicyFaults as error:
        assert error.faults  # noqa: PT017  # both outcomes are right; what is shown is that there is no third


@pytest.mark.parametrize(
    ("address", "zone"),
    [("10.1.2.3", "office"), ("::ffff:10.1.2.3", "office"), ("11.0.0.1", "internet"), ("", "internet")],
)
def test_zones_of_a_loaded_policy(address: str, zone: str) -> None:
    assert compile_policy(load_policy((HEAD + RULE).encode(), "p")).zone_of(address) == zone


@pytest.mark.parametrize("name", ["starter", "first"])
def test_bundled_policies_load_pass_their_tests_and_lint_clean(name: str) -> None:
    source = files("policies").joinpath("bundled", f"{name}.yaml").read_bytes()
    ir = load_policy(source, name)
    assert ir.hash == policy_hash(source)
    results = run_tests(ir)
    assert results
    assert all(result.passed for result in results)
    assert [item.text for item in check(ir, 0.0) if item.severity is not Severity.NOTE] == []


def test_wire_form_round_trips_and_its_bytes_are_pinned() -> None:
    ir = load_policy_file(GOLDEN / "wire.yaml")
    wire = orjson.dumps(ir.to_wire(), option=orjson.OPT_INDENT_2)
    assert wire == (GOLDEN / "wire.json").read_bytes().rstrip(b"\n")
    assert PolicyIR.from_wire(orjson.loads(wire)) == ir


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32).map(random.Random))
def test_any_policy_survives_the_wire(rng: random.Random) -> None:
    ir = policy_worlds.policy(rng)
    assert PolicyIR.from_wire(orjson.loads(orjson.dumps(ir.to_wire()))) == ir


@pytest.mark.parametrize(
    "change", [{"v": 2}, {"v": None}, {"rules": [{}]}, {"zones": [["a"]]}, {"posture": None}, {"tests": 1}]
)
def test_an_unknown_wire_form_is_refused(change: dict[str, object]) -> None:
    wire = load_policy((HEAD + RULE).encode(), "p").to_wire()
    with pytest.raises(WireInvalid):
        PolicyIR.from_wire({**wire, **change})
