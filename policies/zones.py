"""From an address to the name of its network: longest prefix wins, IPv4 inside IPv6 counts as IPv4."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from policies.catalogue import INTERNET

CACHE_LIMIT: Final = 65536
"""Addresses remembered; the memory is emptied when full, so a flood of addresses costs time, never memory."""

MAPPED_PREFIX: Final = 96
"""IPv4 addresses inside IPv6 stand under ::ffff:0:0/96 (RFC 4291 §2.5.5.2)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> Network:
    """Parse one network (`10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32`); v4-mapped networks become IPv4.

    Raises:
        ValueError: not a network, or host bits set.
    """
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - MAPPED_PREFIX))
    return network


class ZoneTable:
    """Looks up zones by address. One dictionary a prefix length, tried from the longest."""

    __slots__ = ("_cache", "_v4", "_v6")

    def __init__(self, zones: Iterable[tuple[str, Iterable[str]]]) -> None:
        """Build the table from (zone, networks); raises ValueError for a bad or twice-named network."""
        tables: dict[int, dict[int, dict[int, str]]] = {4: {}, 6: {}}
        for zone, networks in zones:
            for text in networks:
                network = parse_network(text)
                shift = network.max_prefixlen - network.prefixlen
                level = tables[network.version].setdefault(shift, {})
                key = int(network.network_address) >> shift
                if level.setdefault(key, zone) != zone:
                    raise ValueError(f"{text}: already in zone {level[key]}")
        self._v4 = sorted(tables[4].items())
        self._v6 = sorted(tables[6].items())
        self._cache: dict[str, str] = {}

    def zone_of(self, address: str) -> str:
        """The zone of a textual address; `internet` when no network holds it or it is no address."""
        zone = self._cache.get(address)
        if zone is None:
            zone = self._search(address)
            if len(self._cache) >= CACHE_LIMIT:
                self._cache.clear()
            self._cache[address] = zone
        return zone

    def _search(self, text: str) -> str:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return INTERNET
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        number = int(address)
        for shift, networks in self._v4 if isinstance(address, ipaddress.IPv4Address) else self._v6:
            zone = networks.get(number >> shift)
            if zone is not None:
                return zone
        return INTERNET
