"""Detection over the journals: records in, case records out, each finding recorded once.

Where it stands (`detect.json`: cursor and the detectors' state) is saved now and then; cases are not saved at all, they
are followed from their records. After a crash the records since the last save are judged again, and what they find is
known already from the case records: a finding of the same kind about the same subject is not told twice within
`QUIET`, nor again for a time at or before the latest that is on record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import orjson

from audit import durable
from audit.cases import ACTIONS, Case, CaseBook, CaseReader
from audit.completion import DECIDED, OWN, PROGRESSED
from audit.detect.refusals import Refusals
from audit.detect.sessions import Place, SessionPlaces, passed_from
from audit.detect.signal import Seen, Signal
from audit.detect.trail import Gaps
from audit.event import Action, event, timestamp
from audit.reader import FULL, IntegrityError, JournalReader
from audit.scan import COMPLETED
from audit.segment import Link, event_at, record_of, writers
from audit.stored import Piece, Recent

QUIET: Final = 600.0  # seconds for which a finding about the same subject says nothing new
JOIN: Final = 86_400.0  # seconds within which signals about the same subject are one case
_CHUNK: Final = 1 << 20
_PLACES: Final = 1024  # places from which somebody passes that are remembered by their bytes
_NOTHING: Final = (COMPLETED, PROGRESSED)  # acts of which no detector learns anything
_AGENT: Final = b'"user_agent.original":'
_VERSION: Final = 1
_CASE_LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"


class Engine:
    """Reads every journal, runs the detectors, and keeps the book of cases."""

    def __init__(self, journals: Path, state: Path, recent: Recent | None = None) -> None:
        """Load where it stood and follow the cases; raises OSError, IntegrityError, ValueError for a foreign file.

        What `recent` has is not read again from the journals.
        """
        self._journals = journals
        self._state = state
        self._recent = recent
        self._sessions = SessionPlaces()
        self._detectors: tuple[SessionPlaces | Refusals | Gaps, ...] = (self._sessions, Refusals(), Gaps())
        self._places: dict[bytes, Place | None] = {}
        self.refused: dict[str, IntegrityError] = {}
        self.more = False  # a journal held perhaps more at the last look than was read
        links: dict[str, Link] = {}
        if state.exists():
            saved = orjson.loads(state.read_bytes())
            if saved.get("v") != _VERSION:
                raise ValueError(f"{state.name}: got version {saved.get('v')}, expected {_VERSION}")
            links = {
                name: Link(epoch, seq, bytes.fromhex(entry)) for name, (epoch, seq, entry) in saved["links"].items()
            }
            for number, inner in enumerate(saved["detectors"]):
                self._detectors[number].restore(inner)
        self.book: CaseBook = CaseReader(journals).poll()
        self._readers = {name: self._reader(name, link) for name, link in links.items()}

    def _reader(self, name: str, link: Link | None) -> JournalReader:
        return JournalReader(self._journals, name, link, recent=self._recent)

    @property
    def links(self) -> dict[str, Link]:
        """How far each writer's journal was read; may be asked from any thread."""
        return {name: reader.link for name, reader in list(self._readers.items())}

    def poll(self) -> tuple[int, list[Signal]]:
        """Read what the journals have grown by; return the number of records and the signals worth telling."""
        found: list[tuple[float, str, Place | dict[str, Any]]] = []
        taken, self.more = 0, False
        for name in writers(self._journals):
            if name in self.refused:
                continue
            reader = self._readers.get(name)
            if reader is None:
                reader = self._readers[name] = self._reader(name, None)
            size = 0
            try:
                while size < FULL and (piece := reader.piece(_CHUNK)) is not None:
                    size += len(piece.data) or 1
                    taken += piece.count
                    found += self._of_interest(name, piece)
            except IntegrityError as error:
                self.refused[name] = error
            self.more = self.more or size >= FULL
        found.sort(key=itemgetter(0))
        return taken, [signal for each in found for signal in self._judge(*each) if self.is_news(signal)]

    def _of_interest(self, writer: str, piece: Piece) -> Iterator[tuple[float, str, Place | dict[str, Any]]]:
        """Yield time, id and what is told of each record that a detector may learn from.

        That is the whole record, or for one that passed as many before it only its place: nearly all are such.
        """
        base, start = event_at(writer, piece.epoch), f"{writer}:{piece.epoch}:"
        latest, at = b"", 0.0
        for seq, line in enumerate(piece.lines, piece.seq):
            number = str(seq)
            begin = base + len(number)
            if line.startswith(_NOTHING, begin):
                continue
            place = None
            if line.startswith(DECIDED, begin) and (own := line.find(OWN, begin)) > 0 and line.find(_AGENT, own) < 0:
                place = self._place(line[begin:own])
                if place is not None:
                    stamp = line[own + len(OWN) : line.find(b'"', own + len(OWN))]
                    if stamp != latest:
                        latest, at = stamp, _seconds(stamp.decode())
                    yield at, start + number, place
                    continue
            record = record_of(line)
            yield _seconds(str(record["@timestamp"])), start + number, record

    def _place(self, members: bytes) -> Place | None:
        """Return where somebody passed from, by the members that such records have in common; None = look closer."""
        places = self._places
        try:
            return places[members]
        except KeyError:
            if len(places) >= _PLACES:
                places.clear()
            place = places[members] = passed_from(members)
            return place

    def record_of(self, signal: Signal, wall: float) -> dict[str, Any]:
        """Return the case record of a signal, `case.opened` or `case.updated`; once it is kept, `book.take` it."""
        since = timestamp(signal.at - JOIN)
        case = self.book.joined(frozenset({signal.subject, *signal.joins}), since)
        return case_record(signal, case, wall)

    def save(self) -> None:
        """Make the present place durable; raises OSError."""
        links = {
            name: [reader.link.epoch, reader.link.seq, reader.link.entry.hex()]
            for name, reader in self._readers.items()
            if reader.link.seq
        }
        state = {"v": _VERSION, "links": links, "detectors": [each.snapshot() for each in self._detectors]}
        durable.replace(self._state, orjson.dumps(state), 0o600)

    def _judge(self, at: float, name: str, told: Place | dict[str, Any]) -> Iterable[Signal]:
        if isinstance(told, Place):
            if self._sessions.passed(told, at, name):
                return ()
            told = told.fields
        if told.get("event.action") in ACTIONS:
            self.book.take(told)
            return ()
        seen = Seen(told, name, at)
        return [signal for detector in self._detectors for signal in detector.take(seen)]

    def is_news(self, signal: Signal) -> bool:
        """Whether no finding on record says this already."""
        last = self.book.told.get((signal.kind.value, signal.subject))
        return last is None or signal.at > _seconds(last) + QUIET


def case_record(signal: Signal, case: Case | None, wall: float) -> dict[str, Any]:
    """Return the record that adds `signal` to `case`, or opens one."""
    action = Action.CASE_OPENED if case is None else Action.CASE_UPDATED
    fields = {
        **signal.fields,
        "message": signal.message,
        "sekisho.case.id": case_id(signal) if case is None else case.id,
        "sekisho.case.severity": signal.severity.value,
        "sekisho.finding.kind": signal.kind.value,
        "sekisho.finding.subject": signal.subject,
        "sekisho.finding.at": timestamp(signal.at),
        "sekisho.finding.evidence": list(signal.evidence),
        "sekisho.finding.command": signal.command,
        "sekisho.finding.joins": list(signal.joins),
    }
    return event(action, wall, fields)


def case_id(signal: Signal) -> str:
    """Return the id of the case that this signal opens: `c-` and eight letters that are easy to read out."""
    digest = hashlib.sha256(f"{signal.kind}|{signal.subject}|{signal.at}".encode()).digest()
    return "c-" + "".join(_CASE_LETTERS[byte % 32] for byte in digest[:8])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
