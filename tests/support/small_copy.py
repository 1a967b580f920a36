"""A small trail of every kind of document, written by hand, and a copy of it in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from audit.documents import Document
from audit.elastic.copy import Stored
from audit.elastic.derivation import Period, moment_of
from audit.entries import Expired
from audit.event import Action, event
from audit.segment import Link, encode, head, segments

NOON = 1_789_999_200.0 + 1200.0  # twenty minutes past an hour
OPENED = "http.request.id"


@dataclass
class Writer:
    """One writer's journal, appended record by record; `sealed` names end its present segment."""

    root: Path
    name: str
    epoch: int = 1
    seq: int = 0
    prev: bytes = b"0" * 64
    first: int = 1
    links: list[Link] = field(default_factory=list)

    def add(self, action: Action, wall: float, fields: Mapping[str, Any] | None = None) -> int:
        """Append one record; return its number."""
        folder = self.root / self.name
        folder.mkdir(parents=True, exist_ok=True)
        self.seq += 1
        body = orjson.dumps(event(action, wall, fields))
        line, self.prev = encode(head(self.name, self.epoch), self.seq, self.prev, bytes(16), body)
        with (folder / f"{self.epoch:06d}-{self.first:012d}.active").open("ab") as file:
            file.write(line)
        self.links.append(Link(self.epoch, self.seq, bytes.fromhex(self.prev.decode())))
        return self.seq

    def seal(self) -> None:
        """End the present segment."""
        path = self.root / self.name / f"{self.epoch:06d}-{self.first:012d}.active"
        path.rename(path.with_suffix(".jsonl"))
        self.first = self.seq + 1

    def expire(self, number: int) -> None:
        """Leave only the entries of a sealed segment, as at the end of its retention."""
        segment = [each for each in segments(self.root / self.name) if each.sealed][number]
        links = [link for link in self.links if link.seq >= segment.first_seq]
        count = segment.path.read_bytes().count(b"\n")
        before = [link.entry for link in self.links if link.seq == segment.first_seq - 1] or [bytes(32)]
        entries = b"".join(link.entry for link in links[:count])
        left = Expired(self.name, segment.epoch, segment.first_seq, before[0], entries)
        segment.path.with_suffix(".entries").write_bytes(left.encode())
        segment.path.unlink()

    def request(self, name: str, wall: float, seconds: float | None = 1.0, **fields: Any) -> int:
        """Append a forwarded request: its decision, and its completion unless it stays open. Returns the number."""
        given = {OPENED: name, "sekisho.verdict": "forward", "event.outcome": "success", "url.path": "/", **fields}
        seq = self.add(Action.REQUEST_DECIDED, wall, given)
        if seconds is not None:
            self.complete(name, wall + seconds)
        return seq

    def complete(self, name: str, wall: float) -> int:
        """Append a completion."""
        return self.add(Action.REQUEST_COMPLETED, wall, {OPENED: name, "http.response.status_code": 200})

    def refusal(self, name: str, wall: float) -> int:
        """Append a refused request."""
        given = {OPENED: name, "sekisho.verdict": "refuse", "event.outcome": "failure", "sekisho.reason": "denied"}
        return self.add(Action.REQUEST_DECIDED, wall, given)


@dataclass
class MemoryCopy:
    """A copy in memory, with several backing indices and documents that a search does not see yet."""

    backing: list[dict[tuple[str, str], dict[str, Any]]] = field(default_factory=lambda: [{}])
    unrefreshed: set[str] = field(default_factory=set)
    looked_up: list[str] = field(default_factory=list)
    read: int = 0

    def put(self, documents: Sequence[Document], index: int = 0) -> int:
        """Store documents as they are; return how many."""
        for document in documents:
            self.backing[index][document.dataset, document.id] = orjson.loads(orjson.dumps(document.body))
        return len(documents)

    async def send(self, documents: Sequence[Document]) -> int:
        """Store documents as a shipper would."""
        return self.put(documents)

    async def documents(self, dataset: str, period: Period) -> AsyncIterator[Stored]:
        """Yield what a search sees, newest first: no order may be relied on."""
        for index in self.backing:
            for (held, name), body in reversed(index.items()):
                if held == dataset and name not in self.unrefreshed and period.holds(moment_of(body)):
                    self.read += 1
                    yield Stored(name, body)

    async def look_up(self, dataset: str, ids: Sequence[str]) -> list[Stored]:
        """Return what any index holds."""
        self.looked_up += ids
        return [
            Stored(name, index[dataset, name]) for index in self.backing for name in ids if (dataset, name) in index
        ]
