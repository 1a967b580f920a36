"""The reserves of an installation: their order whatever is configured, and what people are told of the disk."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from audit.event import Action, check, event
from audit.room import Level, Room
from cli.commands.account import _disk, _disk_troubles
from gateway.settings_parts.bounds import JournalSettings, Writes
from gateway.signals.alert import alert_of
from gateway.supervision.filling import Filling, fields, limited

GIB = 2**30


def room(percent: float, total: int = 1000) -> Room:
    return Room(total, int(total * percent / 100), 0, 0)


def test_a_filling_disk_stops_strangers_then_staff_then_sign_in_then_the_rest() -> None:
    reserves = JournalSettings().reserves()
    found = [limited(reserves, room(percent)) for percent in (10, 9.9, 4.9, 2.9, 0.9)]
    assert found == [[], ["strangers"], ["strangers", "staff"], ["strangers", "staff", "control"], list(Writes)]
    # sign-in begins with strangers and happens in staff's browsers: their essential records go on as long as it does
    for kind in (Writes.STRANGERS, Writes.STAFF):
        assert reserves[kind].level(room(3), Level.AMPLE) is Level.SPARING
        assert reserves[kind].level(room(2.9), Level.AMPLE) is Level.REFUSING
    large = 100 * 1024 * GIB  # where a share would be too much, floors keep their proportion
    assert [limited(reserves, Room(large, free * GIB, 0, 0)) for free in (16, 15, 8, 7)] == [
        [], ["strangers"], ["strangers"], ["strangers", "staff"],
    ]  # fmt: skip


@pytest.mark.promise("P1.settings-never-weaken")
@pytest.mark.parametrize(
    "values",
    [
        {"reserve_last_percent": 0}, {"reserve_control_percent": 0}, {"reserve_staff_percent": 0},
        {"reserve_strangers_percent": 0}, {"reserve_most_bytes": 0}, {"disk_alarm_percent": 100},
        {"disk_alarm_percent": 90}, {"reserve_staff_percent": 10}, {"reserve_control_percent": 6},
        {"reserve_last_percent": 3},
    ],
    ids=str,
)  # fmt: skip
def test_no_setting_turns_a_reserve_off_or_their_order_round(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        JournalSettings.model_validate(values)


def test_people_are_told_once_of_each_step_down_and_of_the_way_back() -> None:
    filling = Filling(0.8, JournalSettings().reserves())
    told = []
    for percent in (30, 20, 19, 9, 8, 11, 13, 21, 22.5, 50, 4, 50):
        seen = filling.see(room(percent))
        if seen is not None:
            assert check(event(seen[0], 1.0, seen[1])) == []
            told.append((percent, seen[0], seen[1]["sekisho.disk.limited"]))
    assert told == [
        (20, Action.DISK_FILLING, []), (9, Action.DISK_FILLING, ["strangers"]), (13, Action.DISK_FILLING, []),
        (22.5, Action.DISK_RECOVERED, []), (4, Action.DISK_FILLING, ["strangers", "staff"]),
        (50, Action.DISK_RECOVERED, []),
    ]  # fmt: skip


def test_the_alert_names_what_stopped_so_that_each_step_is_told() -> None:
    keys = []
    for kinds in ([], ["strangers"], ["strangers", "staff"]):
        alert = alert_of(event(Action.DISK_FILLING, 1.0, fields(room(8), kinds)))
        assert alert is not None
        assert "92.0 %" in alert.text
        keys.append(alert.key)
    assert keys == ["disk_filling:alarm", "disk_filling:strangers", "disk_filling:strangers、staff"]
    assert alert_of(event(Action.DISK_RECOVERED, 1.0, fields(room(50), []))) is None


def test_status_says_how_full_the_disk_is_and_what_stopped() -> None:
    well = {"total": 100 * GIB, "free": 60 * GIB, "used_percent": 40.0, "alarm": False, "limited": []}
    assert _disk(well) == "使用率 40.0 %、空き 60.0 GiB"
    assert _disk_troubles(well) == []
    assert _disk_troubles(well | {"alarm": True}) == ["記録のディスクの 40.0 % を使っています。"]
    (trouble,) = _disk_troubles(well | {"alarm": True, "limited": ["strangers", "staff"]})
    assert trouble.endswith("止めています: 名乗らない要求の個別の記録、職員の新しい要求")
    assert (_disk(None), len(_disk_troubles(None))) == ("不明", 1)
