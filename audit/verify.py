"""Proves the trail: every writer's chain over all epochs and segments, and the tree up to the latest checkpoint.

The auditor's own notes (`auditor.json`, `places`) are never trusted. The tree's entries, in their order, must be an
interleaving of the journals in which every writer's order is kept; so each leaf has to be the next record of some
writer, which is followed with one hash table of the writers' next entries, in constant memory.

What each key alone finds: an edit, deletion, insertion or reordering below the checkpoint by the public key;
truncation, roll-back, fork and re-signing by the public key and one checkpoint kept elsewhere (`kept`).
Above the checkpoint only the chain protects: that tail is counted and its age told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from audit.checkpoint import Checkpoint, CheckpointInvalid, Verifier
from audit.expired import AUDITOR, Deletions
from audit.log import LogDamaged, entries, place_of, root_at
from audit.merkle import Frontier, leaf_hash
from audit.reader import IntegrityError, JournalReader, Record
from audit.segment import TRIMMED, Link, record_of, segments, writers

__all__ = ["IntegrityError", "Span", "Verified", "WriterProof", "follow_tree", "verify_journals"]


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of the trail is to be proved; everything where nothing is said.

    `after` and `upto` are sizes of the log (leaves `after` to `upto - 1`); a checkpoint as `after` is one that was
    verified before: the tree has to contain it. `since` and `until` are times in seconds since the epoch, of which
    every record is proved with some around it. What is always told is the tail that no checkpoint covers.
    """

    after: int | Checkpoint = 0
    upto: int | None = None
    since: float | None = None
    until: float | None = None


@dataclass(slots=True)
class WriterProof:
    """What was proved of one writer."""

    records: int = 0
    epochs: int = 0
    segments: int = 0
    removed: int = 0  # records deleted on record, of a bounded journal
    expired: int = 0  # records whose retention ended, of which only the entries are left, as is on record
    torn: tuple[str, ...] = ()  # tails set aside after crashes
    last: Link | None = None


@dataclass(slots=True)
class Verified:
    """What was proved. `tail_*` is what no checkpoint covers yet."""

    writers: dict[str, WriterProof] = field(default_factory=dict)
    records: int = 0
    checkpoint: Checkpoint | None = None
    first: int = 0  # the leaves that were compared with the journals: from this one
    last: int = 0  # to the one before this
    tail_records: int = 0
    tail_oldest: float | None = None  # seconds since the epoch of the oldest uncovered record

    def tail_age(self, now: float) -> float:
        """Return the age in seconds of the oldest record that no checkpoint covers, 0 when all are covered."""
        return 0.0 if self.tail_oldest is None else max(0.0, now - self.tail_oldest)


class _Follower:
    """One writer's records, one after the other."""

    def __init__(self, root: Path, writer: str) -> None:
        self.reader = JournalReader(root, writer, expired=True)
        self.proof = WriterProof()
        self.next: Record | None = None
        self.covered: Record | None = None  # the last one that the tree has
        self.trimmed: Link | None = None  # the last deleted record as the latest `audit.trimmed` tells
        self._chunk: list[Record] = []
        self._at = 0
        self.advance()

    def advance(self) -> None:
        """Go to the next record, None at the end; raises `IntegrityError` where the chain breaks."""
        if self._at == len(self._chunk):
            self._chunk, self._at = self.reader.read(), 0
            if not self._chunk:
                self.next = None
                return
        record = self.next = self._chunk[self._at]
        self._at += 1
        proof = self.proof
        proof.records += 1
        proof.expired += not record.line
        if record.number == 1:
            proof.segments += 1
            if record.seq == 1:
                proof.epochs += 1
        if self.reader.gone is not None and TRIMMED in record.line:
            body = record_of(record.line)
            proof.removed = body["sekisho.trimmed.records_total"]
            self.trimmed = Link(
                body["sekisho.trimmed.epoch"], body["sekisho.trimmed.seq"], bytes.fromhex(body["sekisho.trimmed.entry"])
            )

    def finish(self, told: Callable[[bytes], None] | None = None) -> WriterProof:
        """Read what is left, `told` of each line, and check that what is missing at the start was deleted on record."""
        while self.next is not None:
            if told is not None:
                told(self.next.line)
            self.advance()
        gone, reader = self.reader.gone, self.reader
        if gone is not None and self.trimmed != gone:
            name = segments(reader.folder)[0].path.name
            raise IntegrityError(
                reader.writer, name, 1, gone.seq + 1, "start",
                f"records up to {gone.epoch}:{gone.seq} missing", f"an audit.trimmed record for {self.trimmed}",
            )  # fmt: skip
        self.proof.last = reader.link
        self.proof.torn = tuple(sorted(path.name for path in reader.folder.glob("*.torn")))
        return self.proof


class _Tree:
    """Matches the tree's entries against the writers' next records."""

    def __init__(self, root: Path) -> None:
        self.followers = {name: _Follower(root, name) for name in writers(root)}
        self._by_next = {item.next.entry: item for item in self.followers.values() if item.next is not None}
        self.deletions = Deletions()
        self._starting = {item for item in self.followers.values() if item.reader.gone is not None}
        self.unknown = 0

    def take(self, entry: bytes) -> bool:
        """Take the next leaf; False when it is no writer's next record and no deleted one."""
        follower = self._by_next.pop(entry, None)
        if follower is None:
            self.unknown += 1
            return bool(self._starting)
        self._starting.discard(follower)
        if follower.next is not None:
            follower.covered = follower.next
            if follower.reader.writer == AUDITOR:
                self.deletions.take(follower.next.line)
        follower.advance()
        if follower.next is not None:
            self._by_next[follower.next.entry] = follower
        return True


def follow_tree(root: Path, leaves: Iterable[bytes]) -> dict[str, Link]:
    """Return, by writer, the last record that the tree covers; raises `IntegrityError` where they do not fit."""
    tree = _Tree(root)
    for index, entry in enumerate(leaves):
        if not tree.take(entry):
            raise IntegrityError("log", "tile/entries", index, index, "entry", entry.hex(), "a record of some journal")
    reached = [(name, item.covered) for name, item in tree.followers.items() if item.covered is not None]
    return {name: Link(record.epoch, record.seq, record.entry) for name, record in reached}


def verify_journals(
    root: Path,
    log: Path | None = None,
    verifier: Verifier | None = None,
    kept: Iterable[Checkpoint] = (),
    *,
    span: Span | None = None,
    witness: Callable[[str], object] | None = None,
    jobs: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Verified:
    """Prove the journals under `root`, and the log under `log` with its public key where one is given.

    `kept` are checkpoints from elsewhere (receipts, reports, Elasticsearch) that the tree must contain. `witness` is
    called with the log's checkpoint as it is stored, to raise CheckpointInvalid unless it is cosigned. `jobs` is the
    number of processes, 0 for one a core; `progress` is called with the number of records proved so far.

    Raises `IntegrityError` naming the first bad record, CheckpointInvalid for a checkpoint that the key did not sign,
    OSError for a file that cannot be read.
    """
    after = span.after if span is not None else 0
    known = sorted([*kept, after] if isinstance(after, Checkpoint) else kept, key=lambda item: item.size)
    result = Verified()
    if log is not None and verifier is not None:
        result.checkpoint = _latest(log, verifier, known, witness)  # before the journals: what it covers is in them by now
    tree = _Tree(root)
    if log is not None and result.checkpoint is not None:
        _verify_tree(tree, log, result.checkpoint, known)
    for name, follower in tree.followers.items():
        if follower.next is not None and follower.next.line:
            time = datetime.fromisoformat(record_of(follower.next.line)["@timestamp"]).timestamp()
            result.tail_oldest = time if result.tail_oldest is None else min(time, result.tail_oldest)
        before = follower.proof.records - (follower.next is not None)
        # Who deletes waits until the record of it is covered; where nothing is signed, all that is written counts.
        told = tree.deletions.take if name == AUDITOR and result.checkpoint is None else None
        result.writers[name] = proof = follower.finish(told)
        result.records += proof.records
        result.tail_records += proof.records - before
        if progress is not None:
            progress(result.records)
    tree.deletions.check(follower.reader for follower in tree.followers.values())
    result.last = result.checkpoint.size if result.checkpoint is not None else 0
    removed = sum(proof.removed for proof in result.writers.values())
    if tree.unknown > removed:
        raise IntegrityError("log", "tile/entries", 0, 0, "deleted records", str(tree.unknown), f"at most {removed}")
    return result


def _latest(
    log: Path, verifier: Verifier, kept: list[Checkpoint], witness: Callable[[str], object] | None
) -> Checkpoint | None:
    path = log / "checkpoint"
    if not path.exists():
        if kept:
            raise _bad_log("checkpoint", "none", f"one of size {kept[-1].size} or more")
        return None
    try:
        note = path.read_bytes().decode()
        checkpoint = verifier.open(note)
        if witness is not None:
            witness(note)
    except (UnicodeDecodeError, CheckpointInvalid) as error:
        raise CheckpointInvalid(f"{path}: {error}") from error
    if kept and kept[-1].size > checkpoint.size:
        raise _bad_log("size", str(checkpoint.size), f"{kept[-1].size} or more: the log was rolled back")
    return checkpoint


def _verify_tree(tree: _Tree, log: Path, checkpoint: Checkpoint, kept: list[Checkpoint]) -> None:
    wanted = [*kept, checkpoint]
    frontier = Frontier()
    mismatch: tuple[int, bytes] | None = None
    try:
        for entry in entries(log, checkpoint.size):
            _compare_roots(frontier, wanted)
            frontier.append(leaf_hash(entry))
            if mismatch is None and not tree.take(entry):
                mismatch = frontier.size - 1, entry
        _compare_roots(frontier, wanted)
        if root_at(log, checkpoint.size) != checkpoint.root:
            raise _bad_log("tiles", root_at(log, checkpoint.size).hex(), checkpoint.root.hex())
    except LogDamaged as error:
        raise _bad_log("tiles", str(error), f"all tiles of {checkpoint.size} leaves") from error
    if mismatch is not None:
        _name_record(tree, log, *mismatch)


def _compare_roots(frontier: Frontier, wanted: list[Checkpoint]) -> None:
    while wanted and wanted[0].size == frontier.size:
        checkpoint = wanted.pop(0)
        root = frontier.root()
        if root != checkpoint.root:
            raise _bad_log(f"root at size {checkpoint.size}", root.hex(), checkpoint.root.hex())


def _bad_log(what: str, got: str, expected: str) -> IntegrityError:
    return IntegrityError("log", "tree", 0, 0, what, got, expected)


def _name_record(tree: _Tree, log: Path, index: int, entry: bytes) -> None:
    """Raise for leaf `index`, which the tree proves and the journals do not have."""
    for follower in tree.followers.values():
        follower.finish()  # a broken chain names its record better than the tree can
    place = place_of(log, index)
    if place is None:
        raise IntegrityError("log", "tile/entries", index, index, "entry", "no such record", entry.hex())
    writer, epoch, seq = place
    found = tree.followers.get(writer)
    if found is None:
        raise IntegrityError(writer, "", 0, seq, "journal", "none", f"record {epoch}:{seq} with entry {entry.hex()}")
    for segment in reversed(segments(found.reader.folder)):
        if segment.key <= (epoch, seq):
            line = seq - segment.first_seq + 1
            raise IntegrityError(writer, segment.path.name, line, seq, "entry", "another record or none", entry.hex())
    raise IntegrityError(writer, "", 0, seq, "segment", "none", f"record {epoch}:{seq} with entry {entry.hex()}")
