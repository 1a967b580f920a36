"""The listening sockets: made once by the supervisor, so that a worker's accept queue outlives the worker.

A reload keeps every socket whose address stays; a new program takes over all of them.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.settings import Settings

BACKLOG = 1024  # connections that wait in each slot's queue
NAMES: Final = ("public", "help", "redirect", "behind", "loopback")
_FIRST_PASSED: Final = 3  # SD_LISTEN_FDS_START


class CannotListen(OSError):
    """An address that cannot be bound; `listener` is its name."""

    def __init__(self, listener: str, address: str, error: OSError) -> None:
        super().__init__(error.errno, f"{listener} {address}: {error.strerror}")
        self.listener, self.address = listener, address


@dataclass(frozen=True, slots=True)
class Slots:
    """One socket for each listener and worker slot; `addresses` is where clients reach each listener.

    `asked` holds the addresses as the settings say them, `passed` the listeners whose one socket systemd made.
    """

    by_slot: tuple[dict[str, socket.socket], ...]
    addresses: dict[str, str]
    asked: dict[str, str] = field(default_factory=dict)
    passed: dict[str, socket.socket] = field(default_factory=dict)


def sockets_passed(environ: Mapping[str, str], pid: int) -> dict[str, socket.socket]:
    """Return the sockets of socket activation by name (sd_listen_fds(3)). Raises ValueError for an unknown name.

    Each is the only one of its listener: all slots share its queue.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return {}
    count, names = int(environ.get("LISTEN_FDS", "0")), environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, socket.socket] = {}
    for number in range(count):
        name = names[number] if number < len(names) else ""
        if name not in NAMES or name in found:
            raise ValueError(f"FileDescriptorName: got {name!r}, expected each of {', '.join(NAMES)} once at most")
        found[name] = socket.socket(fileno=_FIRST_PASSED + number)
        found[name].set_inheritable(False)
    return found


def open_slots(
    settings: Settings, former: Slots | None = None, passed: dict[str, socket.socket] | None = None
) -> Slots:
    """Bind every configured listener for every worker slot. Raises CannotListen, and then has opened nothing.

    TCP: SO_REUSEPORT gives each slot a queue of its own (socket(7)). A unix socket has one queue, shared by all; so
    has one that was `passed`. What `former` has at the same address is kept.
    """
    passed = former.passed if former is not None else passed or {}
    slots = Slots(tuple({} for _ in range(settings.workers.count)), {}, {}, passed)
    fresh: list[socket.socket] = []
    try:
        for name in NAMES:
            listener = getattr(settings.listeners, name)
            if listener is None:
                continue
            slots.asked[name] = listener.address
            same = former is not None and former.asked.get(name) == listener.address
            try:
                _open(slots, name, listener.endpoint, former if same else None, fresh)
            except OSError as error:
                raise CannotListen(name, listener.address, error) from error
    except CannotListen:
        for sock in fresh:
            sock.close()
        raise
    return slots


def _open(
    slots: Slots, name: str, endpoint: tuple[str, int] | Path, former: Slots | None, fresh: list[socket.socket]
) -> None:
    """Enter the sockets of one listener, those of `former` first."""
    kept = [] if former is None else [slot[name] for slot in former.by_slot if name in slot]
    if isinstance(endpoint, Path) or name in slots.passed:
        shared = slots.passed.get(name) or (kept[0] if kept else None)
        if shared is None:
            shared = _unix(Path(str(endpoint)))
            fresh.append(shared)
        elif (there := shared.getsockname()) not in (endpoint, str(endpoint)) and there[:2] != endpoint:
            raise OSError(errno.EADDRNOTAVAIL, f"systemd passed a socket at {there}")
        slots.addresses[name] = f"unix:{endpoint}" if isinstance(endpoint, Path) else _shown(*shared.getsockname()[:2])
        for slot in slots.by_slot:
            slot[name] = shared
        return
    host, port = kept[0].getsockname()[:2] if kept else endpoint
    for number, slot in enumerate(slots.by_slot):
        if number < len(kept):
            slot[name] = kept[number]
            continue
        # Beside sockets that are served, one that listens gets its share at once, and nobody to serve it for a while.
        slot[name] = _tcp(host, port, listens=former is None)
        fresh.append(slot[name])
        port = slot[name].getsockname()[1]  # of port 0, the one the kernel chose serves all slots
    slots.addresses[name] = _shown(host, port)


def close_left(former: Slots, slots: Slots) -> None:
    """Close the sockets of `former` that `slots` has no use for: workers hold theirs until they have drained."""
    kept = {id(sock) for slot in slots.by_slot for sock in slot.values()} | {id(sock) for sock in slots.passed.values()}
    for slot in former.by_slot:
        for sock in slot.values():
            if id(sock) not in kept:
                sock.close()


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tcp(host: str, port: int, *, listens: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        if listens:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(sock.fileno(), 0o660)  # before bind(2): the front runs in our group
    sock.bind(str(path))
    sock.listen(BACKLOG)
    return sock
