"""The files of a bundle, as parts to be written in their order; with a manifest at the end. Constant memory.

`events.ndjson.gz` holds the lines of the journals, byte for byte, in the order of the log; each line of
`proofs.ndjson.gz` proves the same line there: `{"id", "index", "path": [base64 …]}` up to the one `checkpoint`.
`checkpoints.ndjson` are the latest that a witness cosigned, and those kept of the time after the records' first and
after their last, each with the proof that `checkpoint` continues it. `manifest.json` has the SHA-256 of every other
file: its own digest stands for the bundle.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from audit.auditor import COSIGNED
from audit.bundle.covered import Coverage, Covered
from audit.bundle.selection import Selection
from audit.checkpoint import Checkpoint, CheckpointInvalid, Verifier
from audit.event import timestamp
from audit.issued import issued
from audit.proof import check_consistency
from audit.scan import time_of
from audit.segment import record_of
from audit.tiles import Tiles

FORMAT: Final = "sekisho-bundle/1"
MANIFEST: Final = "manifest.json"
_PART: Final = 48 * 1024  # bytes
_GZIP: Final = 31  # zlib's window bits for the gzip format; its header has no time, so equal content is equal bytes
_HERE: Final = Path(__file__).parent


class Part(NamedTuple):
    """Some bytes more of one file."""

    file: str
    data: bytes


@dataclass(slots=True)
class _Files:
    """What was handed out so far, by file."""

    digests: dict[str, tuple[Any, int]] = field(default_factory=dict)

    def part(self, name: str, data: bytes) -> Part:
        digest, size = self.digests.get(name) or (hashlib.sha256(), 0)
        digest.update(data)
        self.digests[name] = digest, size + len(data)
        return Part(name, data)

    def told(self) -> dict[str, Any]:
        return {
            name: {"sha256": digest.hexdigest(), "bytes": size} for name, (digest, size) in sorted(self.digests.items())
        }


class _Packed:
    """One file that is compressed as it grows."""

    def __init__(self, files: _Files, name: str) -> None:
        self._files = files
        self._name = name
        self._packer = zlib.compressobj(9, wbits=_GZIP)
        self._held = b""

    def add(self, line: bytes) -> Iterator[Part]:
        self._held += self._packer.compress(line)
        if len(self._held) >= _PART:
            yield self._files.part(self._name, self._held)
            self._held = b""

    def end(self) -> Iterator[Part]:
        yield self._files.part(self._name, self._held + self._packer.flush())


@dataclass(frozen=True, slots=True)
class Named:
    """What the records of a bundle refer to."""

    policies: tuple[str, ...]
    first: str  # RFC 3339 times of the records, "" without any
    last: str


@dataclass(slots=True)
class _Seen:
    """What the manifest says of the records."""

    writers: dict[str, int] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(
        default_factory=list
    )  # writer, epoch, first and last number: nothing between is missing
    policies: set[str] = field(default_factory=set)
    first: str = ""
    last: str = ""
    _open: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, each: Covered) -> None:
        raw = each.raw
        self.writers[raw.writer] = self.writers.get(raw.writer, 0) + 1
        time = time_of(raw.line).decode(errors="replace")
        self.first = min(self.first or time, time)
        self.last = max(self.last, time)
        if b'"sekisho.policy.hash"' in raw.line:
            self.policies.add(str(record_of(raw.line).get("sekisho.policy.hash")))
        if each.gapless:
            self._extend(raw.writer, *raw.position)

    def _extend(self, writer: str, epoch: int, seq: int) -> None:
        run = self._open.get(writer)
        if run is not None and (run["epoch"], run["last"] + 1) == (epoch, seq):
            run["last"] = seq
            return
        self._open[writer] = run = {"writer": writer, "epoch": epoch, "first": seq, "last": seq}
        self.runs.append(run)


class Bundle:
    """The making of one bundle: read `records`, then `rest` with what `named` asks for, then `manifest`."""

    def __init__(self, note: str, checkpoint: Checkpoint, verifier: Verifier, selection: Selection) -> None:
        self._note = note
        self._checkpoint = checkpoint
        self._verifier = verifier
        self._selection = selection
        self._files = _Files()
        self._seen = _Seen()

    @property
    def count(self) -> int:
        """Records so far."""
        return sum(self._seen.writers.values())

    @property
    def named(self) -> Named:
        """What the records name, once they were all read."""
        return Named(tuple(sorted(self._seen.policies)), self._seen.first, self._seen.last)

    def records(self, covered: Iterable[Covered]) -> Iterator[Part]:
        """Yield the parts of the records and of their proofs."""
        lines, proofs = _Packed(self._files, "events.ndjson.gz"), _Packed(self._files, "proofs.ndjson.gz")
        for each in covered:
            self._seen.take(each)
            path = [base64.b64encode(node).decode() for node in each.path]
            yield from lines.add(each.raw.line)
            yield from proofs.add(orjson.dumps({"id": each.raw.id, "index": each.index, "path": path}) + b"\n")
        yield from lines.end()
        yield from proofs.end()

    def rest(self, tiles: Tiles, policies: Mapping[str, str], receipts: Mapping[str, str]) -> Iterator[Part]:
        """Yield everything else but the manifest: `policies` by hash, `receipts` by name."""
        part = self._files.part
        yield part("checkpoint", self._note.encode())
        yield part("checkpoint.pub", self._verifier.encode().encode() + b"\n")
        past = b"".join(orjson.dumps(each) + b"\n" for each in self._past(tiles))
        if past:
            yield part("checkpoints.ndjson", past)
        for name, source in policies.items():
            yield part(f"policies/{name}.yaml", source.encode())
        for name, text in receipts.items():
            yield part(f"receipts/{name}.json", text.encode())
        yield part("README.txt", (_HERE / "readme.txt").read_bytes())
        yield part("verify.py", (_HERE / "verify_bundle.py").read_bytes())

    def manifest(self, uncovered: Mapping[str, int], about: Mapping[str, Any]) -> tuple[Part, str]:
        """Return the manifest and its SHA-256 in hex; `about` says who made the bundle, when and why."""
        missing = [name for name in self.named.policies if f"policies/{name}.yaml" not in self._files.digests]
        text = orjson.dumps({
            "format": FORMAT, **about, "selection": self._selection.told(),
            "log": {"origin": self._checkpoint.origin, "size": self._checkpoint.size},
            "records": self.count, "writers": dict(sorted(self._seen.writers.items())),
            "runs": self._seen.runs, "uncovered": dict(sorted(uncovered.items())),
            "policies": list(self.named.policies), "policies_missing": missing, "files": self._files.told(),
        }, option=orjson.OPT_INDENT_2) + b"\n"  # fmt: skip
        return Part(MANIFEST, text), hashlib.sha256(text).hexdigest()

    def _past(self, tiles: Tiles) -> Iterator[dict[str, Any]]:
        """The latest one cosigned; the first one kept after the records' first time, and after the last."""
        cosigned = tiles.folder / COSIGNED
        if cosigned.is_file():
            yield from self._continued(tiles, "cosigned", cosigned.read_text(encoding="utf-8"))
        wanted = [time for time in (self.named.first, self.named.last) if time]
        for each in issued(tiles.folder):
            if not wanted:
                return
            at = timestamp(each.at)
            if at < wanted[0]:
                continue
            wanted = [time for time in wanted if time > at]
            yield from self._continued(tiles, at, each.note)

    def _continued(self, tiles: Tiles, kept: str, note: str) -> Iterator[dict[str, Any]]:
        """One older checkpoint and its proof; none of an earlier key or where it is the bundle's own."""
        try:
            past = self._verifier.open(note)
        except CheckpointInvalid:
            return
        if past.size < self._checkpoint.size:
            path = check_consistency(tiles, past, self._checkpoint)
            yield {"kept": kept, "note": note, "path": [base64.b64encode(node).decode() for node in path]}


def coverage(log: Path, checkpoint: Checkpoint) -> Coverage:
    """Return who finds the leaves of this checkpoint's tree."""
    return Coverage(Tiles(log, checkpoint.size), checkpoint)
