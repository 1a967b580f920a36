"""One bundle in a process of its own: `python -m audit.bundle.child`, a job on standard input, NDJSON out.

In: one line of JSON with `journals`, `log` (folders), `key` (file), the fields of `selection.Selection`, `about` (goes
into the manifest) and `count_only`. Out: `{"file", "data": base64}` for each part, `{"progress": records}` now and
then. After the records `{"named": {"policies", "first", "last"}}` asks for a second line of input: `policies` and
`receipts`, texts by name. The last line is `{"done": {"records", "uncovered", "policies_missing", "digest"}}`.

The process ends when its input closes, so it cannot outlive whoever asked.
"""

from __future__ import annotations

import base64
import os
import queue
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import orjson

from audit.bundle.contents import Bundle, Part, coverage
from audit.bundle.covered import Coverage, NotAsWritten
from audit.bundle.selection import NoSuchCase, Selection, select
from audit.checkpoint import CheckpointInvalid, read_verifier
from audit.log import LogDamaged
from audit.merkle import ProofInvalid
from audit.reader import IntegrityError
from audit.weight import lighten

NOT_AS_WRITTEN: Final = 7
NO_SUCH_CASE: Final = 3
_TELL_EVERY: Final = 1000  # records


def main() -> int:
    """Carry out the job; returns the exit code. What went wrong is the last line of standard error."""
    lighten()
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_input, args=(lines,), daemon=True).start()
    try:
        _make(orjson.loads(lines.get()), lines)
    except NoSuchCase as error:
        sys.stderr.write(f"{error}\n")
        return NO_SUCH_CASE
    except (NotAsWritten, LogDamaged, ProofInvalid, CheckpointInvalid, IntegrityError) as error:
        sys.stderr.write(f"{error}\n")
        return NOT_AS_WRITTEN
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _make(job: dict[str, Any], lines: queue.SimpleQueue[bytes]) -> None:
    log = Path(job["log"])
    verifier = read_verifier(Path(job["key"]).read_text(encoding="utf-8"))
    note = (log / "checkpoint").read_text(encoding="utf-8")
    checkpoint = verifier.open(note)
    selection = Selection(**job["selection"])
    leaves = coverage(log, checkpoint)
    covered = leaves.of(select(Path(job["journals"]), selection))
    if job["count_only"]:
        _put({"done": {"records": sum(1 for _ in covered), "uncovered": leaves.uncovered}})
        return
    bundle = Bundle(note, checkpoint, verifier, selection)
    _records(bundle, bundle.records(covered))
    named = bundle.named
    _put({"named": {"policies": named.policies, "first": named.first, "last": named.last}})
    given = orjson.loads(lines.get())
    _parts(bundle.rest(leaves.tiles, given["policies"], given["receipts"]))
    manifest, digest = bundle.manifest(leaves.uncovered, job["about"])
    _parts([manifest])
    _put({"done": _told(bundle, leaves, digest, given["policies"])})


def _told(bundle: Bundle, leaves: Coverage, digest: str, policies: dict[str, str]) -> dict[str, Any]:
    missing = [name for name in bundle.named.policies if name not in policies]
    return {"records": bundle.count, "uncovered": leaves.uncovered, "policies_missing": missing, "digest": digest}


def _records(bundle: Bundle, parts: Iterable[Part]) -> None:
    told = 0
    for part in parts:
        _parts([part])
        if bundle.count >= told + _TELL_EVERY:
            told = bundle.count
            _put({"progress": told})


def _parts(parts: Iterable[Part]) -> None:
    for part in parts:
        _put({"file": part.file, "data": base64.b64encode(part.data).decode()})


def _put(value: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.buffer.flush()


def _input(lines: queue.SimpleQueue[bytes]) -> None:
    """Hand over each line; exit as soon as whoever asked is gone. Reads below `sys.stdin`, whose lock is not ours."""
    held = b""
    while data := os.read(0, 65536):
        *whole, held = (held + data).split(b"\n")
        for line in whole:
            lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
