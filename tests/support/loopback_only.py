"""No test reaches beyond this machine: a connection or a name look-up that would is refused where it is made."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any

_LOCAL_NAMES = ("localhost", "", None)


class BeyondLoopback(PermissionError):
    """A test tried to reach another machine."""


def is_local(host: object) -> bool:
    """Tell whether an address or name can only mean this machine."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in _LOCAL_NAMES:
        return True
    if not isinstance(host, str):
        return False
    if host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple) and not is_local(arguments[1][0]):
        raise BeyondLoopback(f"connection to {arguments[1][0]}")
    if event == "socket.getaddrinfo" and not is_local(arguments[0]):
        raise BeyondLoopback(f"look-up of {arguments[0]}")


def install() -> None:
    """Watch this process from now on; an audit hook (PEP 578) cannot be taken away again."""
    sys.addaudithook(_watch)
