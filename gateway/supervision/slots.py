"""The listening sockets: made once by the supervisor, so that a worker's accept queue outlives the worker."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.settings import Settings

BACKLOG = 1024  # connections that wait in each slot's queue
_NAMES = ("public", "help", "redirect", "behind", "loopback")


@dataclass(frozen=True, slots=True)
class Slots:
    """One socket for each listener and worker slot; `addresses` is where clients reach each listener."""

    by_slot: tuple[dict[str, socket.socket], ...]
    addresses: dict[str, str]


def open_slots(settings: Settings) -> Slots:
    """Bind every configured listener for every worker slot. Raises OSError when an address is taken.

    TCP: SO_REUSEPORT gives each slot a queue of its own (socket(7)). A unix socket has one queue, shared by all.
    """
    by_slot: tuple[dict[str, socket.socket], ...] = tuple({} for _ in range(settings.workers.count))
    addresses: dict[str, str] = {}
    for name in _NAMES:
        listener = getattr(settings.listeners, name)
        if listener is None:
            continue
        endpoint: tuple[str, int] | Path = listener.endpoint
        if isinstance(endpoint, Path):
            shared = _unix(endpoint)
            addresses[name] = f"unix:{endpoint}"
            for slot in by_slot:
                slot[name] = shared
            continue
        host, port = endpoint
        for slot in by_slot:
            slot[name] = _tcp(host, port)
            port = slot[name].getsockname()[1]  # of port 0, the one the kernel chose serves all slots
        addresses[name] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Slots(by_slot, addresses)


def _tcp(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    sock.listen(BACKLOG)
    return sock


def _unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(sock.fileno(), 0o660)  # before bind(2): the front runs in our group
    sock.bind(str(path))
    sock.listen(BACKLOG)
    return sock
