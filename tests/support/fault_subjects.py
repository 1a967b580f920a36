"""What the fault matrix is run on: a journal's writer, the auditor, and everything that keeps a place beside them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.auditor import Auditor
from audit.checkpoint import generate, read_signer
from audit.event import Action, event
from audit.journal import Journal
from audit.segment import GENESIS, encode, head, name_of
from audit.segment_writer import SegmentWriter
from audit.verify import verify_journals
from tests.support import cursor_process
from tests.support.fault_cells import Run, Subject
from tests.support.power_loss import told_too_early
from tests.support.trail_checker import entries, lost_or_forged, read
from tests.support.trails import Trail, decision

WRITER = "worker-0"
COUNT = 9
FOUND = (1000, 1001)  # numbers of the records that are there before
TORN = b'{"salt":"00'  # what the crash left of the one that it struck
AFTER = 9999  # number of the record that is written at the end
_TILES = 3  # that the log may have of a level
_WIDTH = 256


# -- a journal's writer -----------------------------------------------------------------------------------------------


def journal_subject() -> Subject:
    """A writer that finds the rest of a crash, keeps a few records in several segments and ends."""
    return Subject("journal", _crashed, _journal_command, _journal_paths, _check_journal)


def _crashed(folder: Path) -> None:
    """An unsealed segment with a torn tail, and an epoch that never began."""
    files = SegmentWriter(folder / WRITER, WRITER)
    files.acquire()
    prev = GENESIS.hex().encode()
    lines: list[bytes] = []
    for seq, number in enumerate(FOUND, 1):
        payload = orjson.dumps(event(Action.REQUEST_DECIDED, 1.0, {"sekisho.count": number}))
        line, prev = encode(head(WRITER, 1), seq, prev, bytes(16), payload)
        lines.append(line)
    files.begin(1, lines[0], 0.0)
    files.write(lines[1] + TORN, 1, 2, 0.0)
    files.release()
    (files.folder / name_of(2, 1, "opening")).write_bytes(b"{")


def _journal_command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.support.journal_process", str(folder), str(COUNT), "wait", "steady"]


def _journal_paths(folder: Path) -> Iterable[Path]:
    yield from (folder, folder / WRITER, folder / WRITER / "lock", folder.with_suffix(".told"))
    suffixes = ("opening", "active", "jsonl", "jsonl.tmp", "torn", "torn.tmp")
    for epoch, seq, suffix in itertools.product(range(1, 6), range(1, COUNT + 6), suffixes):
        yield folder / WRITER / name_of(epoch, seq, suffix)


def _check_journal(folder: Path, ended: Run) -> list[str]:
    told = [(kind, int(number)) for kind, number in (line.split() for line in ended.said)]
    asyncio.run(_one_more(folder))
    verify_journals(folder)
    found, wrong = read(folder / WRITER)
    wrong += told_too_early(ended.trace)
    aside = folder / WRITER / name_of(1, 1, "torn")
    if not aside.exists() or aside.read_bytes() != TORN:
        wrong.append("the tail that the crash left is not set aside")
    told += [("s", number) for number in (*FOUND, AFTER)]
    return wrong + lost_or_forged(found, told, {*range(COUNT), *FOUND, AFTER}, died=ended.code != 0)


async def _one_more(folder: Path) -> None:
    journal = Journal(folder, WRITER, segment_bytes=1500, segment_age=3600, stall_limit=30)
    journal.open(asyncio.get_running_loop())
    try:
        await journal.record(event(Action.REQUEST_DECIDED, 1.0, {"sekisho.count": AFTER}))
    finally:
        journal.close(5)


# -- the auditor ------------------------------------------------------------------------------------------------------


def auditor_subject() -> Subject:
    """An auditor that takes in two journals, the second one over the end of the first tile."""
    return Subject("auditor", _two_journals, _auditor_command, _auditor_paths, _check_auditor)


def _two_journals(folder: Path) -> None:
    signer = generate("log.example")
    (folder / "key").write_text(signer.encode())
    (folder / "key").chmod(0o600)
    (folder / "public").write_text(signer.verifier.encode())
    (folder / "journal").mkdir()
    trail = Trail(folder / "hidden", folder / "log", signer)
    for writer in ("worker-0", "worker-1"):
        trail.write(writer, [decision(number) for number in range(140)], segment_bytes=1 << 20)


def _auditor_command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.support.auditor_process", str(folder)]


def _auditor_paths(folder: Path) -> Iterable[Path]:
    log = folder / "log"
    yield from (
        folder,
        folder / "journal",
        folder.with_suffix(".told"),
        log,
        log / "lock",
        log / "places",
        log / "tile",
    )
    for path in (folder / "hidden").rglob("*"):
        yield from (path, folder / "journal" / path.relative_to(folder / "hidden"))
    yield from (log / f"{name}{suffix}" for name in ("auditor.json", "checkpoint") for suffix in ("", ".tmp"))
    for level in ("entries", "0", "1"):
        yield log / "tile" / level
        for number in range(_TILES):
            tile = log / "tile" / level / f"{number:03d}"
            partial = tile.with_name(f"{tile.name}.p")
            yield from (tile, tile.with_name(f"{tile.name}.tmp"), partial)
            yield from (partial / f"{width}{suffix}" for width in range(1, _WIDTH) for suffix in ("", ".tmp"))


def _check_auditor(folder: Path, ended: Run) -> list[str]:
    _take_in_all(folder)
    verifier = read_signer((folder / "key").read_text()).verifier
    verify_journals(folder / "journal", folder / "log", verifier)
    wrong: list[str] = []
    bundles = sorted((folder / "log" / "tile" / "entries").rglob("*"), key=_bundle_order)
    tree = _leaves(bundles)
    size, root = _signed(folder)
    for said in [*ended.said, f"s {size} {root.hex()}"]:
        _, told_size, told_root = said.split()
        if _merkle_root(tree[: int(told_size)]).hex() != told_root:
            wrong.append(f"the root told for {told_size} leaves is not the one of the stored entries")
    stored = {name: entries(folder / "hidden" / name) for name in ("worker-0", "worker-1")}
    for name, wanted in stored.items():
        mine = set(wanted)
        if [entry for entry in tree[:size] if entry in mine] != wanted:
            wrong.append(f"{name}: its records are not in the tree, each once and in order")
    return wrong + _places(folder / "log" / "places", tree[:size], stored)


def _take_in_all(folder: Path) -> None:
    for name in ("worker-0", "worker-1"):
        shown = folder / "journal" / name
        if not shown.is_symlink():
            shown.symlink_to(folder / "hidden" / name)
    auditor = Auditor(folder / "journal", folder / "log", read_signer((folder / "key").read_text()))
    try:
        while auditor.poll():
            pass
        auditor.commit()
    finally:
        auditor.close()


def _bundle_order(path: Path) -> tuple[int, int]:
    """Full bundles before partial ones of the same number, wider ones last."""
    partial = path.parent.suffix == ".p"
    return int(path.parent.stem if partial else path.stem), int(path.name) if partial and path.is_file() else _WIDTH


def _leaves(bundles: list[Path]) -> list[bytes]:
    """Read the widest entry bundle of each number (C2SP tlog-tiles: uint16 length, entry)."""
    widest: dict[int, bytes] = {}
    for path in bundles:
        if path.is_file() and not path.name.endswith(".tmp"):
            widest[_bundle_order(path)[0]] = path.read_bytes()
    found: list[bytes] = []
    for _, data in sorted(widest.items()):
        found += [data[at + 2 : at + 34] for at in range(0, len(data), 34)]
    return found


def _merkle_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, as it is written there."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _merkle_root(leaves[:middle]) + _merkle_root(leaves[middle:])).digest()


def _signed(folder: Path) -> tuple[int, bytes]:
    """Check the checkpoint's signature (C2SP signed-note) and return size and root."""
    body, _, signatures = (folder / "log" / "checkpoint").read_text().partition("\n\n")
    _, size, root = body.split("\n")
    key = base64.b64decode((folder / "public").read_text().strip().split("+", 2)[2])[1:]
    signature = base64.b64decode(signatures.split()[2])[4:]
    Ed25519PublicKey.from_public_bytes(key).verify(signature, f"{body}\n".encode())
    return int(size), base64.b64decode(root)


def _places(path: Path, tree: list[bytes], stored: dict[str, list[bytes]]) -> list[str]:
    named: dict[int, bytes] = {}
    for line in path.read_text().splitlines():
        parts = line.split()
        if len(parts) != 5 or parts[1] not in stored:
            return [f"places: {line!r} is no line of it"]
        start, first, count = int(parts[0]), int(parts[3]), int(parts[4])
        for offset in range(count):
            named[start + offset] = stored[parts[1]][first - 1 + offset]
    return [] if [named.get(index) for index in range(len(tree))] == tree else ["places names other records"]


# -- cursors ----------------------------------------------------------------------------------------------------------


def cursor_subject() -> Subject:
    """The shipper's cursor, the index's manifest, dead letters, the queue of checkpoints, the state of detection."""
    return Subject("cursor", _some_journal, _cursor_command, _cursor_paths, _check_cursors)


def _some_journal(folder: Path) -> None:
    Trail(folder / "journal", folder / "log", generate("log.example")).write("worker-0", [decision(1)])


def _cursor_command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.support.cursor_process", str(folder)]


def _cursor_paths(folder: Path) -> Iterable[Path]:
    names = ("cursor.json", "index/manifest.json", "dead-letters.ndjson", "dead-letters.settled", "checkpoints",
             "detection.json")  # fmt: skip
    yield from (folder, folder / "index", folder.with_suffix(".told"))
    yield from (folder / f"{name}{suffix}" for name in names for suffix in ("", ".tmp"))


def _check_cursors(folder: Path, ended: Run) -> list[str]:
    died = ended.code != 0
    told = [(kind, what, int(number)) for kind, what, number in (line.split() for line in ended.said)]
    last = cursor_process.STEPS + 1
    (folder / "index").mkdir(exist_ok=True)
    for what, step in cursor_process.steps(folder).items():  # loads what is there, and goes on
        _check_before(folder)
        step(last)
        told.append(("s", what, last))
    return _check_lines(folder, told, died=died) + [
        f"{path.name}: a file that nothing explains" for path in folder.rglob("*.tmp")
    ]


def _check_before(folder: Path) -> None:
    """Every file is either not there or whole."""
    for path in (folder / "cursor.json", folder / "index" / "manifest.json", folder / "detection.json"):
        if path.exists():
            json.loads(path.read_text())


def _check_lines(folder: Path, told: list[tuple[str, str, int]], *, died: bool) -> list[str]:
    """What was told as durable is there, once; what was refused is not."""
    found = {
        "letter": [int(json.loads(line)["id"]) for line in (folder / "dead-letters.ndjson").read_text().splitlines()],
        "settled": [int(line) for line in (folder / "dead-letters.settled").read_text().splitlines()],
    }
    wrong: list[str] = []
    for what, numbers in found.items():
        kept = {number for kind, name, number in told if name == what and kind == "s"}
        refused = {number for kind, name, number in told if name == what and kind == "x"}
        if len(set(numbers)) < len(numbers) or kept - set(numbers) or refused & set(numbers):
            wrong.append(f"{what}: stored {numbers}, told {sorted(kept)}, refused {sorted(refused)}")
        if not died and set(numbers) != kept:
            wrong.append(f"{what}: stored {numbers}, told {sorted(kept)}")
    queue = [json.loads(line)["body"]["sekisho.log.size"] for line in (folder / "checkpoints").read_text().splitlines()]
    if queue != [cursor_process.STEPS + 1]:
        wrong.append(f"checkpoints: {queue} wait, expected the last one")
    for path, at in ((folder / "cursor.json", "done"), (folder / "index" / "manifest.json", "links")):
        if json.loads(path.read_text())[at]["worker-0"][1] != cursor_process.STEPS + 1:
            wrong.append(f"{path.name}: not at the last step")
    return wrong
