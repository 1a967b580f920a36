"""Two hundred broken files, drawn from one that is right: each is refused with its faults, and nothing else happens."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.event import Action, check, event
from gateway import certificates
from gateway.reloading.crew import Crew, Told
from gateway.reloading.handover import Standing, fresh
from gateway.reloading.programs import Programs
from gateway.reloading.reload import Reloading
from gateway.reloading.requested import Desk
from gateway.settings_reference import Entry, Value, commented_toml, tables
from gateway.supervision.notify import ServiceManager

NOW = time.time()
RIGHT: Mapping[str, Value] = {
    "portal.host": "portal.example.jp", "portal.rp_id": "example.jp", "portal.organisation": "見本市",
    "portal.help_contact": "情報政策課", "listeners.public.address": "127.0.0.1:0", "limits.header_count": 90,
    "timeouts.drain": 20.0, "workers.count": 2,
}  # fmt: skip
SETTINGS: list[Entry] = [entry for table in tables() for entry in table.entries]
NUMBERS = [
    each for each in SETTINGS if each.default and re.search("[≥>≤<] [0-9]", each.bounds) and "長さ" not in each.bounds
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the right file names."""
    root = tmp_path_factory.mktemp("installation")
    for name in ("tls", "device-ca", "run"):
        (root / name).mkdir()
    authority = certificates.create_tls_authority("example.jp", NOW - 20 * 86_400)
    other = certificates.create_tls_authority("example.jp", NOW)
    for name, made, begins in (
        ("server", authority, NOW),
        ("expired", authority, NOW - 10 * 86_400),
        ("other", other, NOW),
    ):
        issued = certificates.issue_server_certificate(made, ("portal.example.jp", "other.example.jp"), begins, 5)
        (root / "tls" / f"{name}.pem").write_bytes(issued.certificate)
        (root / "tls" / f"{name}.key").write_bytes(issued.key)
    devices = certificates.create_device_authority("見本市", NOW)
    (root / "device-ca" / "ca.pem").write_bytes(devices.pem)
    (root / "empty").write_bytes(b"")
    return root


def text(**changes: Value) -> str:
    """The right file with some settings as they should not be, by dotted key."""
    return commented_toml({**RIGHT, **changes})


def out_of_bounds(entry: Entry) -> st.SearchStrategy[bytes]:
    """A number beyond one of its bounds."""
    found = re.findall("([≥>≤<]) ([0-9.e+]+)", entry.bounds)
    beyond = [float(bound) - 1 if sign in "≥>" else float(bound) + 1 for sign, bound in found]
    whole = "." not in entry.default and "e" not in entry.default
    return st.sampled_from([text(**{entry.key: int(each) if whole else each}).encode() for each in beyond])


def with_line(line: str) -> st.SearchStrategy[bytes]:
    """The right file with one more line somewhere behind its first table."""
    lines = text().splitlines()
    places = [number for number in range(3, len(lines)) if lines[number] and not lines[number].startswith("[")]
    return st.sampled_from(places).map(lambda at: "\n".join([*lines[:at], line, *lines[at:]]).encode())


LETTERS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=9, max_size=12)
BROKEN: st.SearchStrategy[bytes] = st.one_of(
    st.sampled_from(NUMBERS).flatmap(out_of_bounds),
    st.sampled_from(NUMBERS).map(lambda each: text(**{each.key: "many"}).encode()),
    LETTERS.flatmap(lambda name: with_line(f"{name} = 1")),
    LETTERS.flatmap(lambda name: with_line(f"[{name}]")),
    st.sampled_from(["[portal]", "= 3", "x =", "[[listeners]]", "'", "a.b.c", '"""']).flatmap(with_line),
    st.sampled_from(["portal.host", "portal.rp_id", "portal.organisation", "portal.help_contact"]).map(
        lambda key: commented_toml({name: value for name, value in RIGHT.items() if name != key}).encode()
    ),
    st.sampled_from(["portal.example.com", "Portal", "", "a b", "portal.example.jp/"]).map(
        lambda host: text(**{"portal.host": host}).encode()
    ),
    st.sampled_from(["paths.journal", "paths.state", "paths.keys", "paths.run"]).map(
        lambda key: text(**{key: "elsewhere"}).encode()
    ),
    st.sampled_from(["192.0.2.1:8443", "127.0.0.1:70000", "localhost:1", "8443", "unix:run/x.sock"]).map(
        lambda address: text(**{"listeners.public.address": address}).encode()
    ),
    st.sampled_from(["tls/expired.pem", "tls/other.pem", "tls/none.pem", "empty", "tls/server.key"]).map(
        lambda name: text(**{"listeners.public.certificate": name}).encode()
    ),
    st.sampled_from(["tls/other.key", "tls/none.key", "empty", "tls/server.pem", "tls"]).map(
        lambda name: text(**{"listeners.public.key": name}).encode()
    ),
    st.sampled_from(["empty", "device-ca/none.pem", "tls/server.key"]).map(
        lambda name: text(**{"listeners.public.client_ca": name}).encode()
    ),
    st.just(text(**{"workers.count": 1}).encode()),
    st.integers(0, 400).map(lambda at: text().encode()[:at] + b"\xff\xfe" + text().encode()[at:]),
)


class Gateway:
    """What the supervisor has to decide with, around a gateway without processes; `told` is what it records."""

    def __init__(self, standing: Standing) -> None:
        self.told: list[dict[str, Any]] = []
        self.moves = 0
        self.crew = Crew(Told(self._moved, self._moved, self._moved, self._moved))
        programs = Programs(lambda: ({}, ()))
        self.reloading = Reloading(self.crew, programs, standing.accepted, standing.slots)
        self.desk = Desk(self.reloading, self.crew, standing, ServiceManager("", 0.0), self._record, self._kept)

    def _moved(self, *_: object) -> None:
        self.moves += 1

    def _record(self, action: Action, fields: Mapping[str, Any]) -> None:
        self.told.append(event(action, NOW, dict(fields)))

    async def _kept(self) -> None:
        raise AssertionError("nothing is to be handed over")


@pytest.fixture(scope="module")
def standing(folder: Path) -> Iterator[Standing]:
    config = folder / "sekisho.toml"
    config.write_text(text(), encoding="utf-8")
    found = fresh(config)
    yield found
    for slot in found.slots.by_slot:
        for sock in slot.values():
            sock.close()
    for sock in found.channel:
        sock.close()


def test_the_right_file_would_be_taken_up(standing: Standing, folder: Path) -> None:
    """So that what refuses the others is what was broken in them."""
    (folder / "sekisho.toml").write_text(text(**{"limits.header_count": 80}), encoding="utf-8")
    answer = asyncio.run(Gateway(standing).desk.answer({"dry_run": True}, None))
    assert (answer["fault"], answer["faults"], answer["replaced"]) == ("", [], ["worker-0", "worker-1"])
    assert [each["key"] for each in answer["changed"]] == ["limits.header_count"]


@pytest.mark.promise("P1.broken-settings-change-nothing")
@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(broken=BROKEN)
def test_a_broken_file_is_refused(standing: Standing, folder: Path, broken: bytes) -> None:
    config = folder / "sekisho.toml"
    config.write_bytes(broken)
    gateway = Gateway(standing)

    answer = asyncio.run(gateway.desk.answer({"by": "op", "reason": "試験"}, None))

    assert answer["fault"]
    assert answer["faults"]
    for fault in answer["faults"]:
        assert fault["file"] == str(config)
        assert 0 <= fault["line"] <= broken.count(b"\n") + 1
        assert fault["key"]
        assert fault["got"]
        assert fault["expected"]
    assert (gateway.reloading.accepted, gateway.reloading.slots) == (standing.accepted, standing.slots)
    assert (gateway.moves, gateway.crew.all) == (0, [])
    (record,) = gateway.told
    assert check(record) == []
    assert (record["event.action"], record["sekisho.by"]) == ("settings.refused", "op")
    assert len(record["sekisho.settings.faults"]) == len(answer["faults"])


@pytest.mark.parametrize(
    ("second", "key", "got"),
    [
        ("tls/server.pem tls/none.key", "certificates[1].key", "none.key: No such file"),
        ("tls/none.pem tls/server.key", "certificates[1].certificate", "none.pem: No such file"),
        ("tls/server.pem tls/other.key", "certificates[1].key", "other.key: got another certificate's key"),
        ("tls/expired.pem tls/expired.key", "certificates[1].certificate", "expired.pem: expired at "),
    ],
)
def test_a_fault_of_a_further_certificate_says_which_one(
    standing: Standing, folder: Path, second: str, key: str, got: str
) -> None:
    """They were told of the listener as a whole, or not as files at all."""
    pairs = [each.split() for each in ("tls/server.pem tls/server.key", second)]
    inner = ", ".join(f'{{ certificate = "{certificate}", key = "{private}" }}' for certificate, private in pairs)
    public = "[listeners.public]\n"
    written = text().replace(public, f"{public}certificates = [{inner}]\n")
    (folder / "sekisho.toml").write_text(written, encoding="utf-8")
    (fault,) = asyncio.run(Gateway(standing).desk.answer({}, None))["faults"]
    assert (fault["key"], got in fault["got"]) == (f"listeners.public.{key}", True), fault
    assert written.splitlines()[fault["line"] - 1].startswith("certificates = [")


@pytest.mark.parametrize(
    ("changes", "key", "got"),
    [
        ({"listeners.public.certificate": "tls/expired.pem", "listeners.public.key": "tls/expired.key"},
         "listeners.public.certificate", "expired at "),
        ({"listeners.public.key": "tls/other.key"}, "listeners.public.key", "another certificate's key"),
        ({"listeners.public.certificate": "tls/none.pem"}, "listeners.public.certificate", "No such file"),
        ({"portal.host": "other.example.jp"}, "portal.host", "other.example.jp"),
        ({"workers.count": 1}, "workers.count", "1"),
        ({"paths.journal": "elsewhere"}, "paths.journal", "elsewhere"),
        ({"listeners.public.address": "192.0.2.1:8443"}, "listeners.public.address", "192.0.2.1:8443"),
    ],
)  # fmt: skip
def test_a_fault_says_which_line(
    standing: Standing, folder: Path, changes: dict[str, Value], key: str, got: str
) -> None:
    (folder / "sekisho.toml").write_text(text(**changes), encoding="utf-8")
    faults = asyncio.run(Gateway(standing).desk.answer({}, None))["faults"]
    (fault,) = [each for each in faults if each["key"] == key]
    line = (folder / "sekisho.toml").read_text(encoding="utf-8").splitlines()[fault["line"] - 1]
    assert got in fault["got"]
    assert line.startswith((f"{key.rpartition('.')[2]} = ", f"[{key.rpartition('.')[0]}]"))
