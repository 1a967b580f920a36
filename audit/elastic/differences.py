"""What a comparison of the journals with the copy found: by hour and dataset, with the first names of each kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from audit.elastic.derivation import HOUR
from audit.event import timestamp

NAMED: Final = 50  # ids and gaps that are told of each kind
_PLACES: Final = 100_000  # missing records of which gaps are made

Bucket = tuple[int, str]
"""Start of the hour (seconds since the epoch) and dataset."""


class Kind(StrEnum):
    """In which way the copy is not what the journals call for. Append only: records name them."""

    MISSING = "missing"  # the copy lacks it
    CHANGED = "changed"  # the copy says something else under this id
    TWICE = "twice"  # two backing indices have it
    FOREIGN = "foreign"  # no journal knows it
    CHECKPOINT = "checkpoint"  # the copy has a signed tree head that our log does not lead to
    UNREADABLE = "unreadable"  # a journal's chain breaks: from there on nothing can be compared


@dataclass(slots=True)
class Row:
    """One hour of one dataset, in documents.

    `journal` are those that must be stored by now, `stored` those that are there, less what follows. `on_the_way` were
    stored although the shipper's cursor had not passed them, `opened` show requests that were open for long, `expired`
    are of records deleted at the end of their retention, `unproven` of a journal that cannot be read so far. `aside`
    are dead letters, which nobody expects in the copy.
    """

    journal: int = 0
    stored: int = 0
    missing: int = 0
    changed: int = 0
    twice: int = 0
    foreign: int = 0
    sent: int = 0
    on_the_way: int = 0
    opened: int = 0
    expired: int = 0
    unproven: int = 0
    aside: int = 0
    checkpoints: int = 0


@dataclass(slots=True)
class Report:
    """What was found. `names` are document ids (or, of `unreadable`, a journal's fault), the first few of each kind."""

    rows: dict[Bucket, Row] = field(default_factory=lambda: defaultdict(Row))
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    names: dict[Kind, list[str]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    hours: dict[Kind, set[int]] = field(default_factory=lambda: {kind: set() for kind in Kind})
    places: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    records: int = 0  # of the journals, read
    inspected: int = 0  # hours of a dataset that did not agree at first

    def name(self, kind: Kind, bucket: Bucket | None, name: str) -> None:
        """Count one finding and keep its name."""
        self.counts[kind] += 1
        if len(self.names[kind]) < NAMED:
            self.names[kind].append(name)
        if bucket is not None:
            self.hours[kind].add(bucket[0])
            row = self.rows[bucket]
            if kind in (Kind.MISSING, Kind.CHANGED, Kind.TWICE, Kind.FOREIGN):
                setattr(row, kind.value, getattr(row, kind.value) + 1)

    def lacks(self, writer: str, epoch: int, numbers: Iterable[int]) -> None:
        """Note the records that a missing document stands for."""
        if sum(map(len, self.places.values())) < _PLACES:
            self.places[writer, epoch] += numbers

    @property
    def total(self) -> Row:
        """All rows added up."""
        return Row(*(sum(getattr(row, each.name) for row in self.rows.values()) for each in fields(Row)))

    @property
    def equal(self) -> bool:
        """Whether the copy is what the journals call for."""
        return not any(self.counts.values())

    @property
    def mended(self) -> bool:
        """Whether all that was found was missing, and is stored by now."""
        others = sum(count for kind, count in self.counts.items() if kind is not Kind.MISSING)
        return not others and self.counts[Kind.MISSING] == self.total.sent

    def gaps(self) -> list[str]:
        """Return the runs of missing numbers as `writer:epoch:first-last`, the first few."""
        told = []
        for (writer, epoch), numbers in sorted(self.places.items()):
            for first, last in _runs(numbers):
                told.append(f"{writer}:{epoch}:{first}" + ("" if first == last else f"-{last}"))
                if len(told) == NAMED:
                    return told
        return told

    def listed(self) -> list[dict[str, Any]]:
        """Return the rows as JSON values, by hour and dataset; `hour` as RFC 3339."""
        return [
            {"hour": timestamp(hour), "dataset": dataset, **_values(row)}
            for (hour, dataset), row in sorted(self.rows.items())
        ]

    def findings(self) -> list[dict[str, Any]]:
        """Return each kind that was found: how often, in which hours, which documents and gaps in the numbering."""
        return [
            {
                "kind": kind.value, "count": count, "names": self.names[kind],
                "hours": [timestamp(hour) for hour in sorted(self.hours[kind])[:NAMED]],
                "gaps": self.gaps() if kind is Kind.MISSING else [],
            }
            for kind, count in self.counts.items() if count
        ]  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """Return everything but the rows as JSON values."""
        return {
            "equal": self.equal, "mended": self.mended, "records": self.records, "inspected": self.inspected,
            "total": _values(self.total), "findings": self.findings(),
        }  # fmt: skip


def _values(row: Row) -> Mapping[str, int]:
    return {each.name: getattr(row, each.name) for each in fields(Row)}


def hour_of(moment: float) -> int:
    """Return the start of the hour that a time lies in, in seconds since the epoch."""
    return int(moment // HOUR) * HOUR


def _runs(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs
