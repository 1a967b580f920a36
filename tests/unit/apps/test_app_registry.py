"""Registrations: every fault at its place, and nothing taken that belongs to another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.apps.registry import Surroundings, parse_apps, warnings
from gateway.apps.source import SourceFaults

AROUND = Surroundings("portal.city.example", "portal.city.example")
GOOD = """id: juki
title: 住民記録
owner: suzuki
hosts: [juki.city.example]
upstream: https://10.0.0.5:8443
sensitivity: 3A
"""


def faults(text: str) -> list[str]:
    with pytest.raises(SourceFaults) as found:
        parse_apps(text, "app.yaml", AROUND, "suzuki")
    return [str(fault) for fault in found.value.faults]


def test_a_registration_is_pending_and_sensitive_apps_are_synced() -> None:
    (app,) = parse_apps(GOOD, "app.yaml", AROUND, "suzuki")
    assert (app.state, app.durability, app.created_by, app.approved_by) == ("pending", "synced", "suzuki", "")


def test_every_fault_is_told_at_once_with_its_place() -> None:
    found = faults(GOOD.replace("upstream:", "upstrem:").replace("3A", "9") + "title: again\n")
    assert [fault.split(": ")[0] for fault in found] == [
        "app.yaml:1:1", "app.yaml:5:1", "app.yaml:6:1", "app.yaml:7:1",
    ]  # fmt: skip
    assert "did you mean 'upstream'?" in found[1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("juki.city.example", "portal.city.example"),
        ("juki.city.example", "x.portal.city.example"),
        ("juki.city.example", "10.0.0.1"),
        ("juki.city.example", '"*.city.example"'),
        ("https://10.0.0.5:8443", "https://user:pw@10.0.0.5"),
        ("https://10.0.0.5:8443", "http://169.254.169.254"),
        ("https://10.0.0.5:8443", "http://app/path"),
        ("https://10.0.0.5:8443", "file:///etc/passwd"),
        ("sensitivity: 3A", "sensitivity: 3A\nassertion_header: Cookie"),
        ("sensitivity: 3A", "sensitivity: &a 3A"),
    ],
)
def test_what_a_registration_may_not_say(before: str, after: str) -> None:
    assert faults(GOOD.replace(before, after))


def test_two_apps_cannot_share_a_host() -> None:
    assert "no other app has" in faults(GOOD + "---\n" + GOOD.replace("id: juki", "id: zei"))[0]


@pytest.mark.parametrize(
    "path", ["control.sock", "admin.sock", "../run/steward.sock", "./feed.sock", "nested/../control.sock"]
)
def test_no_app_is_one_of_the_gateways_own_sockets(tmp_path: Path, path: str) -> None:
    """Control believes what comes to its socket: an app there would let anybody on its host write the headers."""
    run = tmp_path / "run"
    run.mkdir()
    around = replace(AROUND, own_sockets=str(run))
    text = GOOD.replace("https://10.0.0.5:8443", f"unix:{run}/{path}")
    with pytest.raises(SourceFaults) as found:
        parse_apps(text, "app.yaml", around, "suzuki")
    assert "not one of the gateway's own" in str(found.value.faults[0])
    elsewhere = GOOD.replace("https://10.0.0.5:8443", f"unix:{tmp_path}/run-of-app/app.sock")
    assert parse_apps(elsewhere, "app.yaml", around, "suzuki")


def test_an_unknown_owner_and_a_taken_host_are_told_beside_the_other_faults() -> None:
    around = replace(AROUND, owners=frozenset({"suzuki"}))
    text = (
        GOOD.replace("suzuki", "suzki").replace("juki.city", "portal.city").replace("3A", "3X").replace("https", "htp")
    )
    with pytest.raises(SourceFaults) as found:
        parse_apps(text, "app.yaml", around, "suzuki")
    told = [(fault.line, fault.key) for fault in found.value.faults]
    assert told == [(3, "owner"), (4, "hosts.0"), (5, "upstream"), (6, "sensitivity")]


def test_an_unknown_key_with_no_near_one_is_told_what_there_is() -> None:
    (told,) = faults(GOOD + "zzz: 1\n")
    assert "upstream" in told
    assert "sensitivity" in told


def test_an_app_says_how_large_bodies_may_be() -> None:
    text = GOOD + "body_bytes: 1048576\nbodies:\n  - { path: /drawings, bytes: 5368709120 }\n"
    (app,) = parse_apps(text, "app.yaml", AROUND, "suzuki")
    assert app.body_limits == ("/ 1048576", "/drawings 5368709120")
    assert parse_apps(GOOD, "app.yaml", AROUND, "suzuki")[0].body_limits == ()
    for wrong in ("body_bytes: -1\n", "bodies: [{ path: drawings, bytes: 1 }]\n", "bodies: [{ path: /a }]\n"):
        assert faults(GOOD + wrong)


SEVERAL = GOOD.replace("upstream: https://10.0.0.5:8443", "upstreams: [https://10.0.0.5:8443, https://10.0.0.6:8443]")


def test_an_app_may_live_on_several_servers() -> None:
    (app,) = parse_apps(SEVERAL, "app.yaml", AROUND, "suzuki")
    assert (app.upstream, app.upstreams) == ("", ("https://10.0.0.5:8443", "https://10.0.0.6:8443"))
    assert app.addresses == app.upstreams
    assert app.affinity == "session"
    (one,) = parse_apps(SEVERAL.replace(", https://10.0.0.6:8443", ""), "app.yaml", AROUND, "suzuki")
    assert (one.upstream, one.upstreams, one.addresses) == ("https://10.0.0.5:8443", (), ("https://10.0.0.5:8443",))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (SEVERAL + "upstream: https://10.0.0.7\n", "app.yaml:7:1: upstream: got both"),
        (GOOD.replace("upstream: https://10.0.0.5:8443\n", ""), "app.yaml:1:1: upstream: got nothing"),
        (SEVERAL.replace("https://10.0.0.6", "http://10.0.0.6"), "app.yaml:5:1: upstreams: "),
        (SEVERAL.replace("10.0.0.6:8443", "10.0.0.5:8443"), "app.yaml:5:1: upstreams: "),
        (SEVERAL.replace("10.0.0.6:8443", "169.254.169.254"), "app.yaml:5:36: upstreams.1: "),
        (GOOD.replace("upstream: https://10.0.0.5:8443", "upstreams: []"), "app.yaml:5:1: upstreams: "),
        (SEVERAL + "affinity: cookie\n", "app.yaml:7:1: affinity: "),
        (GOOD + "upstream_first_byte: 3601\n", "app.yaml:7:1: upstream_first_byte: "),
        (GOOD + "upstream_between: -1\n", "app.yaml:7:1: upstream_between: "),
    ],
)
def test_what_may_not_be_said_of_several_servers(text: str, place: str) -> None:
    (told,) = faults(text)
    assert told.startswith(place)


def test_one_plain_server_of_several_is_warned_of_where_data_are_sensitive() -> None:
    (app,) = parse_apps(SEVERAL.replace("https://", "http://"), "app.yaml", AROUND, "suzuki")
    assert any("暗号化されません" in words for words in warnings(app, AROUND))
