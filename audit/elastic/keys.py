"""The index behind key files: keys may be missing at first, and may be replaced while the auditor runs.

A key is read when it is needed first and again whenever the cluster refuses it, so that an operator only has to put
the new file in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.documents import Document
from audit.elastic.client import ElasticAccess, ElasticIndex
from audit.elastic.index import IndexFault, IndexUnavailable


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the cluster is and which files hold its two keys."""

    url: str
    ca: Path | None
    write_key_file: Path
    read_key_file: Path
    namespace: str


def access_of(cluster: Cluster) -> ElasticAccess:
    """Read the keys; raise `IndexUnavailable` (refused) where a file is missing or empty."""
    keys = []
    for path in (cluster.write_key_file, cluster.read_key_file):
        try:
            key = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise IndexUnavailable(IndexFault.REFUSED, f"no key: {path.name}: {type(error).__name__}") from None
        if not key:
            raise IndexUnavailable(IndexFault.REFUSED, f"no key: {path.name} is empty")
        keys.append(key)
    return ElasticAccess(cluster.url, cluster.ca, keys[0], keys[1], cluster.namespace)


class KeyedIndex:
    """An `audit.elastic.index.Index` that takes new keys from their files when the old ones are refused."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._access: ElasticAccess | None = None
        self._index: ElasticIndex | None = None

    async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
        """Create all of them; raise `IndexUnavailable`."""
        index = await self._current()
        try:
            return await index.create(documents)
        except IndexUnavailable as fault:
            self._doubt(fault)
            raise

    async def stored(self, documents: Sequence[Document]) -> frozenset[str]:
        """Return the ids of those that any backing index holds; raise `IndexUnavailable`."""
        index = await self._current()
        try:
            return await index.stored(documents)
        except IndexUnavailable as fault:
            self._doubt(fault)
            raise

    async def close(self) -> None:
        """Let the connections go."""
        if self._index is not None:
            await self._index.close()
        self._index = self._access = None

    def _doubt(self, fault: IndexUnavailable) -> None:
        if fault.fault is IndexFault.REFUSED:
            self._access = None

    async def _current(self) -> ElasticIndex:
        if self._index is not None and self._access is not None:
            return self._index
        access = access_of(self._cluster)
        await self.close()
        self._access, self._index = access, ElasticIndex(access)
        return self._index
