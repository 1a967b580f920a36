"""How one setting is declared: meaning, unit, default and reason stand together in the code that defines it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_HTTP_URL = re.compile(r"https?://(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[^\s?#@]*)?")
_CREDENTIAL = "credential:"
_CREDENTIAL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
_LOOPBACK_NAMES = ("localhost", "[::1]")

Bound = float | int | str


class Section(BaseModel):
    """One table of `sekisho.toml`: frozen, and a key it does not know is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def setting(default: object, meaning: str, reason: str, *, unit: str = "", **bounds: Bound) -> Any:
    """Declare a setting that has a default; `bounds` are pydantic's constraints (`ge`, `le`, `pattern`)."""
    extra = {"unit": unit, "reason": reason}
    return Field(default, description=meaning, json_schema_extra=cast("Any", extra), **cast("Any", bounds))


def required(meaning: str, reason: str, *, unit: str = "", **bounds: Bound) -> Any:
    """Declare a setting that every installation has to state."""
    extra = {"unit": unit, "reason": reason}
    return Field(description=meaning, json_schema_extra=cast("Any", extra), **cast("Any", bounds))


def _host_name(value: str) -> str:
    if not _HOST.fullmatch(value) or len(value) > 253:
        raise ValueError("a lower-case host name with at least two labels, such as portal.example.jp")
    return value


def is_loopback(host: str) -> bool:
    """Tell whether `host` (as written in an address or URL) can only mean this machine."""
    return host in _LOOPBACK_NAMES or re.fullmatch(r"127(?:\.[0-9]{1,3}){3}", host) is not None


def checked_url(value: str) -> str:
    """Return a service's URL without a final slash; raises ValueError saying what is expected."""
    match = _HTTP_URL.fullmatch(value)
    if match is None:
        raise ValueError("a URL such as https://graph.example/v1.0, without user, query or fragment")
    if value.startswith("http://") and not is_loopback(match[1]):
        raise ValueError("https:// (plain http:// is accepted for loopback addresses only)")
    return value.rstrip("/")


def split_address(value: str) -> tuple[str, int] | Path:
    """Split `host:port`, `[v6]:port` or `unix:/path`; raises ValueError saying what is expected."""
    if value.startswith("unix:"):
        path = Path(value.removeprefix("unix:"))
        if not path.is_absolute():
            raise ValueError("unix: followed by an absolute path, such as unix:/run/sekisho/behind.sock")
        return path
    match = re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[0-9.]+):([0-9]{1,5})", value)
    if match is None or int(match[2]) > 65535:
        raise ValueError("an IP address and port such as 127.0.0.1:8443 or [::1]:8443, or unix:/path")
    return match[1].strip("[]"), int(match[2])


def _address(value: str) -> str:
    split_address(value)
    return value


def _local_address(value: str) -> str:
    place = split_address(value)
    if isinstance(place, tuple) and not is_loopback("[::1]" if place[0] == "::1" else place[0]):
        raise ValueError("a loopback address such as 127.0.0.1:8080, or unix:/path")
    return value


def _secret_path(value: Path) -> Path:
    """Take `credential:NAME` as what systemd loaded under that name (systemd.exec(5), "Credentials")."""
    text = str(value)
    if not text.startswith(_CREDENTIAL):
        return value
    folder, name = os.environ.get("CREDENTIALS_DIRECTORY", ""), text.removeprefix(_CREDENTIAL)
    if not folder:
        raise ValueError("credential: only under systemd with LoadCredential= ($CREDENTIALS_DIRECTORY is not set)")
    if name and not _CREDENTIAL_NAME.fullmatch(name):
        raise ValueError("credential: followed by a name of letters, digits, `.`, `_` and `-`")
    return Path(folder) / name


HostName = Annotated[str, AfterValidator(_host_name)]
ServiceUrl = Annotated[str, AfterValidator(checked_url)]
Address = Annotated[str, AfterValidator(_address)]
SecretPath = Annotated[Path, AfterValidator(_secret_path)]
LocalAddress = Annotated[str, AfterValidator(_local_address)]
