"""A worker's listeners from the settings: further pairs, what is told of changed and ending certificates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.event import Action
from gateway.edge.server_certificates import CertificateFaults, Pair
from gateway.entrances import Entrances, credential_files
from gateway.reloading.files import file_faults
from gateway.settings import Settings
from gateway.settings_parts.faults import key_lines
from gateway.signals.alert import AlertKind, alert_of
from tests.support.server_pairs import ServerAuthority, key_pem
from tests.support.steward_process import install

DAY = 86_400.0
PAIRS = 'certificates = [{ certificate = "tls/docs.pem", key = "tls/docs.key" }]'
Told = list[tuple[Action, Mapping[str, Any]]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An installation whose public listener has one further pair."""
    config = install(tmp_path)
    text = config.read_text(encoding="utf-8")
    assert "# certificates = []" in text
    config.write_text(text.replace("# certificates = []", PAIRS, 1), encoding="utf-8")
    ServerAuthority(config.parent / "tls").issue("docs", "docs.apps.test", life=timedelta(days=25))
    return config


def faults_of(config: Path) -> list[tuple[str, str]]:
    """What a reload says of the files, as key and what was found."""
    settings = Settings.load(config)
    found = file_faults(settings, key_lines(config.read_text(encoding="utf-8")), config, time.time())
    return [(each.key, each.got) for each in found]


def test_further_pairs_are_read_from_the_installations_folder(config: Path) -> None:
    """Their paths count from the folder of sekisho.toml, as every path does; the first pair stays the default."""
    tls = config.parent / "tls"
    files = credential_files(Settings.load(config))
    assert files["public"].pairs == (
        Pair(tls / "server.pem", tls / "server.key"), Pair(tls / "docs.pem", tls / "docs.key"),
    )  # fmt: skip
    assert files["public"].hosts == ("portal.sekisho.localhost",)
    assert faults_of(config) == []


def test_a_broken_further_pair_stops_start_and_reload(config: Path) -> None:
    """With the name of the file and the key of the setting, and without a word of what the key file holds."""
    tls = config.parent / "tls"
    (tls / "docs.key").write_bytes((tls / "server.key").read_bytes())
    with pytest.raises(CertificateFaults, match=r"listeners\.public: .*docs\.key: got another certificate's key"):
        Entrances(Settings.load(config), {}, time.time(), lambda action, fields: None)
    ((key, got),) = faults_of(config)
    assert key == "listeners.public.certificates[0].key"
    assert got.endswith("docs.key: got another certificate's key")


def test_a_listener_that_does_not_cover_the_portal_stops_the_reload(config: Path) -> None:
    """Nobody could sign in."""
    text = config.read_text(encoding="utf-8")
    text = text.replace('# certificate = "tls/server.pem"', 'certificate = "tls/docs.pem"', 1)
    config.write_text(text.replace('# key = "tls/server.key"', 'key = "tls/docs.key"', 1), encoding="utf-8")
    ((key, got),) = faults_of(config)
    assert (key, got) == ("listeners.public", "portal.sekisho.localhost: covered by no certificate")


async def look(entrances: Entrances, now: float) -> None:
    """One look, to its end."""
    loop = asyncio.get_running_loop()
    entrances.look(loop, now)
    while entrances._looking is not None:  # noqa: ASYNC110  # nobody but tests waits for it
        await asyncio.sleep(0.001)


def test_what_changes_is_told_and_alerts(config: Path) -> None:
    """A broken pair, a right one, one that ends soon: each told once, the bad news as alerts."""
    told: Told = []
    tls = config.parent / "tls"
    entrances = Entrances(Settings.load(config), {}, time.time(), lambda action, fields: told.append((action, fields)))
    right = (tls / "docs.key").read_bytes()

    async def main() -> None:
        now = time.time()
        for key in (key_pem(ServerAuthority(tls).issue("other", "x.test").key), right):
            (tls / "docs.key").write_bytes(key)
            for _ in range(3):
                await look(entrances, now)
        for later in (0, 1, DAY / 2, DAY + 2):
            await look(entrances, now + 12 * DAY + later)

    asyncio.run(main())
    acts = [(action.value, fields["sekisho.listener"]) for action, fields in told]
    assert acts == [
        ("certificate.refused", "public"), ("certificate.served", "public"),
        ("certificate.expiring", "public"), ("certificate.expiring", "public"),
    ]  # fmt: skip
    assert "docs.key: got another certificate's key" in told[0][1]["error.message"]
    assert "docs.apps.test" in told[2][1]["message"]
    alerts = [alert_of({"event.action": action.value, **fields}) for action, fields in told]
    assert [alert and alert.kind for alert in alerts] == [
        AlertKind.CERTIFICATE_REFUSED, None, AlertKind.CERTIFICATE_EXPIRING, AlertKind.CERTIFICATE_EXPIRING,
    ]  # fmt: skip
