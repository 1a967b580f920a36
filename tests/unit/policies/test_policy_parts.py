"""Zones against the standard library, units, differences in words, lint."""

from __future__ import annotations

import dataclasses
import ipaddress
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.check import check
from policies.load import load_policy, load_policy_file
from policies.model import Condition, Mode
from policies.units import format_duration, parse_clock, parse_duration, parse_instant
from policies.versions import ChangeKind, diff
from policies.zones import ZoneTable, parse_network

GOLDEN = Path(__file__).parents[2] / "golden" / "policy" / "wire.yaml"
STARTER = files("policies").joinpath("bundled", "starter.yaml")


@st.composite
def networks(draw: st.DrawFn) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Networks that often nest: few distinct leading bits."""
    if draw(st.booleans()):
        number, length = draw(st.sampled_from((10 << 24, 10 << 24 | 1 << 16, 192 << 24))), draw(st.integers(4, 32))
        return ipaddress.ip_network((number, length), strict=False)
    number, length = draw(st.sampled_from((0x20010DB8 << 96, 0xFD << 120))), draw(st.integers(8, 128))
    return ipaddress.ip_network((number, length), strict=False)


@given(st.lists(networks(), max_size=8, unique=True), st.data())
def test_the_longest_prefix_wins_as_the_standard_library_says(
    nets: list[ipaddress.IPv4Network | ipaddress.IPv6Network], data: st.DataObject
) -> None:
    table = ZoneTable([(f"z{index}", [str(net)]) for index, net in enumerate(nets)])
    near = st.sampled_from(nets).map(lambda net: net.network_address) if nets else st.ip_addresses()
    address = data.draw(near | st.ip_addresses())
    holding = [(net.prefixlen, index) for index, net in enumerate(nets) if address in net]
    expected = f"z{max(holding)[1]}" if holding else "internet"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return
    assert table.zone_of(str(address)) == expected
    assert table.zone_of(str(address)) == expected, "remembered"
    if isinstance(address, ipaddress.IPv4Address):
        assert table.zone_of(f"::ffff:{address}") == expected


@given(st.text(max_size=40))
def test_any_text_has_a_zone(text: str) -> None:
    assert ZoneTable([("office", ["10.0.0.0/8"])]).zone_of(text) in ("office", "internet")


def test_mapped_networks_are_ipv4_and_no_network_is_in_two_zones() -> None:
    assert parse_network("::ffff:10.0.0.0/104") == ipaddress.ip_network("10.0.0.0/8")
    with pytest.raises(ValueError, match="host bits"):
        parse_network("::ffff:0:0/95")
    with pytest.raises(ValueError, match="already in zone a"):
        ZoneTable([("a", ["10.0.0.0/8"]), ("b", ["10.0.0.0/8"])])


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43200), ("30d", 2592000), ("0s", 0)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "-1m", "1.5h", "15 m", "1h30m", "１h", "9999999999d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "minutes"), [("00:00", 0), ("08:30", 510), ("24:00", 1440)])
def test_times_of_day(text: str, minutes: int) -> None:
    assert parse_clock(text) == minutes


@pytest.mark.parametrize("text", ["8:30", "24:01", "12:60", "25:00", "noon"])
def test_what_is_no_time_of_day(text: str) -> None:
    with pytest.raises(ValueError, match="time of day"):
        parse_clock(text)


def test_a_date_begins_in_japan() -> None:
    assert parse_instant("2027-03-31") == parse_instant("2027-03-30T15:00:00Z")


def test_a_policy_differs_from_itself_in_nothing() -> None:
    ir = load_policy_file(GOLDEN)
    assert diff(ir, ir) == ()


EDITS = (
    ("revision: 1", "revision: 2"),
    ("{ mfa.age: { max: 15m }, advice: 15分", "{ mfa.age: { max: 10m }, advice: 15分"),
    ("telework: [10.30.0.0/16, ", "telework: [10.31.0.0/16, "),
    ("grace: { office: 4h,", "grace: { office: 2h,"),
    ("    obligations: [ { log: full }, { session_max: 2h } ]", "    obligations: [ { log: full } ]"),
    ("    advice: 文書管理の管理は総務課へ依頼してください", "    advice: 総務課へ"),
    ("  - id: wiki-staff", "  - id: wiki-all"),
    ("rule: wiki-staff", "rule: wiki-all"),
    ("  kanri: 管理職", "  kanri: 管理職員"),
)

TOLD = [
    (ChangeKind.CHANGED, "metadata", "改訂番号が「1」から「2」に変わります。"),
    (ChangeKind.CHANGED, "zone:telework", "接続元「telework」に10.31.0.0/16が加わります。"),
    (ChangeKind.CHANGED, "zone:telework", "接続元「telework」から10.30.0.0/16が外れます。"),
    (ChangeKind.CHANGED, "group:kanri", "グループ「kanri」（管理職員）が名を改めます。"),
    (ChangeKind.CHANGED, "posture", "接続元「office」の猶予が4hから2hに変わります。"),
    (
        ChangeKind.CHANGED,
        "rule:deny-bunsho-admin",
        ("規則「deny-bunsho-admin」: 案内が「文書管理の管理は総務課へ依頼してください」から「総務課へ」に変わります。"),
    ),
    (
        ChangeKind.CHANGED,
        "rule:hoshu-bunsho",
        (
            "規則「hoshu-bunsho」: 要件が「多要素認証からの時間が15m以下」から"
            "「多要素認証からの時間が10m以下」に変わります。"
        ),
    ),
    (
        ChangeKind.CHANGED,
        "rule:hoshu-bunsho",
        "規則「hoshu-bunsho」: 付帯事項「セッションは2hまで」がなくなります。",
    ),
    (
        ChangeKind.ADDED,
        "rule:wiki-all",
        (
            "規則「wiki-all」（許可、実施: 庁内Wiki（機密性1）は、"
            "職員と委託事業者が多要素認証だけで利用できる）が加わります。"
        ),
    ),
    (
        ChangeKind.REMOVED,
        "rule:wiki-staff",
        (
            "規則「wiki-staff」（許可、実施: 庁内Wiki（機密性1）は、"
            "職員と委託事業者が多要素認証だけで利用できる）がなくなります。"
        ),
    ),
]


def test_a_difference_is_told_in_words() -> None:
    source = STARTER.read_bytes()
    old = load_policy(source, "old")
    text = source.decode()
    for before, after in EDITS:
        assert before in text
        text = text.replace(before, after)

    changes = diff(old, load_policy(text.encode(), "new"))

    assert [(change.kind, change.subject, change.text) for change in changes] == TOLD


@pytest.mark.parametrize(
    ("first", "second", "contradicts"),
    [
        (("mfa.age", "min", 900.0), ("mfa.age", "max", 60.0), True),
        (("mfa.age", "min", 60.0), ("mfa.age", "max", 60.0), False),
        (("net.zone", "any_of", "a"), ("net.zone", "any_of", "b"), True),
        (("user.groups", "any_of", "a"), ("user.groups", "any_of", "b"), False),
        (("net.zone", "any_of", "a"), ("net.zone", "none_of", "a"), True),
        (("user.groups", "all_of", "a"), ("user.groups", "none_of", "a"), True),
        (("app.sensitivity", "min", "3B"), ("app.sensitivity", "max", "3C"), True),
        (("device.os_version", "min", "10.1"), ("device.os_version", "max", "10.0.9"), True),
        (("device.known", "is", True), ("device.known", "is", False), True),
        (("device.known", "is", True), ("device.managed", "is", False), False),
        (("http.path", "equals", "/a"), ("http.path", "equals", "/b"), True),
        (("http.path", "under", "/a"), ("http.path", "equals", "/b"), False),
    ],
)
def test_obvious_contradictions_are_found(
    first: tuple[str, str, object], second: tuple[str, str, object], contradicts: bool
) -> None:
    ir = load_policy_file(GOLDEN)
    pair = tuple(Condition(name, operator, (value,)) for name, operator, value in (first, second))  # type: ignore[arg-type]
    rule = dataclasses.replace(ir.rules[0], when=pair, require=())
    codes = [item.code for item in check(dataclasses.replace(ir, rules=(rule,)), 0.0)]
    assert ("contradiction" in codes) is contradicts


def test_lint_lists_what_its_author_should_know() -> None:
    ir = load_policy_file(GOLDEN)
    codes = {(item.severity.value, item.code, item.rule) for item in check(ir, 2_000_000_000.0)}
    assert codes == {
        ("error", "contradiction", "a"),
        ("warning", "no-description", "a"),
        ("warning", "no-owner", "b"),
        ("warning", "expired", "b"),
        ("warning", "unused-zone", ""),
        ("warning", "untested", "a"),
        ("warning", "untested", "b"),
    }
    assert ("note", "not-enforced", "b") in {(item.severity.value, item.code, item.rule) for item in check(ir, 0.0)}
    shadow = dataclasses.replace(ir.rules[1], mode=Mode.SHADOW, expires=None, unless=())
    assert "untested" not in {item.code for item in check(dataclasses.replace(ir, rules=(shadow,)), 0.0)}
    naming = dataclasses.replace(ir.rules[1], when=(Condition("user.department", "any_of", ("x",)),), unless=())
    assert "default" in {item.code for item in check(dataclasses.replace(ir, rules=(naming,)), 0.0)}
    everything = dataclasses.replace(ir.rules[1], when=(), unless=())
    assert "denies-all" in {item.code for item in check(dataclasses.replace(ir, rules=(everything,)), 0.0)}
