"""`demo.json`: what a script or a person needs to use the running city. It holds secrets: mode 0600."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cli.exit_codes import ExitCode
from cli.failure import Failure
from cli.language import t
from cli.private_file import write_private

FILE_NAME = "demo.json"


@dataclass(frozen=True, slots=True)
class Person:
    """One account."""

    login: str
    name: str
    department: str
    roles: tuple[str, ...]
    password: str = field(repr=False)
    totp_secret: str = field(repr=False)  # base32


@dataclass(frozen=True, slots=True)
class CityDevice:
    """One managed device with its certificate. `owner` is a login, "" = shared."""

    name: str
    owner: str
    os: str
    uuid: str
    certificate: str
    key: str
    bundle: str  # PKCS #12
    bundle_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CityApp:
    """One app. `port` is its own on loopback, where nobody but the gateway should go."""

    id: str
    title: str
    url: str
    sample: str  # a page worth opening
    sensitivity: str
    port: int


@dataclass(frozen=True, slots=True)
class Simulator:
    """The foreign MDM."""

    url: str
    access_file: str  # for `sekisho mdm-sim --tenant`


@dataclass(frozen=True, slots=True)
class FirstSetUp:
    """The account that `init` made, to be set up by hand: nobody knows its factors yet."""

    login: str
    url: str
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class City:
    """The whole document."""

    portal: str
    domain: str
    address: str  # IP:port to connect to; names need no resolver
    ca_file: str
    settings: str
    admin_socket: str
    users: tuple[Person, ...]
    devices: tuple[CityDevice, ...]
    apps: tuple[CityApp, ...]
    mdm_sim: Simulator
    set_up: FirstSetUp

    def person(self, login: str) -> Person:
        """The account with this login; raises Failure."""
        found = next((person for person in self.users if person.login == login), None)
        if found is None:
            known = ", ".join(person.login for person in self.users)
            raise Failure(
                ExitCode.NOT_FOUND, t(f"利用者 {login} はいません: {known}", f"no user {login}; there are {known}")
            )
        return found

    def device(self, name: str) -> CityDevice:
        """The device with this name; raises Failure."""
        found = next((device for device in self.devices if device.name.lower() == name.lower()), None)
        if found is None:
            known = ", ".join(device.name for device in self.devices)
            raise Failure(
                ExitCode.NOT_FOUND, t(f"端末 {name} はありません: {known}", f"no device {name}; there are {known}")
            )
        return found

    def app(self, app_id: str) -> CityApp:
        """The app with this id; raises Failure."""
        found = next((app for app in self.apps if app.id == app_id), None)
        if found is None:
            known = ", ".join(app.id for app in self.apps)
            raise Failure(
                ExitCode.NOT_FOUND, t(f"アプリ {app_id} はありません: {known}", f"no app {app_id}; there are {known}")
            )
        return found


def write(city: City, folder: Path) -> Path:
    """Write the document into `folder`; raises Failure where that is impossible."""
    path = folder / FILE_NAME
    write_private(path, json.dumps(asdict(city), ensure_ascii=False, indent=2) + "\n", replace=True)
    return path


def read(folder: Path) -> City:
    """Read the document of a city; raises Failure where there is none."""
    path = folder / FILE_NAME
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        message = t(f"{path} がありません。先に sekisho demo を。", f"no {path}: start sekisho demo first.")
        raise Failure(ExitCode.NOT_FOUND, message) from None
    except (OSError, ValueError) as error:
        raise Failure(ExitCode.FAILED, f"{path}: {error}") from error
    return City(
        **{
            **data,
            "users": tuple(Person(**{**row, "roles": tuple(row["roles"])}) for row in data["users"]),
            "devices": tuple(CityDevice(**row) for row in data["devices"]),
            "apps": tuple(CityApp(**row) for row in data["apps"]),
            "mdm_sim": Simulator(**data["mdm_sim"]),
            "set_up": FirstSetUp(**data["set_up"]),
        }
    )
