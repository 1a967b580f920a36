"""The files that settings name: certificates that serve, keys that belong to them, secrets that can be read.

A process that found one of them broken only when it starts would be down; here the old one still runs.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from gateway.edge.server_certificates import CertificateFaults, CredentialFiles
from gateway.edge.tls import HostContexts
from gateway.entrances import credential_files
from gateway.settings import Fault, Settings
from gateway.settings_parts.listeners import TlsListener

_READ: Final = frozenset({
    "ca", "client_ca", "certificate", "key", "client_certificate", "client_key", "client_secret_file",
    "write_key_file", "read_key_file", "password_file", "secret_file",
})  # fmt: skip


def file_faults(settings: Settings, lines: Mapping[tuple[str, ...], int], config: Path, now: float) -> list[Fault]:
    """Return what is wrong with the files that `settings` name; `lines` maps keys to lines of `config`.

    `now` in seconds since the epoch. The contents of a file never stand in a fault.
    """

    def fault(key: str, got: str, expected: str) -> Fault:
        names = tuple(key.split("."))
        line = next((lines[names[:size]] for size in range(len(names), 0, -1) if names[:size] in lines), 1)
        return Fault(str(config), line, key, got, expected)

    unread = {key: (path, error) for key, path in named(settings, "") if (error := _unreadable(path))}
    found = [fault(key, f"{path}: {error}", "a file that can be read") for key, (path, error) in unread.items()]
    for name, files in credential_files(settings).items():
        if not any(key.startswith(f"listeners.{name}.") for key in unread):
            found += [fault(_named_by(settings, name, text), *_parted(text)) for text in _wrong(files, now)]
    return found


def _wrong(files: CredentialFiles, now: float) -> Sequence[str]:
    """Return what is wrong with a listener's certificates, each told as the workers would tell it when they start."""
    try:
        HostContexts(files.read(now))
    except CertificateFaults as error:
        return error.faults
    except ssl.SSLError as error:
        return (f"{files.pairs[0].certificate}: {error.reason}, expected what the TLS library can serve",)
    return ()


def _named_by(settings: Settings, listener: str, text: str) -> str:
    """Return the setting that names the file which a fault is about; the certificate's where it is about several."""
    section: TlsListener = getattr(settings.listeners, listener)
    for key in ("key", "client_ca"):
        if text.startswith(f"{getattr(section, key, None)}: "):
            return f"listeners.{listener}.{key}"
    return f"listeners.{listener}.certificate"


def _parted(text: str) -> tuple[str, str]:
    got, _, expected = text.partition(", expected ")
    return got, expected or "a certificate that can be served"


def named(model: BaseModel, prefix: str) -> Iterator[tuple[str, Path]]:
    """Yield every file that is read because a setting names it, with that setting's key."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from named(value, f"{prefix}{name}.")
        elif isinstance(value, Path) and name in _READ:
            yield prefix + name, value


def _unreadable(path: Path) -> str:
    try:
        path.read_bytes()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""
