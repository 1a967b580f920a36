"""The files that settings name: secrets that can be read, certificates that the workers would serve.

A process that found one of them broken only when it starts would be down; here the old one still runs.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from gateway.edge.server_certificates import CertificateFaults
from gateway.edge.tls import HostContexts
from gateway.entrances import credential_files
from gateway.settings import Fault, Settings

_READ: Final = frozenset({
    "ca", "client_ca", "certificate", "key", "client_certificate", "client_key", "client_secret_file",
    "write_key_file", "read_key_file", "password_file", "secret_file",
})  # fmt: skip
_SERVED: Final = "a certificate that can be served"


def file_faults(settings: Settings, lines: Mapping[tuple[str, ...], int], config: Path, now: float) -> list[Fault]:
    """Return what is wrong with the files that `settings` name; `lines` maps keys to lines of `config`.

    `now` in seconds since the epoch. The contents of a file never stand in a fault.
    """

    def fault(key: str, got: str, expected: str) -> Fault:
        names = tuple(part.partition("[")[0] for part in key.split("."))
        line = next((lines[names[:size]] for size in range(len(names), 0, -1) if names[:size] in lines), 1)
        return Fault(str(config), line, key, got, expected)

    files = dict(named(settings, ""))
    unread = {key: error for key, path in files.items() if (error := _unreadable(path))}
    found = [fault(key, f"{files[key]}: {error}", "a file that can be read") for key, error in unread.items()]
    for name, credentials in credential_files(settings).items():
        prefix = f"listeners.{name}"
        if any(key.startswith(f"{prefix}.") for key in unread):
            continue
        try:
            HostContexts(credentials.read(now))
        except CertificateFaults as error:
            for each in error.faults:
                got, _, expected = each.partition(", expected ")
                told = (key for key, path in files.items() if key.startswith(prefix) and got.startswith(f"{path}: "))
                found.append(fault(next(told, prefix), got, expected or _SERVED))
        except (ssl.SSLError, ValueError) as error:
            found.append(fault(prefix, str(getattr(error, "reason", "") or type(error).__name__), _SERVED))
    return found


def named(model: BaseModel, prefix: str) -> Iterator[tuple[str, Path]]:
    """Yield every file that is read because a setting names it, with that setting's key (`certificates[1].key`)."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from named(value, f"{prefix}{name}.")
        elif isinstance(value, tuple):
            for number, each in enumerate(value):
                if isinstance(each, BaseModel):
                    yield from named(each, f"{prefix}{name}[{number}].")
        elif isinstance(value, Path) and name in _READ:
            yield prefix + name, value


def _unreadable(path: Path) -> str:
    try:
        path.read_bytes()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""
