"""Grows the transparency log over all journals and signs its checkpoints. Synchronous; `audit.daemon` runs it.

Each record gets its place in the order of reading. Order of writes in `commit`, and why a crash between is harmless:

1. fdatasync of every journal file read from: no leaf outlives its record.
2. tiles and entry bundles, then `places`: what lies beyond the signed size was promised to nobody; after a crash the
   journals are read again from the old cursors and these files are written again, perhaps in another order.
3. `auditor.json`: size, root and, by writer, the last record covered. From here on this order is the order.
4. `checkpoint`: signed over exactly that size. A crash before it: the next run signs the same tree.

A key gives way to another as `audit.rotating` says; what only an earlier key signed is signed again at start.
At start the stored tiles must give the root that `auditor.json` and the checkpoint name, else nothing is signed
(`LogForked`). Without `auditor.json` the cursors are derived again from the tree's entries and the journals.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Final

import orjson

from audit import durable
from audit.checkpoint import Checkpoint, CheckpointInvalid, Signer, claimed, with_line
from audit.log import TileLog, entries, root_at
from audit.proof import prove
from audit.reader import FULL, IntegrityError, JournalReader
from audit.rotation import succession
from audit.segment import Link, writers
from audit.stored import Piece, Recent
from audit.tiles import Tiles
from audit.verify import follow_tree
from audit.verifying.hashing import PLAIN, WORTH, fastest

COSIGNED: Final = "cosigned"
"""The latest checkpoint that a witness cosigned; `checkpoint` may be newer."""

ROTATED: Final = b'"event.action":"audit.key_rotated"'  # how a line says that the key is given up

_OWN: Final = "auditor"  # the writer whose records are the auditor's own
_STATE: Final = "auditor.json"
_VERSION: Final = 1
_SIDE_BY_SIDE: Final = 65_536  # bytes of lines from which hashing them side by side is faster
_LOG: Final = logging.getLogger("sekisho.auditor")


class LogForked(Exception):
    """What is stored contradicts what was signed: no further checkpoint will be."""


class LogLocked(OSError):
    """Another process grows this log."""


class Auditor:
    """Owns the log under `log`, exclusively, until `close`."""

    def __init__(self, journals: Path, log: Path, signer: Signer) -> None:
        """Lock and load; raises `LogLocked`, `LogForked`, `audit.log.LogDamaged`, CheckpointInvalid, OSError."""
        self.journals = journals
        self.folder = log
        self.refused: dict[str, IntegrityError] = {}  # by writer, from where on its records are not covered
        self._hashing = PLAIN  # until it is in a hurry
        self.more = False
        """Whether a journal held perhaps more at the last look than was taken in."""
        self.recent = Recent()
        """What was taken in lately, for those in this process who read the same records (`JournalReader`)."""
        self.rotations: list[tuple[int, bytes]] = []  # leaf and line of each rotation's record taken in since the start
        self.signer = signer
        durable.make_directory(log)
        self._lock = own(log)
        self._keys = succession(log, signer.verifier)
        self.signed = self._load_checkpoint()
        cursors, size, root = self._load_state()
        self._log = TileLog(log, size)
        self._check(size, root)
        if self.signed is not None and self.signed.origin == signer.name:
            self._sign_again()
        self._readers = {name: self._reader(name, link) for name, link in cursors.items()}
        self._places: list[str] = []
        self.covered: dict[str, Link] = dict(cursors) if self.signed and self.signed.size == size else {}

    @property
    def size(self) -> int:
        """Leaves so far, signed or not."""
        return self._log.size

    @property
    def pending(self) -> int:
        """Leaves that no checkpoint covers yet."""
        return self._log.size - (self.signed.size if self.signed else 0)

    @property
    def ends(self) -> dict[str, Link]:
        """How far each writer's journal was taken in; may be asked from any thread."""
        return {name: reader.link for name, reader in list(self._readers.items()) if reader.link.seq}

    @property
    def replaced(self) -> dict[str, Any] | None:
        """What is to be recorded of a lost key whose successor has signed nothing yet; None where there is none."""
        if self.signed is None or self.signed.origin == self.signer.name:
            return None
        link = self._keys.before[-1]
        return {
            "sekisho.by": link.record.get("sekisho.by"),
            "sekisho.justification": link.record.get("sekisho.justification"),
            "sekisho.key.old": link.old.encode(), "sekisho.key.new": self.signer.verifier.encode(),
            "sekisho.log.origin": self.signer.name, "sekisho.log.size": self.signed.size,
            "sekisho.log.root": self.signed.root.hex(),
        }  # fmt: skip

    def _reader(self, name: str, link: Link | None = None) -> JournalReader:
        return JournalReader(self.journals, name, link, expired=True, chained=self._chained)

    def hurry(self) -> None:
        """Hash many records side by side from now on, where that can be had; takes about a second."""
        self._hashing = fastest(WORTH)
        self._log.prefixed = self._prefixed

    def _chained(self, data: bytes, start: bytes, seq: int, prev: bytes) -> tuple[bytes, int]:
        if len(data) < _SIDE_BY_SIDE:
            return PLAIN.chained(data, start, seq, prev)
        try:
            return self._hashing.chained(data, start, seq, prev)
        except OSError:
            self._plainly()
            return PLAIN.chained(data, start, seq, prev)

    def _prefixed(self, prefix: bytes, rows: bytes, width: int) -> bytes:
        if len(rows) < _SIDE_BY_SIDE // 8:
            return PLAIN.prefixed(prefix, rows, width)
        try:
            return self._hashing.prefixed(prefix, rows, width)
        except OSError:
            self._plainly()
            return PLAIN.prefixed(prefix, rows, width)

    def _plainly(self) -> None:
        _LOG.error("hashing side by side gives another digest than OpenSSL here: records are hashed plainly again")
        self._hashing = PLAIN

    def poll(self) -> int:
        """Take in what the journals have grown by, one chunk of each; returns the number of records.

        A writer whose journal does not continue its chain goes to `refused` and is read no further: its records up to
        there stay covered, and the contradiction stands in the files for `verify` to name.
        """
        taken, self.more = 0, False
        for name in writers(self.journals):
            if name in self.refused:
                continue
            reader = self._readers.get(name)
            if reader is None:
                reader = self._readers[name] = self._reader(name)
            try:
                piece = reader.piece()
            except IntegrityError as error:
                self.refused[name] = error
                self.recent.leave(name)
                continue
            if piece is not None:
                self._take(name, piece)
                taken += piece.count
                self.more = self.more or len(piece.data) >= FULL
        return taken

    def _take(self, writer: str, piece: Piece) -> None:
        """Give a piece's records their places in the tree."""
        size = self._log.size
        self._places.append(f"{size} {writer} {piece.epoch} {piece.seq} {piece.count}\n")
        if writer == _OWN:
            self.rotations += ((size + at, line) for at, line in enumerate(piece.lines) if ROTATED in line)
        self._log.extend(piece.entries)
        self.recent.keep(writer, piece)

    def commit(self) -> Checkpoint | None:
        """Make everything taken in durable and sign it; returns the new checkpoint, None when nothing is new."""
        if not self.pending:
            return None
        for reader in self._readers.values():
            reader.sync()
        self._log.flush()
        if self._places:
            durable.append(self.folder / "places", "".join(self._places).encode())
            self._places = []
        checkpoint = Checkpoint(self.signer.name, self._log.size, self._log.root())
        self._save_state(checkpoint)
        self._refuse_fork()
        ends = self.ends
        durable.replace(self.folder / "checkpoint", self.signer.sign(checkpoint).encode())
        self.signed, self.covered = checkpoint, ends
        return checkpoint

    def attach(self, note: str, line: str) -> str:
        """Publish a cosignature of `note`, which this log signed; returns the note with all its lines. Raises OSError.

        `checkpoint` gets it while it is still the latest; `cosigned` is the latest checkpoint that has any, because a
        busy log signs the next one before a witness has answered. A crash between the two loses a cosignature only.
        """
        path, kept, checkpoint = self.folder / "checkpoint", self.folder / COSIGNED, claimed(note)
        before = claimed(kept.read_text()) if kept.exists() else None
        if checkpoint == self.signed:
            note = path.read_text()
        elif checkpoint == before:
            note = kept.read_text()
        text = with_line(note, line)
        if checkpoint == self.signed:
            durable.replace(path, text.encode())
        if before is None or before.size <= checkpoint.size:
            durable.replace(kept, text.encode())
        return text

    def prove(self, index: int, line: bytes) -> str:
        """Return the proof, as the text of a file, that `line` is leaf `index` under the latest checkpoint.

        Raises `audit.merkle.ProofInvalid`, ValueError where no checkpoint covers it, `audit.log.LogDamaged`.
        """
        if self.signed is None or index >= self.signed.size:
            raise ValueError(f"leaf {index} is not covered by a checkpoint")
        note = (self.folder / "checkpoint").read_text()
        return prove(Tiles(self.folder, self.signed.size), line, index, note, self.signed).encode()

    def succeed(self, signer: Signer) -> str:
        """Sign with another key from now on, the present tree first; returns its note. Raises OSError."""
        self.signer = signer
        self._keys = succession(self.folder, signer.verifier)
        self._sign_again()
        return (self.folder / "checkpoint").read_text()

    def _sign_again(self) -> None:
        """Sign the present tree where only an earlier key did."""
        if self.signed is None:
            return
        try:
            self.signer.verifier.open((self.folder / "checkpoint").read_text())
        except CheckpointInvalid:
            durable.replace(self.folder / "checkpoint", self.signer.sign(self.signed).encode())

    def close(self) -> None:
        """Let the log go."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _refuse_fork(self) -> None:
        """Raise unless the checkpoint on disk is the one signed last and the stored tiles still lead to it."""
        stored = self._load_checkpoint()
        if stored != self.signed:
            raise LogForked(f"the stored checkpoint is {stored}, the last one signed {self.signed}")
        if stored is not None and root_at(self.folder, stored.size) != stored.root:
            raise LogForked(f"the stored tiles do not lead to the root signed at size {stored.size}")

    def _load_checkpoint(self) -> Checkpoint | None:
        path = self.folder / "checkpoint"
        return self._keys.past.open(path.read_text()) if path.exists() else None

    def _check(self, size: int, root: bytes | None) -> None:
        if root is not None and self._log.root() != root:
            raise LogForked(f"the stored tiles do not lead to the root of {_STATE} at size {size}")
        if self.signed is None:
            return
        if self.signed.size > size:
            raise LogForked(f"{_STATE} knows {size} leaves, but {self.signed.size} were signed")
        self._refuse_fork()

    def _load_state(self) -> tuple[dict[str, Link], int, bytes | None]:
        path = self.folder / _STATE
        if path.exists():
            state = orjson.loads(path.read_bytes())
            cursors = {
                name: Link(epoch, seq, bytes.fromhex(entry)) for name, (epoch, seq, entry) in state["writers"].items()
            }
            return cursors, state["size"], bytes.fromhex(state["root"])
        if self.signed is None:
            return {}, 0, None
        size = self.signed.size
        return follow_tree(self.journals, entries(self.folder, size)), size, self.signed.root

    def _save_state(self, checkpoint: Checkpoint) -> None:
        cursors = {
            name: (reader.link.epoch, reader.link.seq, reader.link.entry.hex())
            for name, reader in self._readers.items()
            if reader.link.seq
        }
        state = {"v": _VERSION, "size": checkpoint.size, "root": checkpoint.root.hex(), "writers": cursors}
        durable.replace(self.folder / _STATE, orjson.dumps(state))


def own(folder: Path) -> int:
    """Take the log under `folder` for this process until the descriptor is closed; raises `LogLocked`, OSError."""
    return durable.own(folder, "grows this log", LogLocked)
