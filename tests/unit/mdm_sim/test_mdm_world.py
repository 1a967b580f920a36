"""The world's verbs change what Graph tells, and nothing else."""

from __future__ import annotations

import pytest

from mdm_sim.scenarios import CITY_DEVICES, city, empty
from mdm_sim.world import COMPLIANCE_STATES, VERBS, WorldError, perform

NOW = 1_790_000_000.0


def test_same_seed_same_world() -> None:
    assert city(NOW).devices() == city(NOW).devices()
    assert city(NOW, seed=2).devices() != city(NOW).devices()


def test_city_starts_compliant() -> None:
    states = {device.compliance(NOW) for device in city(NOW).devices()}

    assert states == {"compliant"}
    assert len(city(NOW).devices()) == len(CITY_DEVICES) == 15


@pytest.mark.parametrize(
    ("verb", "argument", "state"),
    [
        ("decrypt", "", "noncompliant"),
        ("jailbreak", "", "noncompliant"),
        ("age_patches", "90", "noncompliant"),
        ("age_patches", "10", "compliant"),
        ("go_stale", "30", "compliant"),
        ("judge", "inGracePeriod", "inGracePeriod"),
        ("patch", "", "compliant"),
    ],
)
def test_verb_changes_compliance(verb: str, argument: str, state: str) -> None:
    world = city(NOW)

    device = perform(world, verb, "JOHO-PC-01", NOW, argument)

    assert device.compliance(NOW) == state
    assert world.find("JOHO-PC-01") == device


def test_heal_undoes_every_verb() -> None:
    world = city(NOW)
    for verb in VERBS:
        if verb != "wipe":
            perform(world, verb, "JOHO-PC-01", NOW, "error" if verb == "judge" else "")
    perform(world, "jailbreak", "JOHO-PC-01", NOW)

    assert perform(world, "heal", "JOHO-PC-01", NOW).compliance(NOW) == "compliant"


def test_stale_device_keeps_its_last_check_in_while_others_go_on() -> None:
    world = city(NOW)
    stale = perform(world, "go_stale", "JOHO-PC-01", NOW, "30")
    fresh = world.find("JOHO-PC-02")

    assert stale.last_sync(NOW + 7200) == NOW - 30 * 3600
    assert fresh.last_sync(NOW + 7200) > NOW


def test_wiped_device_is_gone_and_its_name_free() -> None:
    world = city(NOW)
    perform(world, "wipe", "JOHO-PC-01", NOW)

    with pytest.raises(WorldError, match="no device 'JOHO-PC-01'"):
        world.find("JOHO-PC-01")
    world.enrol("JOHO-PC-01", "yamamoto@city.example.jp", NOW)
    assert len(world.devices()) == 15


@pytest.mark.parametrize(
    ("verb", "device", "argument", "message"),
    [
        ("melt", "JOHO-PC-01", "", "no verb 'melt'; verbs: patch"),
        ("patch", "NOBODY", "", "no device 'NOBODY'"),
        ("judge", "JOHO-PC-01", "splendid", "no compliance state 'splendid'"),
        ("go_stale", "JOHO-PC-01", "long", "expected a number"),
        ("patch", "JOHO-PC-01", "5", "takes no argument"),
    ],
)
def test_impossible_verbs_say_what_there_is(verb: str, device: str, argument: str, message: str) -> None:
    with pytest.raises(WorldError, match=message):
        perform(city(NOW), verb, device, NOW, argument)


def test_judged_states_are_graphs() -> None:
    world = city(NOW)
    for state in COMPLIANCE_STATES:
        assert perform(world, "judge", "JOHO-PC-01", NOW, state).compliance(NOW) == state


def test_empty_tenant() -> None:
    assert empty().devices() == ()
