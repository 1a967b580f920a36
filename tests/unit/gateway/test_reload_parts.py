"""The parts of a reload by themselves: whom a setting concerns, who is old, what is told, which sockets are kept."""

from __future__ import annotations

import ast
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.reloading.effects import USES, WORKERS, by_content, concerned, differences
from gateway.reloading.recycling import due
from gateway.settings import Settings
from gateway.settings_parts.bounds import Limits
from gateway.settings_reference import tables
from gateway.supervision.notify import ServiceManager
from gateway.supervision.slots import CannotListen, close_left, open_slots, sockets_passed

ROOT = Path(__file__).parents[3] / "gateway"
READERS = {
    WORKERS: ["worker.py", "entrances.py", "leasing.py"],
    "steward": ["steward.py"],
    "auditor": ["reloading/programs.py"],
    "control": [
        "control.py", "alerting.py", "first_state.py",
        *(str(path.relative_to(ROOT)) for folder in ("admin", "portal", "identity", "posture", "signals", "apps")
          for path in sorted((ROOT / folder).rglob("*.py"))),
    ],
}  # fmt: skip
PARTLY = ("timeouts", "workers", "limits")  # of these tables not everybody reads all
TABLES = frozenset(Settings.model_fields)
BASE = """
[portal]
host = "portal.example.jp"
rp_id = "example.jp"
organisation = "見本市"
help_contact = "情報政策課"
"""


def settings(text: str, folder: Path) -> Settings:
    return Settings.parse(BASE + text, folder / "sekisho.toml")


def read_by(files: list[str]) -> set[str]:
    """The tables of the settings that some modules read, and of some of them the single settings."""
    found: set[str] = set()
    for name in files:
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute):
                continue
            if node.attr in TABLES and ast.unparse(node.value).endswith("settings"):
                found.add(node.attr)
            if isinstance(node.value, ast.Attribute) and node.value.attr in PARTLY and node.attr != "rates":
                found.add(f"{node.value.attr}.{node.attr}")
    return found


@pytest.mark.parametrize("process", list(USES))
def test_a_process_is_replaced_for_every_setting_that_it_reads(process: str) -> None:
    used = USES[process]
    read = read_by(READERS[process])
    single = {name for name in read if "." in name}
    whole = {name for name in read - single if not any(each.startswith(f"{name}.") for each in single)}
    assert {name for name in whole if not any(each.partition(".")[0] == name for each in used)} == set()
    assert {name for name in single if name not in used and name.partition(".")[0] not in used} == set()


def test_a_rate_concerns_who_shares_it_out() -> None:
    """The steward reads them by a method of the table, which no look at its source shows."""
    rates = Limits().rates()
    assert rates
    assert {concerned(f"limits.{kind}_rate.burst") for kind in rates} == {(WORKERS, "steward")}
    assert concerned("limits.header_count") == (WORKERS,)


def test_control_reads_the_authorities_of_lists_anew(tmp_path: Path) -> None:
    """A changed certificate at the same path is no difference of the settings."""
    without = settings('[listeners.public]\naddress = "127.0.0.1:0"\n', tmp_path)
    named = '[listeners.public]\naddress = "127.0.0.1:0"\nclient_crls = [{ authority = "ca.pem", file = "x.crl" }]\n'
    assert by_content(without) == frozenset()
    assert by_content(settings(named, tmp_path)) == {"control"}
    (changed,) = differences(without, settings(named, tmp_path))
    assert (changed.key, changed.concerns) == ("listeners.public.client_crls", (WORKERS, "control"))


def test_every_setting_concerns_somebody() -> None:
    alone = {"workers.recycle_after"}  # the supervisor's own
    keys = {entry.key for table in tables() for entry in table.entries}
    assert {key for key in keys if not concerned(key)} <= alone


def test_differences_say_before_and_after(tmp_path: Path) -> None:
    before = settings('[listeners.loopback]\naddress = "127.0.0.1:0"\n', tmp_path)
    after = settings('[listeners.loopback]\naddress = "127.0.0.1:8080"\n[timeouts]\nidle = 60\n', tmp_path)
    found = differences(before, after)
    assert [(each.key, each.before, each.after, each.concerns) for each in found] == [
        ("listeners.loopback.address", "127.0.0.1:0", "127.0.0.1:8080", ("workers",)),
        ("timeouts.idle", "75.0", "60.0", ("workers",)),
    ]
    assert differences(after, after) == ()


def test_certificates_of_further_hosts_are_told_by_their_files(tmp_path: Path) -> None:
    public = '[listeners.public]\naddress = "127.0.0.1:0"\n'
    pair = 'certificates = [{ certificate = "a.pem", key = "a.key" }]\n'
    (found,) = differences(settings(public, tmp_path), settings(public + pair, tmp_path))
    assert (found.key, found.before) == ("listeners.public.certificates", "")
    assert found.after == f"certificate={tmp_path}/a.pem key={tmp_path}/a.key"


@given(st.dictionaries(st.sampled_from(["worker-0", "worker-1", "worker-2"]), st.floats(0, 1e6)), st.floats(1, 1e6))
def test_only_the_oldest_is_due(ages: dict[str, float], limit: float) -> None:
    name = due(ages, limit, draining=False)
    old = {each for each, age in ages.items() if age >= limit}
    assert (name in old and ages[name] == max(ages.values())) if old and name else (name is None and not old)
    assert due(ages, limit, draining=True) is None
    assert due(ages, 0.0, draining=False) is None


@pytest.mark.parametrize("abstract", [False, True])
def test_states_reach_the_service_manager(tmp_path: Path, abstract: bool) -> None:
    address = f"@sekisho-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        found = ServiceManager.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, 7)
        assert found.watchdog == 3.0
        assert found.tell("READY=1", "STATUS=x")
        assert manager.recv(100) == b"READY=1\nSTATUS=x"


def test_a_service_manager_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        deaf = ServiceManager(str(tmp_path / "notify"), 0.0)
        assert any(not deaf.tell("WATCHDOG=1") for _ in range(100_000))


def test_without_a_service_manager_nothing_is_told(tmp_path: Path) -> None:
    assert not ServiceManager.of({}, 7).tell("READY=1")
    assert not ServiceManager(str(tmp_path / "nobody"), 0.0).tell("READY=1")
    assert ServiceManager.of({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, 7).watchdog == 0.0


def test_sockets_stay_where_their_address_does(tmp_path: Path) -> None:
    two = f'[listeners.loopback]\naddress = "127.0.0.1:0"\n[listeners.behind]\naddress = "unix:{tmp_path}/b.sock"\n'
    before = open_slots(settings(two, tmp_path))
    more = two.replace(f'[listeners.behind]\naddress = "unix:{tmp_path}/b.sock"\n', "") + "[workers]\ncount = 3\n"
    after = open_slots(settings(more, tmp_path), before)

    kept = [slot["loopback"] for slot in before.by_slot]
    assert [slot["loopback"] for slot in after.by_slot][:2] == kept
    assert len({slot["loopback"].getsockname() for slot in after.by_slot}) == 1
    assert after.addresses == {"loopback": before.addresses["loopback"]}
    close_left(before, after)
    assert before.by_slot[0]["behind"].fileno() == -1
    assert all(sock.fileno() > 0 for sock in kept)
    close_left(after, open_slots(settings('[listeners.loopback]\naddress = "127.0.0.1:0"\n', tmp_path)))


def test_an_address_that_is_taken_opens_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listeners = (
            f'[listeners.loopback]\naddress = "127.0.0.1:0"\n[listeners.redirect]\naddress = "127.0.0.1:{port}"\n'
        )
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(CannotListen) as refused:
            open_slots(settings(listeners, tmp_path))
        assert (refused.value.listener, refused.value.address) == ("redirect", f"127.0.0.1:{port}")
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_socket_of_another_address_is_not_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as passed:
        port = passed.getsockname()[1]
        here = settings(f'[listeners.loopback]\naddress = "127.0.0.1:{port}"\n', tmp_path)
        slots = open_slots(here, passed={"loopback": passed})
        assert {slot["loopback"] for slot in slots.by_slot} == {passed}
        assert slots.addresses == {"loopback": f"127.0.0.1:{port}"}
        with pytest.raises(CannotListen):
            open_slots(
                settings('[listeners.loopback]\naddress = "127.0.0.2:80"\n', tmp_path), passed={"loopback": passed}
            )


def test_sockets_passed_are_for_one_process_and_have_names() -> None:
    assert sockets_passed({"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "public"}, 2) == {}
    with pytest.raises(ValueError, match="'unknown'"):
        sockets_passed({"LISTEN_PID": "2", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "unknown"}, 2)
