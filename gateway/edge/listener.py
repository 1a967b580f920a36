"""Listening sockets: which kind of connection each accepts, and how a worker stops accepting."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.edge.services import EdgeServices

LISTENERS = frozenset({"public", "help", "redirect", "behind", "loopback"})


@dataclass(frozen=True, slots=True)
class Listening:
    """One listening socket and how its connections are to be read."""

    name: str  # one of LISTENERS
    sock: socket.socket
    tls: ssl.SSLContext | None = None  # required for public and help, forbidden for the others
    scheme: str = "http"  # what clients used towards the front; for `behind` from its settings


def inherited(environ: Mapping[str, str]) -> dict[str, socket.socket]:
    """Return the sockets named by SEKISHO_LISTEN ("public:7,help:8"); a wrong entry raises ValueError."""
    sockets: dict[str, socket.socket] = {}
    for entry in filter(None, environ.get("SEKISHO_LISTEN", "").split(",")):
        name, _, number = entry.partition(":")
        if name not in LISTENERS or not number.isascii() or not number.isdigit():
            raise ValueError(f"SEKISHO_LISTEN: got {entry!r}, expected name:fd with a name of {sorted(LISTENERS)}")
        sockets[name] = socket.socket(fileno=int(number))
    return sockets


class Listeners:
    """All listeners of one worker."""

    def __init__(self, services: EdgeServices, loop: asyncio.AbstractEventLoop) -> None:
        self._services = services
        self._loop = loop
