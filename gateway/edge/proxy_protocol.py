"""PROXY protocol version 2 (haproxy.org, proxy-protocol.txt §2.2), read strictly.

The `behind` listener accepts nothing else: a connection without this header, or with a malformed one, is closed. It
is the only source of a client's address besides the socket itself.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = 16
_LIMIT: Final = 2048  # address block and TLVs
_AUTHORITY: Final = 0x02  # PP2_TYPE_AUTHORITY: the SNI that the front saw


class ProxyHeaderFault(Exception):
    """The connection does not begin with a valid PROXY v2 header."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What the front says of the client; `local` is the front's own health check."""

    size: int
    local: bool
    address: str
    port: int
    server_name: str


def parse(data: bytes) -> ProxyHeader | None:
    """Return the header at the start of `data`, None while it is not complete; raises ProxyHeaderFault."""
    if data[:12] != SIGNATURE[: len(data)]:
        raise ProxyHeaderFault("signature missing")
    if len(data) < _FIXED:
        return None
    version_command, family_protocol, length = struct.unpack_from("!BBH", data, 12)
    if version_command not in (0x20, 0x21):
        raise ProxyHeaderFault("version or command not known")
    if length > _LIMIT:
        raise ProxyHeaderFault("header longer than the limit")
    if len(data) < _FIXED + length:
        return None
    block = data[_FIXED : _FIXED + length]
    if version_command == 0x20:
        return ProxyHeader(_FIXED + length, True, "", 0, "")
    if family_protocol == 0x11:
        address_size = 4
    elif family_protocol == 0x21:
        address_size = 16
    else:
        raise ProxyHeaderFault("family or protocol other than TCP over IPv4 or IPv6")
    used = 2 * address_size + 4
    if length < used:
        raise ProxyHeaderFault("address block too short")
    address = ipaddress.ip_address(block[:address_size])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    (port,) = struct.unpack_from("!H", block, 2 * address_size)
    return ProxyHeader(_FIXED + length, False, str(address), port, _authority(block[used:]))


def _authority(block: bytes) -> str:
    """Walk the TLVs (§2.2.1–2.2.7) and return the authority, "" where there is none."""
    name = ""
    while block:
        if len(block) < 3:
            raise ProxyHeaderFault("broken TLV")
        kind, length = struct.unpack_from("!BH", block)
        value = block[3 : 3 + length]
        if len(value) != length:
            raise ProxyHeaderFault("broken TLV")
        if kind == _AUTHORITY:
            try:
                name = value.decode("ascii").lower()
            except UnicodeDecodeError as error:
                raise ProxyHeaderFault("authority is not ASCII") from error
        block = block[3 + length :]
    return name
