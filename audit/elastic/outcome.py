"""What a bulk answer means, item by item. Pure.

Seen on a real server: 409 on `create` = stored already; 429 comes for one item or for the whole request; an index with
a failure store answers 201 for a rejected document, under another `_id`, with `"failure_store": "used"`: it is not
where anybody looks for it, so it counts as rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from audit.documents import Document

CREATED: Final = 201
CONFLICT: Final = 409
RETRIED: Final = frozenset({401, 403, 404, 408, 429, 500, 502, 503, 504})
"""What says nothing of the document: a write block or a key that may not (403), no such stream and none made (404), no
room (429), a shard that is away (503). It passes, or somebody mends it, and nothing is set aside meanwhile."""
FULL: Final = "validation_exception"  # 400: the cluster may not have one more shard, so a stream cannot be made


class AnswerInvalid(Exception):
    """The answer does not fit the batch: nothing can be said of any item."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that the server will not take as it is."""

    document: Document
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of a batch: every document is in exactly one of the four."""

    created: tuple[Document, ...]
    already: tuple[Document, ...]
    again: tuple[Document, ...]
    rejected: tuple[Rejected, ...]
    waiting_for: str = ""  # why the first of `again` was put off


def outcome(batch: Sequence[Document], answer: Mapping[str, Any]) -> BatchOutcome:
    """Sort the items of one bulk answer; raises `AnswerInvalid` where it is not the answer to `batch`."""
    items = answer.get("items")
    if not isinstance(items, list) or len(items) != len(batch):
        raise AnswerInvalid(f"expected {len(batch)} items")
    created, already, again, rejected = [], [], [], []
    waiting_for = ""
    for document, item in zip(batch, items, strict=True):
        result = item.get("create") if isinstance(item, dict) else None
        if not isinstance(result, dict) or not isinstance(result.get("status"), int):
            raise AnswerInvalid("an item is no answer to `create`")
        status = result["status"]
        if status == CREATED and result.get("failure_store") != "used":
            created.append(document)
            continue
        reason = _reason(result)
        if status == CREATED:
            rejected.append(Rejected(document, status, "the failure store took it: the mapping does not fit"))
        elif status == CONFLICT:
            already.append(document)
        elif status in RETRIED or reason.startswith(FULL):
            again.append(document)
            waiting_for = waiting_for or reason
        else:
            rejected.append(Rejected(document, status, reason))
    return BatchOutcome(tuple(created), tuple(already), tuple(again), tuple(rejected), waiting_for)


def _reason(result: Mapping[str, Any]) -> str:
    error = result.get("error")
    if not isinstance(error, dict):
        return f"status {result['status']}"
    text = f"{error.get('type', '')}: {error.get('reason', '')}"
    cause = error.get("caused_by")
    if isinstance(cause, dict):
        text += f" ({cause.get('type', '')}: {cause.get('reason', '')})"
    return text
