"""What the settings say of outlets is what the auditor is told, and what it cannot use is a fault of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.daemon import _parser
from audit.outlets.ndjson import NdjsonFile
from audit.outlets.start import followings
from audit.outlets.syslog import SyslogTls
from gateway.reloading.programs import _outlets
from gateway.settings import Settings, SettingsFaults

BASE = """
portal.host = "portal.example.jp"
portal.rp_id = "example.jp"
portal.organisation = "見本市"
portal.help_contact = "内線 1234"
listeners.loopback.address = "127.0.0.1:8080"
"""
AUDITOR = ("--journal", "j", "--log", "l", "--key", "k")


def load(tmp_path: Path, more: str) -> Settings:
    return Settings.parse(BASE + more, tmp_path / "sekisho.toml")


def test_the_auditor_is_told_what_the_settings_say(tmp_path: Path) -> None:
    settings = load(tmp_path, """
        [outlets.ndjson]
        path = "out/sekisho.ndjson"
        kept = 3
        [outlets.syslog]
        host = "192.0.2.7"
        ca = "ca.pem"
        server_name = "log.example.jp"
        client_certificate = "us.pem"
        client_key = "us.key"
    """)  # fmt: skip
    options = _parser().parse_args([*AUDITOR, *_outlets(settings.outlets), "--state", str(tmp_path / "state")])
    assert (options.ndjson, options.ndjson_kept) == (tmp_path / "out" / "sekisho.ndjson", 3)
    assert (options.syslog_host, options.syslog_port, options.syslog_name) == ("192.0.2.7", 6514, "log.example.jp")
    assert (options.syslog_certificate, options.syslog_key) == (tmp_path / "us.pem", tmp_path / "us.key")
    file, syslog = (each._outlet for each in followings(options, dict, lambda: 0.0))
    assert isinstance(file, NdjsonFile)
    assert isinstance(syslog, SyslogTls)


def test_without_settings_there_is_no_outlet(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    options = _parser().parse_args([*AUDITOR, *_outlets(settings.outlets), "--state", str(tmp_path)])
    assert followings(options, dict, lambda: 0.0) == []


@pytest.mark.parametrize(
    "lines",
    [
        'host = "log.example.jp"',
        'host = "-x"\nca = "ca.pem"',
        'host = "log.example.jp"\nca = "ca.pem"\nclient_certificate = "us.pem"',
        'host = "log.example.jp"\nca = "ca.pem"\nport = 0',
    ],
    ids=["no authority", "a name like an option", "a certificate without its key", "no port"],
)
def test_what_cannot_be_used_is_a_fault(tmp_path: Path, lines: str) -> None:
    with pytest.raises(SettingsFaults):
        load(tmp_path, f"[outlets.syslog]\n{lines}\n")
