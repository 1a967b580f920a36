"""Whether what is gone was deleted on record: the check of `audit.verify` on expired segments.

Before a segment is replaced by its entries, the auditor writes `audit.expired` into its own journal and waits until a
signed checkpoint covers that record (`audit.keeping`). So an expired segment that no such record names was not deleted
by the auditor: somebody took the lines away and left the hashes, which chain and tree alone would not tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from audit.event import Action
from audit.reader import IntegrityError
from audit.segment import record_of

AUDITOR: Final = "auditor"  # the writer whose journal tells of deletions
_MARK: Final = b'"event.action":"%b"' % Action.AUDIT_EXPIRED.value.encode()


class Passed(NamedTuple):
    """An expired segment that verification came by, and what its list of entries is."""

    writer: str
    name: str  # of its file
    epoch: int
    seq: int  # of its first record
    records: int
    digest: str  # SHA-256 over the entries, in hex


class Deletions:
    """What the auditor's journal says of deletions at the end of retention."""

    def __init__(self) -> None:
        self._named: dict[tuple[str, int, int], set[tuple[int, str]]] = {}

    def take(self, line: bytes) -> None:
        """Take in one proved line of the auditor's journal, of whatever act."""
        if _MARK not in line:
            return
        body = record_of(line)
        if body.get("event.action") != Action.AUDIT_EXPIRED:
            return  # it quotes the name
        key = body["sekisho.expired.writer"], body["sekisho.expired.epoch"], body["sekisho.expired.first_seq"]
        what = body["sekisho.expired.records"], body["sekisho.expired.sha256"]
        self._named.setdefault(key, set()).add(what)

    def check(self, passed: Iterable[Passed]) -> None:
        """Raise `IntegrityError` for the first expired segment that no record names as it is."""
        for segment in passed:
            named = self._named.get((segment.writer, segment.epoch, segment.seq), set())
            if (segment.records, segment.digest) in named:
                continue
            got = f"{segment.records} entries with SHA-256 {segment.digest}"
            told = " or ".join(f"{count} entries with SHA-256 {digest}" for count, digest in sorted(named))
            expected = told or f"an {Action.AUDIT_EXPIRED} record in the journal of {AUDITOR} that names this segment"
            raise IntegrityError(segment.writer, segment.name, 0, segment.seq, "deletion", got, expected)
