"""The index behind key files: keys may be missing at first, and may be replaced while the auditor runs.

A key is read when it is needed first and again whenever the cluster refuses it, so that an operator only has to put
the new file in place.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
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


def forbidden(answer: Mapping[str, Any]) -> bool:
    """Tell whether a bulk answer says of any item that the key may not do it (403, `security_exception`)."""
    return bool(answer.get("errors")) and any(
        isinstance(told.get("error"), dict) and told["error"].get("type") == "security_exception"
        for item in answer.get("items") or ()
        for told in item.values()
    )


class KeyedIndex:
    """An `audit.elastic.index.Index` that takes new keys from their files when the old ones are refused.

    Several calls may be under way: connections of keys that were replaced end with their last call, so that no other
    call's answer is cut.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._access: ElasticAccess | None = None
        self._index: ElasticIndex | None = None
        self._doubted = False
        self._calls: Counter[ElasticIndex] = Counter()

    async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
        """Create all of them; raise `IndexUnavailable`."""
        async with self._current() as index:
            answer = await index.create(documents)
            self._doubted = self._doubted or forbidden(answer)
            return answer

    async def stored(self, documents: Sequence[Document]) -> frozenset[str]:
        """Return the ids of those that any backing index holds; raise `IndexUnavailable`."""
        async with self._current() as index:
            return await index.stored(documents)

    async def close(self) -> None:
        """Let the connections go."""
        index, self._index, self._access = self._index, None, None
        if index is not None:
            await index.close()

    @asynccontextmanager
    async def _current(self) -> AsyncIterator[ElasticIndex]:
        index = await self._ready()
        self._calls[index] += 1
        try:
            yield index
        except IndexUnavailable as fault:
            self._doubted = self._doubted or fault.fault is IndexFault.REFUSED
            raise
        finally:
            self._calls[index] -= 1
            if not self._calls[index]:
                del self._calls[index]
                if index is not self._index:
                    await index.close()

    async def _ready(self) -> ElasticIndex:
        """Return what the keys in the files open; the same as before where they did not change."""
        if self._index is not None and not self._doubted:
            return self._index
        access = await asyncio.to_thread(access_of, self._cluster)
        self._doubted = False
        if self._index is None or access != self._access:
            old, self._access, self._index = self._index, access, ElasticIndex(access)
            if old is not None and not self._calls[old]:
                await old.close()
        return self._index
