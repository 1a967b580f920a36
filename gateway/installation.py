"""A new installation: what `sekisho init` plans, shows and creates.

Everything is built in a folder beside the final one, made durable, and then given its name by one rename:
a folder with the final name is complete or absent. An existing installation is never touched.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audit.durable import sync_directory
from gateway import certificates, keyfiles
from gateway.first_state import FirstAccount, fill
from gateway.new_files import PRIVATE_FOLDER, PUBLIC_FILE, sync_tree, write_new
from gateway.settings import Settings
from gateway.settings_reference import Value, commented_toml

SETTINGS_FILE = "sekisho.toml"
FOLDERS = ("keys", "tls", "device-ca", "state", "journal", "log", "run")


class InstallationRefused(Exception):
    """The installation cannot be created; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chooses at `init`. The portal's name and the RP ID are permanent."""

    directory: Path
    portal_host: str  # such as portal.example.jp
    rp_id: str  # the portal's name or a parent domain of it
    organisation: str
    help_contact: str
    account: FirstAccount
    domain: str = ""  # domain of the app hosts; "" = the portal's parent domain
    port: int = 443  # the port that browsers see
    listen: str = "127.0.0.1:8443"  # address of the `public` listener
    settings: Mapping[str, Value] = field(default_factory=dict)  # further settings by dotted key, such as mdm.base_url


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be created: nothing is written yet."""

    options: Options
    directory: Path  # absolute
    domain: str
    settings_text: str
    settings: Settings

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """The names of the server certificate."""
        host = self.options.portal_host
        covered = host == self.domain or host.partition(".")[2] == self.domain
        return (f"*.{self.domain}", self.domain) + (() if covered else (host,))


@dataclass(frozen=True, slots=True)
class Installed:
    """What was created, and the one secret that has to reach the first account's owner."""

    root: Path
    settings_file: Path
    tls_authority: Path  # the certificate that browsers have to trust
    portal_url: str
    setup_url: str
    login: str
    setup_code: str = field(repr=False)
    policy_hash: str


def plan(options: Options) -> Plan:
    """Check the options against each other and the disk; raises InstallationRefused or SettingsFaults."""
    directory = options.directory.absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InstallationRefused(f"{directory}: something is there already; choose a folder that is new or empty")
    values: dict[str, Value] = {
        "portal.host": options.portal_host,
        "portal.port": options.port,
        "portal.rp_id": options.rp_id,
        "portal.organisation": options.organisation,
        "portal.help_contact": options.help_contact,
        "listeners.public.address": options.listen,
        **options.settings,
    }
    text = commented_toml(values)
    settings = Settings.parse(text, directory / SETTINGS_FILE)
    domain = options.domain or options.portal_host.partition(".")[2]
    if options.portal_host != domain and not options.portal_host.endswith(f".{domain}"):
        raise InstallationRefused(f"portal: got {options.portal_host}, expected a name in the domain {domain}")
    return Plan(options, directory, domain, text, settings)


def create(plan: Plan, now: float) -> Installed:
    """Create what `plan` says; raises InstallationRefused, or OSError after removing what was begun."""
    final = plan.directory
    final.parent.mkdir(parents=True, exist_ok=True)
    begun = final.parent / f".{final.name}.{secrets.token_hex(8)}"
    begun.mkdir(PRIVATE_FOLDER)
    try:
        for name in FOLDERS:
            (begun / name).mkdir(PRIVATE_FOLDER)
        write_new(begun / SETTINGS_FILE, plan.settings_text.encode())
        keyfiles.create_keys(begun / "keys", plan.settings.log_origin)
        _create_authorities(begun, plan, now)
        first = fill(begun, plan.options.account, now)
        sync_tree(begun)
        _give_name(begun, final)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise
    origin = plan.settings.portal.origin
    return Installed(
        root=final,
        settings_file=final / SETTINGS_FILE,
        tls_authority=final / "tls" / "demo-ca.pem",
        portal_url=f"{origin}/",
        setup_url=f"{origin}/setup",
        login=plan.options.account.login,
        setup_code=first.setup_code,
        policy_hash=first.policy_hash,
    )


def _give_name(begun: Path, final: Path) -> None:
    try:
        os.rename(begun, final)
    except OSError as error:
        raise InstallationRefused(f"{final}: cannot be created ({error.strerror}); nothing was changed") from error
    sync_directory(final.parent)


def _create_authorities(root: Path, plan: Plan, now: float) -> None:
    tls = certificates.create_tls_authority(plan.domain, now)
    server = certificates.issue_server_certificate(tls, plan.certificate_names, now, certificates.DEMO_CA_DAYS)
    write_new(root / "tls" / "demo-ca.pem", tls.pem, PUBLIC_FILE)
    write_new(root / "tls" / "demo-ca.key", keyfiles.private_pem(tls.key))
    write_new(root / "tls" / "server.pem", server.certificate, PUBLIC_FILE)
    write_new(root / "tls" / "server.key", server.key)
    devices = certificates.create_device_authority(plan.options.organisation, now)
    write_new(root / "device-ca" / "ca.pem", devices.pem, PUBLIC_FILE)
    write_new(root / "device-ca" / "ca.key", keyfiles.private_pem(devices.key))
