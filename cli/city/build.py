"""Make the sample city's folder: an installation, furnished, with device certificates and `demo.json`.

`demo.json` is written last: a folder with it is whole. A second run finds it and changes nothing.
"""

from __future__ import annotations

import json
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.city import applications, document, people, statistics
from cli.city.document import City, CityApp, CityDevice, FirstSetUp, Person, Simulator
from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.private_file import write_private

if TYPE_CHECKING:
    from gateway.furnishing import Newcomer
    from gateway.installation import Installed

ORGANISATION = "見本市"
HELP_CONTACT = "情報政策課 ヘルプデスク(内線 1234)"
TENANT, CLIENT_ID = "mihon-city", "sekisho"
DEVICE_DAYS = 365
ACCESS = Path("mdm", "access.json")  # what the simulator and the gateway both know; the secret alone lies beside it
_PORTS_TRIED = 200


@dataclass(frozen=True, slots=True)
class Site:
    """Where the city is to stand. `mdm_interval` is in seconds; `elasticsearch` is a cluster's URL, "" = none."""

    folder: Path
    host: str  # IP of the public listener
    port: int
    domain: str
    mdm_interval: int = 5
    elasticsearch: str = ""


def is_built(folder: Path) -> bool:
    """Whether a whole city stands in `folder`."""
    return (folder / document.FILE_NAME).is_file()


def build(site: Site, now: float) -> City:
    """Create everything; `now` is in seconds since the epoch. Raises Failure, also for a folder left half-made."""
    from gateway.furnishing import Registrations, assertion_key_set, furnish
    from gateway.settings import Settings

    if not applications.EXAMPLES.is_dir():
        message = t(
            "見本市のアプリ (examples/) はソースにだけ入っています。", "the sample apps come with the source only."
        )
        raise Failure(ExitCode.NOT_FOUND, message)
    names = [app.id for app in applications.APPLICATIONS]
    ports = dict(zip(["mdm", *names], _free_ports(site.port + 1, len(names) + 1), strict=True))
    installed = _install(site, ports["mdm"], now)
    settings = Settings.load(installed.settings_file)
    residents = people.newcomers(now)
    text = applications.registrations(site.domain, site.port, ports)
    furnish(settings, residents, Registrations(text, people.PROPOSER, people.APPROVER), now)
    _mdm_access(installed.root / ACCESS)
    (installed.root / "apps").mkdir(mode=0o700)
    (installed.root / "apps" / "jwks.json").write_bytes(assertion_key_set(settings))
    statistics.write(installed.root / "apps" / "toukei.db")
    city = _describe(site, installed, residents, _devices(installed.root, now), ports)
    document.write(city, installed.root)
    return city


def _install(site: Site, mdm_port: int, now: float) -> Installed:
    from gateway.first_state import FirstAccount
    from gateway.installation import InstallationRefused, Options, create, plan

    options = Options(
        directory=site.folder,
        portal_host=f"portal.{site.domain}",
        rp_id=f"portal.{site.domain}",
        organisation=ORGANISATION,
        help_contact=HELP_CONTACT,
        account=FirstAccount(login="ciso", name="予備のCISOアカウント", department="情報政策課"),
        domain=site.domain,
        port=site.port,
        listen=f"{site.host}:{site.port}",
        settings={
            "mdm.base_url": f"http://127.0.0.1:{mdm_port}",
            "mdm.token_url": f"http://127.0.0.1:{mdm_port}/{TENANT}/oauth2/v2.0/token",
            "mdm.client_id": CLIENT_ID,
            "mdm.client_secret_file": str(ACCESS.with_suffix(".secret")),
            "mdm.interval": site.mdm_interval,
            **_elasticsearch(site.elasticsearch),
        },
    )
    try:
        return create(plan(options), now)
    except InstallationRefused as error:
        hint = t("途中で止まった demo なら、そのフォルダーを消してください。", "if a demo stopped half-way, delete it.")
        raise Failure(ExitCode.CONFLICT, str(error), [hint]) from error


def _elasticsearch(url: str) -> dict[str, str]:
    """Settings of the searchable copy; `sekisho es bootstrap` makes the two keys."""
    if not url:
        return {}
    keys = {f"elasticsearch.{kind}_key_file": f"keys/es-{kind}" for kind in ("write", "read")}
    return {"elasticsearch.url": url, **keys}


def _devices(root: Path, now: float) -> tuple[CityDevice, ...]:
    """Issue a certificate to every device of the simulator's world."""
    from gateway.certificates import issue_device_certificate
    from mdm_sim.scenarios import city as world

    made = []
    for device in world(now).devices():
        password = secrets.token_hex(6)
        issued = issue_device_certificate(root / "device-ca", device.directory_id, DEVICE_DAYS, now, password)
        base = root / "devices" / device.name
        write_private(base.with_suffix(".pem"), issued.certificate.decode(), replace=False)
        write_private(base.with_suffix(".key"), issued.key.decode(), replace=False)
        write_private(base.with_suffix(".p12"), "", replace=False)
        base.with_suffix(".p12").write_bytes(issued.bundle)
        made.append(
            CityDevice(
                name=device.name,
                owner=device.user.partition("@")[0],
                os=device.os,
                uuid=device.directory_id,
                certificate=str(base.with_suffix(".pem")),
                key=str(base.with_suffix(".key")),
                bundle=str(base.with_suffix(".p12")),
                bundle_password=password,
            )
        )
    return tuple(made)


def _mdm_access(path: Path) -> None:
    known = {"tenant_id": TENANT, "client_id": CLIENT_ID, "client_secret": secrets.token_urlsafe(32)}
    write_private(path, json.dumps(known) + "\n", replace=False)
    write_private(path.with_suffix(".secret"), known["client_secret"] + "\n", replace=False)


def _describe(
    site: Site, installed: Installed, residents: tuple[Newcomer, ...], devices: tuple[CityDevice, ...],
    ports: dict[str, int],
) -> City:  # fmt: skip
    apps = []
    for app in applications.APPLICATIONS:
        url = applications.origin(app.id, site.domain, site.port)
        level = app.registration.partition("sensitivity: ")[2].split("\n")[0].strip("'")
        apps.append(CityApp(app.id, app.title, f"{url}/", url + app.sample, level, ports[app.id]))
    root = installed.root
    return City(
        portal=installed.portal_url,
        domain=site.domain,
        address=f"{site.host}:{site.port}",
        ca_file=str(installed.tls_authority),
        settings=str(installed.settings_file),
        admin_socket=str(root / "run" / "admin.sock"),
        users=tuple(Person(p.login, p.name, p.department, p.roles, p.password, p.totp_secret) for p in residents),
        devices=devices,
        apps=tuple(apps),
        mdm_sim=Simulator(f"http://127.0.0.1:{ports['mdm']}", str(root / ACCESS)),
        set_up=FirstSetUp(installed.login, installed.setup_url, installed.setup_code),
    )


def _free_ports(first: int, count: int) -> list[int]:
    """The next `count` ports on loopback from `first` that nobody listens on; raises Failure."""
    found = []
    for port in range(first, min(first + _PORTS_TRIED, 65_536)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Failure(ExitCode.FAILED, t(f"{first} から先に空きポートがありません。", f"no free ports from {first} on."))
