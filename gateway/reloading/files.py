"""The files that settings name: certificates that serve, keys that belong to them, secrets that can be read.

A process that found one of them broken only when it starts would be down; here the old one still runs.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from pydantic import BaseModel

from gateway.edge.tls import server_context
from gateway.settings import Fault, Settings
from gateway.settings_parts.listeners import PublicListener, TlsListener

_READ: Final = frozenset({
    "ca", "client_ca", "certificate", "key", "client_certificate", "client_key", "client_secret_file",
    "write_key_file", "read_key_file", "password_file", "secret_file",
})  # fmt: skip
_TLS: Final = ("public", "help")


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
    for name in _TLS:
        listener: TlsListener | None = getattr(settings.listeners, name)
        prefix = f"listeners.{name}"
        if listener is not None and not any(key.startswith(f"{prefix}.") for key in unread):
            wrong = list(_served(listener, now)) or list(_refused(listener))
            found += [fault(f"{prefix}.{key}", got, expected) for key, got, expected in wrong]
    return found


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


def _served(listener: TlsListener, now: float) -> Iterator[tuple[str, str, str]]:
    """Yield (key, got, expected) for whatever makes a listener's certificate a wrong one."""
    try:
        chain = x509.load_pem_x509_certificates(listener.certificate.read_bytes())
    except (OSError, ValueError):
        yield "certificate", f"{listener.certificate}: no certificate", "PEM, the server's own certificate first"
        return
    try:
        key = load_pem_private_key(listener.key.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        yield "key", f"{listener.key}: no private key", "PEM without a pass phrase"
        return
    leaf, moment = chain[0], datetime.fromtimestamp(now, UTC)
    plain = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*plain) != key.public_key().public_bytes(*plain):
        yield "key", f"{listener.key}: the key of another certificate", f"the key of {listener.certificate}"
    for each in chain:
        if each.not_valid_after_utc <= moment:
            yield "certificate", f"expired {each.not_valid_after_utc:%Y-%m-%d %H:%M} UTC", "one that is valid now"
        if each.not_valid_before_utc > moment:
            yield "certificate", f"valid from {each.not_valid_before_utc:%Y-%m-%d %H:%M} UTC", "one that is valid now"
    authority = listener.client_ca if isinstance(listener, PublicListener) else None
    if authority is not None:
        try:
            x509.load_pem_x509_certificates(authority.read_bytes())
        except (OSError, ValueError):
            yield "client_ca", f"{authority}: no certificate", "PEM of the authority of device certificates"


def _refused(listener: TlsListener) -> Iterator[tuple[str, str, str]]:
    """Yield what the TLS library has against files that look right: a weak key, a signature it does not take."""
    authority = listener.client_ca if isinstance(listener, PublicListener) else None
    try:
        server_context(listener.certificate, listener.key, authority)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else type(error).__name__
        yield "certificate", f"{listener.certificate}: {reason}", "what the TLS library can serve"
