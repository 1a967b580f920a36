"""Settings: every fault at once, each with its place; bounds that promises rest on; no secret in a fault."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from gateway.settings import Fault, Settings, SettingsFaults
from gateway.settings_parts.bounds import Limits, Sessions, SignIn, Timeouts
from gateway.settings_parts.faults import key_lines
from gateway.settings_reference import commented_toml, tables

GOOD = """\
[portal]
host = "portal.example.jp"
port = 8443
rp_id = "example.jp"
organisation = "見本市"
help_contact = "情報政策課 内線 1234"

[listeners.public]
address = "127.0.0.1:8443"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sekisho.toml"


def faults(file: Path, text: str) -> list[Fault]:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsFaults) as caught:
        Settings.load(file)
    return list(caught.value.faults)


def test_a_good_file_gives_a_frozen_value(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    settings = Settings.load(file)
    assert settings.root == file.parent
    assert settings.portal.origin == "https://portal.example.jp:8443"
    assert settings.log_origin == "portal.example.jp/log"
    assert settings.paths.journal == file.parent / "journal"
    assert settings.listeners.public is not None
    assert settings.listeners.public.client_ca == file.parent / "device-ca" / "ca.pem"
    assert settings.listeners.public.endpoint == ("127.0.0.1", 8443)
    assert (settings.timeouts.stale_refuse, settings.timeouts.stale_cut) == (5.0, 30.0)
    assert settings.mdm is None
    with pytest.raises(ValidationError):
        settings.workers.count = 3


def test_the_default_port_is_not_in_the_origin(file: Path) -> None:
    file.write_text(GOOD.replace("port = 8443\n", ""), encoding="utf-8")
    assert Settings.load(file).portal.origin == "https://portal.example.jp"


def test_absolute_paths_stay(file: Path) -> None:
    file.write_text(GOOD + '[paths]\njournal = "/var/lib/sekisho/journal"\n', encoding="utf-8")
    assert Settings.load(file).paths.journal == Path("/var/lib/sekisho/journal")


def test_all_faults_come_at_once_with_their_lines(file: Path) -> None:
    text = GOOD.replace('host = "portal.example.jp"\n', "").replace("8443\n", '"x"\n', 1)
    text += "[timeouts]\nstale_refuse = 4\nstale_cutt = 30\n[workers]\ncount = 0\n"
    found = [(fault.line, fault.key, fault.got) for fault in faults(file, text)]
    assert found == [
        (1, "portal.host", "nothing"),
        (2, "portal.port", "'x'"),
        (10, "timeouts.stale_refuse", "4"),
        (11, "timeouts.stale_cutt", "an unknown key"),
        (13, "workers.count", "0"),
    ]


def test_a_fault_says_what_got_expected_and_where(file: Path) -> None:
    (fault,) = faults(file, GOOD + "[timeouts]\nstale_cut = 301\n")
    assert str(fault) == f"{file}:11: timeouts.stale_cut: got 301, expected less than or equal to 300"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[portal\n", 1),
        (GOOD + "[portal]\n", 10),
        (GOOD + "x = \n", 10),
        ("a = '''\nnever closed", 2),
        ("a = 1\na = 2\n", 2),
    ],
)
def test_a_syntax_fault_has_its_line(file: Path, text: str, line: int) -> None:
    (fault,) = faults(file, text)
    assert (fault.line, fault.key) == (line, "(syntax)")


@pytest.mark.parametrize(
    "line",
    [
        '[mdm]\nclient_secret = "hunter2"',
        "[mdm]\nclient_secret_file = 1234567",
        '[elasticsearch]\nwrite_key = "hunter2"\nurl = "https://elastic:hunter2@es.example:9200"',
        '[elasticsearch]\nurl = "https://es.example:9200/?q=@//elastic:hunter2@"',
        '[alerts.mail]\npassword = "hunter2"\nport = "hunter2"',
    ],
)
def test_a_secret_is_not_shown(file: Path, line: str) -> None:
    text = "\n".join(str(fault) for fault in faults(file, GOOD + line.replace('port = "hunter2"', "port = 0") + "\n"))
    assert "hunter2" not in text
    assert "1234567" not in text


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("listeners.public.address", '"localhost:8443"', "an IP address and port"),
        ("listeners.loopback.address", '"192.0.2.1:8080"', "a loopback address"),
        ("listeners.behind.address", '"0.0.0.0:8080"', "a loopback address"),
        ("listeners.loopback.address", '"unix:run/x.sock"', "an absolute path"),
        ("portal.host", '"Portal.Example.JP"', "a lower-case host name"),
        ("mdm.base_url", '"http://mdm.example/v1.0"', "https://"),
        ("mdm.token_url", '"ftp://mdm.example"', "a URL such as"),
    ],
)
def test_addresses_names_and_urls_are_checked(file: Path, key: str, value: str, expected: str) -> None:
    table, _, name = key.rpartition(".")
    text = GOOD.replace('host = "portal.example.jp"\n', "") if key == "portal.host" else GOOD
    text = text.replace('address = "127.0.0.1:8443"\n', "") if key == "listeners.public.address" else text
    lines = text.splitlines()
    header = f"[{table}]"
    if header in lines:
        lines.insert(lines.index(header) + 1, f"{name} = {value}")
    else:
        lines += [header, f"{name} = {value}"]
    assert any(fault.key == key and expected in fault.expected for fault in faults(file, "\n".join(lines)))


def test_secrets_may_be_systemd_credentials(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "loaded"))
    mdm = 'base_url = "https://graph.example"\ntoken_url = "https://login.example/t"\nclient_id = "c"\n'
    text = GOOD + f'\n[paths]\nkeys = "credential:"\n[mdm]\n{mdm}client_secret_file = "credential:mdm-secret"\n'

    settings = Settings.parse(text, file)

    assert settings.paths.keys == tmp_path / "loaded"
    assert settings.mdm is not None
    assert settings.mdm.client_secret_file == tmp_path / "loaded" / "mdm-secret"


@pytest.mark.parametrize(("folder", "name"), [("", "mdm-secret"), ("/run/credentials/x", "../etc/passwd")])
def test_a_credential_that_cannot_be_is_a_fault(
    file: Path, monkeypatch: pytest.MonkeyPatch, folder: str, name: str
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)

    with pytest.raises(SettingsFaults) as caught:
        Settings.parse(GOOD + f'\n[paths]\nkeys = "credential:{name}"\n', file)

    assert [fault.key for fault in caught.value.faults] == ["paths.keys"]


def test_the_rp_id_covers_the_portal(file: Path) -> None:
    (fault,) = faults(file, GOOD.replace('"example.jp"', '"example.org"'))
    assert "rp_id equal to host or a parent domain" in fault.expected


def test_one_listener_for_people_or_tools_is_needed(file: Path) -> None:
    (fault,) = faults(file, GOOD.replace("listeners.public", "listeners.redirect"))
    assert "at least one of listeners.public" in fault.expected


def test_a_variable_overrides_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(GOOD, encoding="utf-8")
    monkeypatch.setenv("SEKISHO_WORKERS__COUNT", "5")
    monkeypatch.setenv("SEKISHO_PORTAL__PORT", "9443")
    monkeypatch.setenv("SEKISHO_LISTEN", "public:7")  # what the supervisor passes on is no setting
    settings = Settings.load(file)
    assert (settings.workers.count, settings.portal.port) == (5, 9443)


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("SEKISHO_WORKERS__COUNT", "0", "workers.count"),
        ("SEKISHO_WORKER__COUNT", "1", "SEKISHO_WORKER__COUNT"),
        ("SEKISHO_WORKERS__CUONT", "1", "workers.cuont"),
        ("SEKISHO_LIMITS", "not json", "SEKISHO_*"),
    ],
)
def test_a_wrong_variable_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, key: str
) -> None:
    monkeypatch.setenv(name, value)
    (fault,) = faults(file, GOOD)
    assert (fault.line, fault.key) == (0, key)
    assert str(fault).startswith(("environment variable", "environment"))


def test_sockets_fit_their_address(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 20)
    folder.mkdir()
    (fault,) = faults(folder / "sekisho.toml", GOOD)
    assert fault.key == "paths.run"


@pytest.mark.promise("P1.settings-never-weaken")
def test_no_setting_switches_a_protection_off() -> None:
    words = (
        "disable_mfa",
        "enforce",
        "enable",
        "require",
        "skip",
        "insecure",
        "allow",
        "bypass",
        "default_deny",
        "off",
    )
    names = [entry.name for table in tables() for entry in table.entries]
    assert len(names) > 80
    assert [name for name in names if any(word in name.split("_") or word == name for word in words)] == []
    assert not [key for key, value in Settings.model_fields.items() if value.annotation is bool]
    assert not [entry.key for table in tables() for entry in table.entries if entry.default in {"true", "false"}]


@pytest.mark.promise("P1.settings-never-weaken")
@pytest.mark.parametrize(
    ("section", "name", "beyond"),
    [
        (Timeouts, "stale_refuse", 60.1), (Timeouts, "stale_refuse", 4.9), (Timeouts, "stale_cut", 300.1),
        (Timeouts, "stale_cut", 29.9), (Timeouts, "journal_stall", 1.01), (Timeouts, "unknown_ask", 0.21),
        (Timeouts, "ack", 5.1), (Timeouts, "header", float("inf")), (Timeouts, "idle", float("nan")),
        (Sessions, "absolute", 86_401), (Sessions, "idle", 3601), (Sessions, "code_lifetime", 31),
        (Sessions, "concurrent", 0), (SignIn, "wait_after", 11), (SignIn, "disable_after", 101),
        (SignIn, "totp_drift_steps", 2), (SignIn, "argon2_memory_kib", 19_455), (SignIn, "argon2_time", 1),
        (Limits, "header_bytes", 65_537), (Limits, "header_count", 501),
    ],
)  # fmt: skip
def test_bounds_that_promises_rest_on(section: type[BaseModel], name: str, beyond: float) -> None:
    with pytest.raises(ValidationError):
        section.model_validate({name: beyond})


def test_every_setting_tells_its_meaning_and_reason() -> None:
    for table in tables():
        assert table.meaning, table.key
        for entry in table.entries:
            assert entry.meaning, entry.key
            assert entry.reason, entry.key
            assert entry.unit or not entry.default.replace(".", "").isdigit() or "port" in entry.key, entry.key


def test_the_commented_file_is_what_the_defaults_are(file: Path) -> None:
    values = {
        "portal.host": "portal.example.jp", "portal.rp_id": "example.jp", "portal.organisation": '見本"市\\',
        "portal.help_contact": "内線 1234", "listeners.public.address": "127.0.0.1:8443",
    }  # fmt: skip
    text = commented_toml(values)
    file.write_text(text, encoding="utf-8")
    settings = Settings.load(file)
    assert settings.portal.organisation == '見本"市\\'
    complete = {
        f"[{table.key}]" for table in tables() if all(entry.default or entry.key in values for entry in table.entries)
    }
    lines, inside = [], False
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        inside = bare in complete if bare.startswith("[") else inside
        says_something = bare.startswith("[") or re.match(r"[a-z_0-9]+ = ", bare)
        lines.append(bare if inside and says_something else line)
    everything = "\n".join(lines)
    assert everything.count("\n# [") == 11  # four listeners, mdm, elasticsearch, witness, ndjson, syslog, mail, webhook
    file.write_text(everything, encoding="utf-8")
    assert Settings.load(file) == settings


@given(st.text(max_size=200))
def test_finding_lines_never_fails(text: str) -> None:
    numbers = key_lines(text).values()
    assert all(1 <= number <= len(text.splitlines()) for number in numbers)


def test_lines_are_those_of_the_text() -> None:
    text = 'top = """\n[not.a.table]\nx = 1\n"""\n[a]\n"b c".d = { e = 1, f = 2 }\n[[list]]\nz = 1\n'
    lines = key_lines(text)
    assert lines["top",] == 1
    assert lines["a", "b c", "d", "f"] == 6
    assert lines["list", "z"] == 8
    assert ("x",) not in lines


def test_a_worker_can_afford_the_import() -> None:
    code = "import sys, gateway.settings; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"sqlalchemy", "aiohttp", "jinja2", "elasticsearch", "duckdb", "webauthn", "typer", "cryptography", "yaml"}
    assert "pydantic" in loaded
    assert heavy.isdisjoint(loaded)
