"""New certificates without a restart: look at the files, and put what is whole and right in place of what was served.

Two looks have to find the same files before they count, so that a pair that is being replaced file by file is not taken
for a broken one. What is broken leaves the former in place and is told once for each state of the files.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.edge.server_certificates import CertificateFaults, CredentialFiles, ServerCertificate
from gateway.edge.tls import HostContexts

Seen = tuple[tuple[int, ...], ...]
_ANOTHER: Final = "another authority of devices, expected the former one: it changes by `sekisho reload`"


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a look came to: certificates now served, or `faults` for which the former ones still are."""

    certificates: tuple[ServerCertificate, ...]
    faults: tuple[str, ...]


class Renewal:
    """Keeps one listener's TLS as its files say. `look` blocks and belongs into a thread; one at a time."""

    def __init__(self, files: CredentialFiles, now: float) -> None:
        """Read the files for the first time; raises CertificateFaults, ssl.SSLError."""
        self._files = files
        self._settled = self._last = _seen(files.paths())  # before they are read: a later change is seen
        credentials = files.read(now)
        self._authorities = credentials.client_ca, credentials.authorities
        self.served = credentials.certificates
        self.contexts = HostContexts(credentials)

    def look(self, now: float) -> Renewed | None:
        """Return what changed, None where nothing did or the files are not at rest yet."""
        seen = _seen(self._files.paths())
        at_rest, self._last = seen == self._last, seen
        if seen == self._settled or not at_rest:
            return None
        self._settled = seen
        try:
            credentials = self._files.read(now)
            if (credentials.client_ca, credentials.authorities) != self._authorities:
                # Sessions that were begun under the former one could be resumed, connections would go on.
                return Renewed(self.served, (f"{self._files.client_ca}: {_ANOTHER}",))
            self.contexts.use(credentials)
        except CertificateFaults as error:
            return Renewed(self.served, error.faults)
        except ssl.SSLError as error:
            return Renewed(self.served, (f"the TLS library refuses the pair ({error.reason})",))
        self.served = credentials.certificates
        return Renewed(self.served, ())


def _seen(paths: Iterable[Path]) -> Seen:
    """Return what tells one state of the files from another; a file that is not there is a state too."""
    seen: list[tuple[int, ...]] = []
    for path in paths:
        try:
            state = path.stat()
        except OSError as error:
            seen.append((error.errno or 0,))
        else:
            seen.append((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return tuple(seen)
