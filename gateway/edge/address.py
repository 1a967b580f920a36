"""Where an app lives, read from its registration."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where an app lives."""

    scheme: str  # http | https | unix
    host: str  # "" for unix
    port: int
    path: str  # of the unix socket
    ca: str  # CA bundle for https, "" = the system's

    @classmethod
    def parse(cls, text: str, ca: str = "") -> Upstream:
        """Read `http://host:port`, `https://host:port` or `unix:/path`; raises ValueError."""
        if text.startswith("unix:/"):
            return cls("unix", "", 0, text.removeprefix("unix:"), "")
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"upstream: got {text!r}, expected http://host:port, https://host:port or unix:/path")
        return cls(parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), "", ca)

    @property
    def address(self) -> str:
        """The same as text, for records and for people."""
        return f"unix:{self.path}" if self.scheme == "unix" else f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """The Host header's value for an app that wants its own name."""
        standard = 443 if self.scheme == "https" else 80
        host = f"[{self.host}]" if ":" in self.host else self.host or "localhost"
        return host if self.port in (0, standard) else f"{host}:{self.port}"

    @property
    def origin(self) -> bytes:
        """Scheme and authority as they stand in a Location header of the app."""
        return f"{'https' if self.scheme == 'https' else 'http'}://{self.authority}".encode("ascii")
