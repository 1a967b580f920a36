"""A worker's listeners: the sockets that the supervisor passed on, how each is read, and the certificates it shows.

The files of certificates are read before anything is served; later changes are looked at in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from audit.event import Action
from gateway.edge.listener import Listening, inherited
from gateway.edge.renewal import Renewal, Renewed
from gateway.edge.server_certificates import (
    CertificateFaults,
    CredentialFiles,
    ListedAuthority,
    Pair,
    ServerCertificate,
)

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.settings_parts.listeners import TlsListener

LOOK_EACH: Final = 2.0  # seconds between two looks at the files: a change counts after 2 to 4
WARN_BEFORE: Final = 14 * 86400.0  # seconds before its end from which on a certificate is told of
_WARN_EACH: Final = 86400.0
_log = logging.getLogger("sekisho.worker")

Tell = Callable[[Action, Mapping[str, Any]], None]


def credential_files(settings: Settings) -> dict[str, CredentialFiles]:
    """Return where the credentials of each TLS listener lie."""
    listeners = settings.listeners
    found: dict[str, CredentialFiles] = {}
    if listeners.public is not None:
        public = listeners.public
        listed = tuple(ListedAuthority(each.authority, each.when_stale == "refuse") for each in public.client_crls)
        found["public"] = CredentialFiles(_pairs(public), public.client_ca, (settings.portal.host,), listed)
    if listeners.help is not None:
        found["help"] = CredentialFiles(_pairs(listeners.help), None, (settings.portal.host,))
    return found


def _pairs(listener: TlsListener) -> tuple[Pair, ...]:
    first = Pair(listener.certificate, listener.key)
    return (first, *(Pair(each.certificate, each.key) for each in listener.certificates))


class Entrances:
    """The listeners of one worker."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], now: float, tell: Tell) -> None:
        """Read every certificate; raises CertificateFaults with all faults of all listeners.

        `tell` records an act with its fields.
        """
        self._tell = tell
        self._sockets = inherited(environ)
        self._behind = settings.listeners.behind
        self._renewals = _renewals(credential_files(settings), now)
        self._warned = dict.fromkeys(self._renewals, 0.0)
        self._looking: asyncio.Future[Any] | None = None

    def listening(self) -> list[Listening]:
        """Return each socket with how it is to be read."""
        found: list[Listening] = []
        for name, sock in self._sockets.items():
            if (renewal := self._renewals.get(name)) is not None:
                found.append(Listening(name, sock, renewal.contexts.base, "https"))
            elif name == "behind" and self._behind is not None:
                found.append(Listening(name, sock, scheme=self._behind.scheme))
            else:
                found.append(Listening(name, sock))
        return found

    def look(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        """Begin a look at the files of every listener; what it comes to is told. One at a time."""
        if self._looking is not None or not self._renewals:
            return
        self._looking = loop.run_in_executor(None, self._seen, now)
        self._looking.add_done_callback(lambda looked: self._looked(looked, now))

    def _seen(self, now: float) -> list[tuple[str, Renewed]]:
        looked = [(name, renewal.look(now)) for name, renewal in self._renewals.items()]
        return [(name, renewed) for name, renewed in looked if renewed is not None]

    def _looked(self, looked: asyncio.Future[list[tuple[str, Renewed]]], now: float) -> None:
        self._looking = None
        if looked.cancelled():
            return
        if (error := looked.exception()) is not None:
            _log.error("the certificates could not be looked at; the former ones are served", exc_info=error)
            return
        for name, renewed in looked.result():
            self._renewed(name, renewed)
        for name, renewal in self._renewals.items():
            first = min(renewal.served, key=lambda each: each.not_after)
            if first.not_after - now < WARN_BEFORE and now - self._warned[name] >= _WARN_EACH:
                self._warned[name] = now
                self._tell(Action.CERTIFICATE_EXPIRING, {"sekisho.listener": name, "message": _told([first])})

    def _renewed(self, name: str, renewed: Renewed) -> None:
        if renewed.faults:
            for fault in renewed.faults:
                _log.error("listener %s: the former certificates are served on: %s", name, fault)
            faults = {"error.message": "; ".join(renewed.faults), "event.outcome": "failure"}
            self._tell(Action.CERTIFICATE_REFUSED, {"sekisho.listener": name, **faults})
            return
        self._warned[name] = 0.0
        told = _told(renewed.certificates)
        _log.info("listener %s: new certificates are served: %s", name, told)
        self._tell(Action.CERTIFICATE_SERVED, {"sekisho.listener": name, "message": told, "event.outcome": "success"})


def _renewals(files: Mapping[str, CredentialFiles], now: float) -> dict[str, Renewal]:
    found: dict[str, Renewal] = {}
    faults: list[str] = []
    for name, each in files.items():
        try:
            found[name] = Renewal(each, now)
        except CertificateFaults as error:
            faults += [f"listeners.{name}: {fault}" for fault in error.faults]
        except ssl.SSLError as error:
            faults.append(f"listeners.{name}: the TLS library refuses the pair ({error.reason})")
    if faults:
        raise CertificateFaults(faults)
    return found


def _told(certificates: Iterable[ServerCertificate]) -> str:
    """Return names, serial numbers and ends for people."""
    return "; ".join(
        f"{', '.join(each.names)} (serial {each.serial}, until {datetime.fromtimestamp(each.not_after, UTC):%F %T}Z)"
        for each in certificates
    )
