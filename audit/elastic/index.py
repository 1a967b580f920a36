"""The port to the copy: what the shipper asks of an index, and every way in which it can fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from audit.documents import Document


class IndexFault(StrEnum):
    """Why a call failed, by what the shipper has to do about it."""

    UNCERTAIN = "uncertain"  # it may or may not have been carried out: look it up
    THROTTLED = "throttled"  # not carried out: wait
    TOO_LARGE = "too_large"  # not carried out: send less at once
    BAD_BATCH = "bad_batch"  # not carried out: one document spoils all
    REFUSED = "refused"  # not carried out: our key is not good (any more)


class IndexUnavailable(Exception):
    """A call failed. `detail` names no secret."""

    def __init__(self, fault: IndexFault, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail
        self.retry_after = retry_after


class Index(Protocol):
    """Where documents are created and looked up."""

    async def create(self, documents: Sequence[Document]) -> Mapping[str, Any]:
        """Create all of them; return the bulk answer (`audit.elastic.outcome`). Raise `IndexUnavailable`."""

    async def stored(self, documents: Sequence[Document]) -> frozenset[str]:
        """Return the ids of those that any backing index holds, also unrefreshed. Raise `IndexUnavailable`."""
