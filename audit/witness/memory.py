"""What a witness remembers of each log, and the order of its writes. Synchronous; may be called from any thread.

`<name>.json` under the folder is the largest checkpoint cosigned of one log (`<name>` is made from its origin), with
the note that proved it. One request, under one lock, so that no two are judged against the same memory:

1. read the file, judge. Nothing is kept between requests but on disk.
2. the file is replaced and synced. From here on nothing smaller or contradicting is cosigned, also after a crash.
3. sign, and answer.

A crash before 2: as if the request had not come. Between 2 and 3: the log has no cosignature for a checkpoint that is
remembered; it asks again, is told the size (409), and gets the cosignature for the same tree. A failed write is
answered 500 and signs nothing; whichever content the disk then has, the next request is judged against it and written
again before it is answered. `<name>.findings.json` is what contradicted: a log's own signature under it is the proof.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from audit import durable
from audit.checkpoint import Checkpoint, CheckpointInvalid, Cosigner, Verifier, claimed
from audit.witness.protocol import Finding, Refused, Submission, judge, read_submission

_VERSION: Final = 1


class MemoryInvalid(Exception):
    """The memory is not what a witness wrote: nothing is cosigned."""


@dataclass(frozen=True, slots=True)
class Known:
    """The checkpoint cosigned last, when (seconds since the epoch), and the note that proved it."""

    checkpoint: Checkpoint
    time: int
    note: str


class Witness:
    """One witness over its folder, which it owns exclusively until `close`."""

    def __init__(self, folder: Path, signer: Cosigner, logs: Mapping[str, Sequence[Verifier]]) -> None:
        """`logs` are the trusted keys by origin. Raises OSError, also where another process owns the folder."""
        durable.make_directory(folder)
        self._folder = folder
        self._signer = signer
        self._logs = logs
        self._lock = threading.Lock()
        self._descriptor = durable.own(folder, "remembers here")
        for origin in logs:
            self.known(origin)  # a damaged memory is told at the start, not at the first request

    def known(self, origin: str) -> Known | None:
        """Return what is remembered of a log; raises `MemoryInvalid`."""
        path = self._folder / f"{file_name(origin)}.json"
        try:
            row = orjson.loads(path.read_bytes())
            known = Known(Checkpoint(row["origin"], row["size"], bytes.fromhex(row["root"])), row["time"], row["note"])
            said = claimed(known.note)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, CheckpointInvalid) as error:
            raise MemoryInvalid(f"{path}: {error!r}: expected what this witness wrote") from error
        if known.checkpoint.origin != origin or said != known.checkpoint:
            raise MemoryInvalid(f"{path}: got {known.checkpoint}, expected what its note says of {origin}")
        return known

    def add(self, body: bytes, now: float) -> str:
        """Return the cosignature line for a request; raises `Refused`, `MemoryInvalid`, OSError.

        The line is made after the memory is durable.
        """
        submission = read_submission(body)
        with self._lock:
            origin = submission.note.partition("\n")[0]
            known = self.known(origin) if origin in self._logs else None
            try:
                checkpoint = judge(submission, known.checkpoint if known else None, self._logs)
            except Refused as refusal:
                if refusal.finding is not Finding.NOTHING:
                    self._note(origin, refusal.finding, submission, now)
                raise
            seconds = max(int(now), known.time if known else 0)  # a clock set back makes no earlier statement
            self._remember(checkpoint, seconds, submission.note)
        return self._signer.cosign(checkpoint, seconds)

    def close(self) -> None:
        """Let the folder go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _remember(self, checkpoint: Checkpoint, seconds: int, note: str) -> None:
        row = {"v": _VERSION, "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
               "time": seconds, "note": note}  # fmt: skip
        durable.replace(self._folder / f"{file_name(checkpoint.origin)}.json", orjson.dumps(row))

    def _note(self, origin: str, finding: Finding, submission: Submission, now: float) -> None:
        """Write down a truly signed checkpoint that contradicts; the first of each kind, the last, and how many.

        A disk that refuses this changes nothing about the refusal.
        """
        path = self._folder / f"{file_name(origin)}.findings.json"
        found: dict[str, Any] = orjson.loads(path.read_bytes()) if path.exists() else {}
        before = found.get(finding.value, {})
        this = {"at": int(now), "size": claimed(submission.note).size, "old": submission.old, "note": submission.note}
        repeated = before.get("last", {}).get("note") == submission.note
        found[finding.value] = {"count": before.get("count", 0) + 1, "first": before.get("first", this), "last": this}
        if not repeated:
            _say(f"{origin}: {finding.value}: refused a signed checkpoint of size {this['size']}")
        try:
            durable.replace(path, orjson.dumps(found))
        except OSError as error:
            _say(f"{path}: {error.strerror}")


def file_name(origin: str) -> str:
    """Return the name of a log's files: an origin may hold slashes and be long."""
    return hashlib.sha256(origin.encode()).hexdigest()[:32]


def _say(text: str) -> None:
    sys.stderr.write(f"witness: {text}\n")
    sys.stderr.flush()
