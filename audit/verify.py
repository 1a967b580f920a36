"""Proves the trail: every writer's chain over all epochs and segments, and the tree up to the latest checkpoint.

The auditor's own notes (`auditor.json`, `places`) are never trusted. The tree's entries, in their order, must be an
interleaving of the journals in which every writer's order is kept; so each leaf has to be the next record of some
writer. Segments and bundles are checked in several processes, joined in this one, in constant memory (`verifying`).

A record that the tree has and the journal does not is named where it stands, or stood; of a stored tile or bundle that
is not what the signed root proves, the file and the hash in it. A span of the log needs nothing before it: where the
writers' journals stood then is found in the tree, and every node that was not made anew has to lead to the signed root.

What each key alone finds: an edit, deletion, insertion or reordering below the checkpoint by the public key;
truncation, roll-back, fork and re-signing by the public key and one checkpoint kept elsewhere (`kept`).
Above the checkpoint only the chain protects: that tail is counted and its age told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from audit.checkpoint import Checkpoint, CheckpointInvalid, Opener
from audit.expired import AUDITOR, Deletions
from audit.log import ENTRY_SIZE, WIDTH
from audit.reader import IntegrityError
from audit.segment import Link, record_of, writers
from audit.verifying import bundles
from audit.verifying.chains import STRIDE, line_at, pack
from audit.verifying.followers import Follower
from audit.verifying.hashing import Hashing, fastest
from audit.verifying.leftovers import check_leftovers
from audit.verifying.matching import Matching, stranger
from audit.verifying.pieces import Pieces, jobs_for
from audit.verifying.standing import Sizes, between, standing
from audit.verifying.tiles import Tree

__all__ = ["IntegrityError", "Span", "Verified", "WriterProof", "follow_tree", "verify_journals"]

_A_RECORD: Final = 800  # bytes of a journal, about


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


def verify_journals(
    root: Path,
    log: Path | None = None,
    verifier: Opener | None = None,
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
    asked = span or Span()
    known = sorted([*kept, asked.after] if isinstance(asked.after, Checkpoint) else kept, key=lambda item: item.size)
    result = Verified()
    if log is not None and verifier is not None:
        # before the journals: what it covers is in them by now
        result.checkpoint = _latest(log, verifier, known, witness)
    if log is not None and result.checkpoint is not None:
        sizes = _sizes(root, log, result.checkpoint.size, asked)
        records = sizes.upto - sizes.after
    else:
        sizes, records = Sizes(0, 0), _bytes_under(root) // _A_RECORD
    hashing = fastest(records)
    with Pieces(jobs_for(jobs, records, hashing), hashing) as pieces:
        proof = _Proof(root, log, result, pieces, progress or (lambda _count: None))
        proof.begin(sizes)
        if log is not None and result.checkpoint is not None:
            proof.follow_log(log, result.checkpoint, known)
        proof.finish()
    return result


class _Proof:
    """One run of verification."""

    def __init__(
        self, root: Path, log: Path | None, result: Verified, pieces: Pieces, progress: Callable[[int], None]
    ) -> None:
        self.root, self.log, self.result = root, log, result
        self._pieces, self._progress = pieces, progress
        self._done = 0
        self.followers: dict[str, Follower] = {}
        self.matching = Matching({})

    def begin(self, sizes: Sizes) -> None:
        """Let every writer's journal be followed from where the span begins."""
        self.result.first, self.result.last = sizes
        self.followers = self._followers(sizes.after)
        self.matching = Matching(self.followers)

    def follow_log(self, log: Path, checkpoint: Checkpoint, kept: list[Checkpoint]) -> None:
        """Hash the span's bundles, find their entries in the journals, and compare the tree with the signed root."""
        size = checkpoint.size
        tree = Tree(log, size)
        foreign: tuple[int, bytes] | None = None
        done = 0
        work = _bundles(log, self.result, size, kept, self._pieces.hashing)
        for piece in self._pieces.ahead(bundles.hashed, work, self._pieces.jobs + 1):
            tree.skip(done, piece.first)
            tree.add(piece)
            done = piece.last
            if foreign is None:
                foreign = self._match(piece.entries, piece.first * WIDTH)
        tree.skip(done, size // WIDTH)
        tree.prove(checkpoint, kept)
        if self.result.first == 0 and self.result.last == size:
            check_leftovers(log, size)
        if foreign is not None:
            raise stranger(self.followers, log, size, *foreign)

    def finish(self) -> None:
        """Follow every journal to its end: that is the tail. Then compare what is gone with what was deleted."""
        result = self.result
        size = result.checkpoint.size if result.checkpoint is not None else 0
        ends = self.followers
        if result.last < size:
            for follower in self.followers.values():
                if follower.fault is not None:
                    raise follower.fault
            ends = self._followers(size)
        deletions = Deletions()
        for name, follower in ends.items():
            covered = follower.covered
            self._follow_tail(follower)
            if name == AUDITOR:
                # who deletes waits until the record of it is covered; where nothing is signed, all that is written is
                reach = (covered.epoch, covered.seq) if covered is not None else (0, 0)
                for number, line in follower.told.marked:
                    if result.checkpoint is None or number <= reach:
                        deletions.take(line)
        for name, follower in self.followers.items():
            result.writers[name] = _of_writer(follower)
            result.records += follower.told.records
        deletions.check(passed for follower in self.followers.values() for passed in follower.told.passed)
        removed = sum(proof.removed for proof in result.writers.values())
        if self.matching.unknown > removed:
            got = str(self.matching.unknown)
            raise IntegrityError("log", "tile/entries", 0, 0, "deleted records", got, f"at most {removed}")

    def _followers(self, size: int) -> dict[str, Follower]:
        """Return all writers' journals, each from the record that follows the first `size` leaves."""
        names = writers(self.root)
        places = standing(self.root, self.log, size) if size and self.log is not None else {}
        window = -(-2 * self._pieces.jobs // max(1, len(names)))
        # the auditor's from its start, because it tells of deletions
        return {
            name: Follower(self.root, name, self._pieces, window, places.get(name), whole=name == AUDITOR)
            for name in names
        }

    def _match(self, entries: bytes, first: int) -> tuple[int, bytes] | None:
        start = max(0, self.result.first - first) * STRIDE
        leaves = entries[start : max(0, self.result.last - first) * STRIDE]
        taken = self.matching.take(leaves)
        self._tell(len(leaves) // STRIDE)
        if taken is None:
            return None
        return first + (start + taken) // STRIDE, leaves[taken + STRIDE - ENTRY_SIZE : taken + STRIDE]

    def _follow_tail(self, follower: Follower) -> None:
        if follower.key and (segment := follower.present) is not None:
            _, number, _, _ = follower.next_place()
            line = line_at(segment, number)
            if line:
                time = datetime.fromisoformat(record_of(line)["@timestamp"]).timestamp()
                self.result.tail_oldest = min(time, self.result.tail_oldest or time)
        while follower.key:
            count = follower.skip_segment()
            self.result.tail_records += count
            self._tell(count)
        follower.finish()

    def _tell(self, count: int) -> None:
        self._done += count
        self._progress(self._done)


def follow_tree(root: Path, leaves: Iterable[bytes]) -> dict[str, Link]:
    """Return, by writer, the last record that the tree covers; raises `IntegrityError` where they do not fit."""
    with Pieces(1) as pieces:
        matching = Matching({name: Follower(root, name, pieces, 1) for name in writers(root)})
        for index, entry in enumerate(leaves):
            if matching.take(pack(entry)) is not None:
                expected = "a record of some journal"
                raise IntegrityError("log", "tile/entries", index, index, "entry", entry.hex(), expected)
        return {name: item.covered for name, item in matching.followers.items() if item.covered is not None}


def _of_writer(follower: Follower) -> WriterProof:
    told, last = follower.told, follower.end
    torn = tuple(sorted(path.name for path in follower.folder.glob("*.torn")))
    return WriterProof(told.records, told.epochs, told.segments, told.removed, told.expired, torn, last)


def _sizes(root: Path, log: Path, size: int, asked: Span) -> Sizes:
    after = asked.after.size if isinstance(asked.after, Checkpoint) else asked.after
    upto = size if asked.upto is None else asked.upto
    if not 0 <= after <= upto <= size:
        raise ValueError(f"span: got {after} to {upto}, expected sizes up to the checkpoint's {size}")
    if asked.since is not None or asked.until is not None:
        found = between(root, log, size, asked.since, asked.until)
        after, upto = max(after, found.after), min(upto, found.upto)
    return Sizes(min(after, upto), upto)


def _bundles(
    log: Path, span: Verified, size: int, kept: Iterable[Checkpoint], hashing: Hashing
) -> Iterator[bundles.Work]:
    """Yield which bundles are hashed, in order: the span's, those in which a kept tree ends, and the last one."""
    inside = range(span.first // WIDTH, -(-span.last // WIDTH)) if span.last > span.first else range(0)
    single = {each // WIDTH for each in (size, *(old.size for old in kept)) if each % WIDTH}
    stretches = [range(number, number + 1) for number in single if number not in inside]
    for stretch in sorted([*stretches, inside], key=lambda each: each.start):
        for first in stretch[:: bundles.AT_ONCE]:
            yield bundles.Work(log, first, min(first + bundles.AT_ONCE, stretch.stop), size, hashing)


def _bytes_under(root: Path) -> int:
    return sum(path.stat().st_size for name in writers(root) for path in (root / name).iterdir() if path.is_file())


def _latest(
    log: Path, verifier: Opener, kept: list[Checkpoint], witness: Callable[[str], object] | None
) -> Checkpoint | None:
    path = log / "checkpoint"
    if not path.exists():
        if kept:
            raise IntegrityError(
                "log", "checkpoint", 0, 0, "checkpoint", "none", f"one of size {kept[-1].size} or more"
            )
        return None
    try:
        note = path.read_bytes().decode()
        checkpoint = verifier.open(note)
        if witness is not None:
            witness(note)
    except (UnicodeDecodeError, CheckpointInvalid) as error:
        raise CheckpointInvalid(f"{path}: {error}") from error
    if kept and kept[-1].size > checkpoint.size:
        expected = f"{kept[-1].size} or more: the log was rolled back"
        raise IntegrityError("log", "checkpoint", 2, checkpoint.size, "size", str(checkpoint.size), expected)
    return checkpoint
