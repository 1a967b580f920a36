"""From journal records to the documents that a searchable copy holds. Pure: the same records give the same documents.

A request becomes one document, `<request id>`, once its decision and its completion are both there. While it is open
longer than `OPEN_AFTER` there is `<request id>.open`; a tunnel's progress is `<request id>.p<epoch>:<seq>`; every other
record is one document, `<writer>:<epoch>:<seq>`. All are only ever created, never changed, so that a copy needs a key
that can do nothing else; who searches folds them by `http.request.id`.

The open requests are state of their own (`snapshot`), so that a reader's cursor may move past them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from audit.completion import fold

OPEN_AFTER: Final = 30.0  # seconds
FORWARDED: Final = frozenset({"forward", "local"})  # verdicts that a completion follows
ID_BYTES_MAX: Final = 512  # Elasticsearch refuses a longer `_id`, and with it the whole batch

_JOURNAL = {"writer": "sekisho.journal.writer", "epoch": "sekisho.journal.epoch", "seq": "sekisho.journal.seq"}


@dataclass(frozen=True, slots=True)
class Document:
    """One document to create, with dotted names; `dataset` lacks its `sekisho.` prefix.

    `packed` is the body as JSON where somebody has made it already: it is made once, by whoever needs it first.
    """

    id: str
    dataset: str
    body: dict[str, Any]
    packed: bytes = field(default=b"", compare=False, repr=False)


@dataclass(slots=True)
class OpenRequest:
    """A decision whose completion has not been read yet."""

    record: dict[str, Any]
    since: float  # when it was read, seconds since the epoch
    shown: bool = False  # `.open` was made


def record_id(record: Mapping[str, Any]) -> str:
    """Return the id of a record that is no request: where it stands in its journal."""
    return f"{record['writer']}:{record['epoch']}:{record['seq']}"


def dataset_of(record: Mapping[str, Any]) -> str:
    """Return the last part of `event.dataset`, such as `access`."""
    return str(record["event.dataset"]).rpartition(".")[2]


class Folder:
    """Turns records, each read once and in the order of its journal, into documents."""

    def __init__(self, open_requests: Mapping[str, OpenRequest] | None = None) -> None:
        self._open: dict[str, OpenRequest] = dict(open_requests or {})

    def take(self, record: dict[str, Any], now: float) -> list[Document]:
        """Return the documents that `record` (`audit.segment.record_of` a line) completes."""
        request_id = record.get("http.request.id")
        match record.get("event.action"):
            case "request.decided" if isinstance(request_id, str):
                if record.get("sekisho.verdict") in FORWARDED:
                    self._open[request_id] = OpenRequest(record, now)
                    return []
                return [Document(request_id, dataset_of(record), _body(record, request_id))]
            case "request.completed" if isinstance(request_id, str):
                return [self._complete(request_id, record)]
            case "tunnel.progress" if isinstance(request_id, str):
                name = f"{request_id}.p{record['epoch']}:{record['seq']}"
                return [Document(name, dataset_of(record), _body(record, name))]
        name = record_id(record)
        return [Document(name, dataset_of(record), _body(record, name))]

    def overdue(self, now: float) -> list[Document]:
        """Return `.open` documents for requests open longer than `OPEN_AFTER` that have none yet."""
        made = []
        for request_id, waiting in self._open.items():
            if not waiting.shown and now - waiting.since >= OPEN_AFTER:
                waiting.shown = True
                name = f"{request_id}.open"
                made.append(Document(name, dataset_of(waiting.record), _body(waiting.record, name)))
        return made

    def open_requests(self) -> list[OpenRequest]:
        """Return the requests that are open now."""
        return list(self._open.values())

    def snapshot(self) -> dict[str, Any]:
        """Return the open requests as JSON values, for `restore`."""
        return {
            request_id: {"record": waiting.record, "since": waiting.since, "shown": waiting.shown}
            for request_id, waiting in self._open.items()
        }

    @classmethod
    def restore(cls, saved: Mapping[str, Any]) -> Folder:
        """Return a folder that goes on from `snapshot`'s mapping."""
        return cls({
            request_id: OpenRequest(row["record"], row["since"], row["shown"]) for request_id, row in saved.items()
        })  # fmt: skip

    def _complete(self, request_id: str, record: dict[str, Any]) -> Document:
        waiting = self._open.pop(request_id, None)
        if waiting is None:
            # Its decision was trimmed away or lies before this reader's start: the completion stands alone.
            name = record_id(record)
            return Document(name, dataset_of(record), _body(record, name))
        body = fold(_body(waiting.record, request_id), record)
        body["sekisho.journal.completed_seq"] = record["seq"]
        return Document(request_id, dataset_of(waiting.record), body)


def _body(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    body = dict(record)
    for key in ("v", "prev"):
        body.pop(key, None)
    for key, journal in _JOURNAL.items():
        body[journal] = body.pop(key)
    body["event.id"] = name
    return body


def event_of(document: Document) -> tuple[str, int, int, dict[str, Any]]:
    """Return writer, epoch, seq and the event as a search of the journals gives it."""
    event = dict(document.body)
    writer = str(event.pop("sekisho.journal.writer"))
    epoch, seq = int(event.pop("sekisho.journal.epoch")), int(event.pop("sekisho.journal.seq"))
    event.pop("sekisho.journal.completed_seq", None)
    event["event.id"] = f"{writer}:{epoch}:{seq}"
    return writer, epoch, seq, event


def documents(records: Iterable[dict[str, Any]], now: float) -> list[Document]:
    """Return every document of `records`, those still open as `.open` (what a copy holds once all of it is old)."""
    folder = Folder()
    made = [document for record in records for document in folder.take(record, now)]
    return made + folder.overdue(now + OPEN_AFTER)
