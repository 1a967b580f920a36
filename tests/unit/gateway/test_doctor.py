"""What is wrong with an installation is found and named, with what to do; a good one has no fault."""

from __future__ import annotations

import itertools
import resource
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gateway import doctor
from gateway.certificates import create_tls_authority, issue_server_certificate
from gateway.doctor_parts import certificates, files, machine, room, running, services
from gateway.doctor_parts.finding import Finding, State
from gateway.doctor_parts.services import Service
from gateway.first_state import FirstAccount
from gateway.installation import Options, create, plan
from gateway.settings import Settings
from gateway.settings_parts.field import SecretPath
from gateway.settings_parts.listeners import ClientCrl
from tests.support.revocation_lists import authority, placed, revocation_list

NOW = 1_790_000_000.0
HOST = "portal.city.example.jp"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation as `sekisho init` leaves it, made once."""
    root = tmp_path_factory.mktemp("made") / "city"
    options = Options(
        directory=root, portal_host=HOST, rp_id=HOST, organisation="見本市", help_contact="内線 1234",
        account=FirstAccount(login="ciso", name="CISO"), domain="city.example.jp", port=443, listen="127.0.0.1:8443",
    )  # fmt: skip
    create(plan(options), NOW)
    return root


@pytest.fixture
def city(made: Path, tmp_path: Path) -> Settings:
    """A copy of it."""
    root = tmp_path / "city"
    shutil.copytree(made, root)
    return Settings.load(root / "sekisho.toml")


def of(findings: Iterator[Finding], check: str) -> list[State]:
    return [each.state for each in findings if each.check == check]


def test_a_fresh_installation_has_no_fault(city: Settings) -> None:
    found = list(doctor.examine(city, NOW, offline=True))
    assert [each for each in found if each.state is State.FAULT] == []
    assert {each.check for each in found} == {
        "files.secret", "certificates.public", "certificates.devices", "room.journal", "room.log", "room.state",
        "room.sync", "machine.open-files", "machine.clock", "machine.names", "running.store", "running.processes",
        "running.torn",
    }  # fmt: skip
    assert all(each.remedy.ja and each.remedy.en for each in found if each.state is not State.GOOD)
    assert all(each.found.ja and each.found.en for each in found)


def _open(city: Settings) -> None:
    (city.paths.keys / "sealing.key").chmod(0o640)


def _open_folder(city: Settings) -> None:
    city.paths.keys.chmod(0o711)


def _without_key(city: Settings) -> None:
    (city.paths.keys / "receipts.pem").unlink()


def _without_store(city: Settings) -> None:
    city.paths.store.unlink()


def _another_key(city: Settings) -> None:
    assert city.listeners.public is not None
    authority = create_tls_authority("example.jp", NOW)
    city.listeners.public.key.write_bytes(issue_server_certificate(authority, (HOST,), NOW, 5).key)


def _another_name(city: Settings) -> None:
    _issued(city, ("other.example.jp",), 20)


def _broken_certificate(city: Settings) -> None:
    assert city.listeners.public is not None
    city.listeners.public.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\n")


def _issued(city: Settings, names: tuple[str, ...], days: int) -> None:
    public = city.listeners.public
    assert public is not None
    issued = issue_server_certificate(create_tls_authority("example.jp", NOW), names, NOW, days)
    public.certificate.write_bytes(issued.certificate)
    public.key.write_bytes(issued.key)


@pytest.mark.parametrize(
    ("harm", "check"),
    [
        (_open, "files.secret"), (_open_folder, "files.secret"), (_without_key, "files.secret"),
        (_without_store, "running.store"), (_another_key, "certificates.public"),
        (_another_name, "certificates.public"), (_broken_certificate, "certificates.public"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_fault(city: Settings, harm: Callable[[Settings], None], check: str) -> None:
    harm(city)
    found = list(doctor.examine(city, NOW, offline=True))
    assert State.FAULT in of(iter(found), check), found


@pytest.mark.parametrize(
    ("later", "state"),
    [(0.0, State.GOOD), (8.0, State.GOOD), (9.5, State.NOTE), (29.0, State.NOTE), (31.0, State.FAULT)],
)
def test_certificates_end(city: Settings, later: float, state: State) -> None:
    _issued(city, ("*.city.example.jp",), 30)
    assert of(certificates.examine(city, NOW + later * 86_400), "certificates.public") == [state]
    assert of(certificates.examine(city, NOW - 3 * 86_400), "certificates.public") == [State.FAULT]


def test_every_secret_that_settings_can_name_is_looked_at(tmp_path: Path) -> None:
    """Whoever adds a setting that names a secret has it looked at, or this fails."""
    names: list[str] = []

    def walk(model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    walk(part)
                secret = SecretPath.__metadata__[0] in (*field.metadata, *getattr(part, "__metadata__", ()))  # type: ignore[attr-defined]
                if secret and not (model.__name__ == "Paths" and name == "keys"):
                    names.append(name)

    walk(Settings)
    assert len(set(names)) >= 5

    class Named(BaseModel):
        model_config = {"extra": "allow"}

    for name in set(names):
        one = type("One", (BaseModel,), {"__annotations__": {name: Path}})
        assert list(files.secret_files(one(**{name: tmp_path / name}))) == [tmp_path / name]


def test_the_keys_of_every_certificate_are_looked_at(city: Settings) -> None:
    """Of the pairs beside a listener's first one, too: they used to be passed over."""
    assert city.listeners.public is not None
    authority = create_tls_authority("example.jp", NOW)
    lines = []
    for name in ("first", "second"):
        issued = issue_server_certificate(authority, (f"{name}.example.jp",), NOW, 30)
        (city.paths.tls / f"{name}.pem").write_bytes(issued.certificate)
        key = city.paths.tls / f"{name}.key"
        key.write_bytes(issued.key)
        key.chmod(0o600)
        lines.append(f'{{ certificate = "tls/{name}.pem", key = "tls/{name}.key" }}')
    config = city.root / "sekisho.toml"
    public, text = "[listeners.public]\n", config.read_text("utf-8")
    assert public in text
    config.write_text(text.replace(public, f"{public}certificates = [{', '.join(lines)}]\n"), "utf-8")
    settings = Settings.load(config)
    (city.paths.tls / "second.pem").chmod(0o644)  # a certificate is for everybody
    assert of(files.examine(settings), "files.secret") == [State.GOOD]
    key.chmod(0o640)
    (found,) = [each for each in files.examine(settings) if each.state is State.FAULT]
    assert str(key) in found.found.en


def test_the_disks_speed_is_told_by_the_clock(city: Settings) -> None:
    before = sorted(city.paths.journal.rglob("*"))
    for each, state in ((0.001, State.GOOD), (0.2, State.NOTE), (1.5, State.FAULT)):
        assert of(room.examine(city, itertools.count(0.0, each).__next__), "room.sync") == [state]
    assert sorted(city.paths.journal.rglob("*")) == before
    shutil.rmtree(city.paths.journal)
    found = list(room.examine(city, lambda: 0.0))
    assert of(iter(found), "room.journal") == of(iter(found), "room.sync") == [State.FAULT]


def test_the_machine_is_judged_by_what_it_says() -> None:
    assert machine.open_files(1000, resource.RLIM_INFINITY).state is State.GOOD
    assert machine.open_files(1000, 3000).state is State.GOOD
    assert machine.open_files(1000, 2999).state is State.NOTE
    assert machine.clock(lambda: 0).state is State.GOOD
    assert machine.clock(lambda: 5).state is State.NOTE
    assert machine.clock(_fails).state is State.NOTE
    assert 0 <= machine.clock_state() <= 5
    assert machine.names({"cli": ["sekisho"], "click": ["click"]}).state is State.GOOD
    assert machine.names({"cli": ["sekisho", "someones-cli"]}).state is State.FAULT


def _fails() -> int:
    raise OSError(1, "not permitted")


STATUS: dict[str, Any] = {
    "journal": {"healthy": True, "fault": ""}, "clock": {"jumped": False, "leap": 0.0},
}  # fmt: skip


def test_processes_and_steward_are_judged_by_what_they_say() -> None:
    def process(*, ready: bool = True, restarts: int = 0) -> dict[str, Any]:
        return {"processes": [{"name": "worker-0", "ready": ready, "restarts": restarts}]}

    assert running.processes(process()).state is State.GOOD
    assert running.processes(process(restarts=2)).state is State.NOTE
    assert running.processes(process(ready=False, restarts=2)).state is State.FAULT
    assert [each.state for each in running.steward(STATUS)] == [State.GOOD]
    ill = {**STATUS, "journal": {"healthy": False, "fault": "EIO"}, "clock": {"jumped": True, "leap": 31_536_000.0}}
    assert [each.state for each in running.steward(ill)] == [State.FAULT, State.FAULT]


def test_torn_tails_are_told(city: Settings) -> None:
    writer = city.paths.journal / "worker-0"
    writer.mkdir(exist_ok=True)
    (writer / "000000000001.torn-1").write_bytes(b"{")
    assert running.torn(city.paths.journal).state is State.NOTE


def test_a_steward_that_does_not_answer_is_a_fault(city: Settings) -> None:
    (city.paths.run / "supervisor.json").write_text('{"processes": []}')
    assert of(running.examine(city), "running.steward") == [State.FAULT]


class _Dated(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A service over TLS that wants credentials; yields its address and its authority's file."""
    authority = create_tls_authority("localhost", time.time())
    issued = issue_server_certificate(authority, ("localhost",), time.time(), 5)
    for name, content in (("ca.pem", authority.pem), ("server.pem", issued.certificate), ("server.key", issued.key)):
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with HTTPServer(("127.0.0.1", 0), _Dated) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"https://localhost:{http.server_address[1]}/v1", tmp_path / "ca.pem"
        http.shutdown()


def test_services_are_reached_proven_and_their_clock_compared(server: tuple[str, Path]) -> None:
    url, ca = server
    assert services.reached(Service("services.mdm", url, ca), time.time()).state is State.GOOD
    assert services.reached(Service("services.mdm", url, ca), time.time() + 300).state is State.NOTE
    unproven = services.reached(Service("services.mdm", url, None), time.time())
    assert unproven.state is State.FAULT
    assert "certificate" in unproven.found.en


def test_a_service_that_is_away_is_a_fault() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        for scheme in ("http", "https", "smtp"):
            service = Service("services.mail", f"{scheme}://127.0.0.1:{port}", None)
            assert services.reached(service, NOW).state is State.FAULT


def test_what_cannot_be_looked_at_is_a_fault(city: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_settings: Settings) -> Iterator[Finding]:
        raise RuntimeError("no")

    monkeypatch.setattr(machine, "examine", breaks)
    assert of(doctor.examine(city, NOW, offline=True), "machine") == [State.FAULT]


def test_revocation_lists(city: Settings, tmp_path: Path) -> None:
    """Good, nearly over, over, one that cannot be believed, none; and one over that is to be gone on with."""
    made = authority(tmp_path / "ca", "県の認証局", NOW)
    at = {
        "good": (-1, 6), "late": (-95, 5), "over": (-2, -1), "warned": (-2, -1), "broken": (0, 0), "absent": (0, 0),
    }  # fmt: skip
    for name, (begun, ends) in at.items():
        if begun:
            crl = revocation_list(
                made.certificate, made.key, [1], this_update=NOW + begun * 86_400, next_update=NOW + ends * 86_400
            )  # fmt: skip
            placed(tmp_path / f"{name}.crl", crl)
    (tmp_path / "broken.crl").write_text("nothing")
    lists = tuple(
        ClientCrl(authority=tmp_path / "ca" / "ca.pem", file=tmp_path / f"{name}.crl",
                  when_stale="warn" if name == "warned" else "refuse")
        for name in at
    )  # fmt: skip
    assert city.listeners.public is not None
    public = city.listeners.public.model_copy(update={"client_crls": lists})
    settings = city.model_copy(update={"listeners": city.listeners.model_copy(update={"public": public})})
    found = [each for each in certificates.examine(settings, NOW) if each.check.startswith("certificates.crl")]
    assert [each.state for each in found] == [
        State.GOOD, State.NOTE, State.FAULT, State.FAULT, State.FAULT, State.FAULT,
    ]  # fmt: skip
    assert "refused" in found[2].found.en
    assert "unchecked" in found[3].found.en
