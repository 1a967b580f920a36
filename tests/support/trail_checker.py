"""A second opinion on a journal's folder: reads the files with nothing but the format's description.

It shares no code with `audit`: the lines of `audit.segment` are parsed and chained here once more (SHA-256 over salt
and body bytes), and what has to hold after a crash is asked of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = re.compile(r"(\d{6})-(\d{12})\.(jsonl|active)")
_LINE = re.compile(rb'\{"salt":"([0-9a-f]{32})","body":(\{.*\})\}', re.DOTALL)
_STRAYS = ("lock",)


@dataclass(frozen=True)
class Stored:
    """One record."""

    epoch: int
    seq: int
    body: dict[str, Any]


def read(folder: Path) -> tuple[list[Stored], list[str]]:
    """Return every record of one writer in order, and what is wrong with the folder, one sentence a fault."""
    wrong: list[str] = []
    names = sorted(path.name for path in folder.iterdir())
    found: list[Stored] = []
    entry, epoch, seq = bytes(32), 0, 0
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            if name not in _STRAYS and not name.endswith(".torn"):
                wrong.append(f"{name}: a file that nothing explains")
            continue
        if match[3] == "active" and f"{name[:-7]}.jsonl" in names:
            wrong.append(f"{name}: also sealed")
        if int(match[1]) != epoch:
            epoch, seq = int(match[1]), 0
        data = (folder / name).read_bytes()
        if data[-1:] != b"\n" or int(match[2]) != seq + 1:
            wrong.append(f"{name}: ends within a record, or does not begin with record {seq + 1}")
        for line in data.splitlines():
            body, entry, fault = _one(line, folder.name, epoch, seq := seq + 1, entry)
            if fault:
                return found, [*wrong, f"{name}: record {seq}: {fault}"]
            found.append(Stored(epoch, seq, body))
    if [each.epoch for each in found] != sorted(each.epoch for each in found):
        wrong.append("epochs are out of order")
    return found, wrong + _torn(folder, found)


def entries(folder: Path) -> list[bytes]:
    """Return the entry of every record of one writer: SHA-256 over salt and body bytes."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    found = [_LINE.fullmatch(line) for line in lines]
    return [hashlib.sha256(bytes.fromhex(one[1].decode()) + one[2]).digest() for one in found if one is not None]


def _one(line: bytes, writer: str, epoch: int, seq: int, prev: bytes) -> tuple[dict[str, Any], bytes, str]:
    match = _LINE.fullmatch(line)
    if match is None:
        return {}, b"", f"no record: {line[:60]!r}"
    body = json.loads(match[2])
    got = body["writer"], body["epoch"], body["seq"], body["prev"]
    wanted = writer, epoch, seq, prev.hex()
    entry = hashlib.sha256(bytes.fromhex(match[1].decode()) + match[2]).digest()
    return body, entry, "" if got == wanted else f"got {got}, expected {wanted}"


def _torn(folder: Path, found: list[Stored]) -> list[str]:
    """Return the tails set aside that no record tells of, with their size."""
    told = {(each.body.get("sekisho.journal.torn.file"), each.body.get("sekisho.journal.torn.bytes")) for each in found}
    aside = {(path.name, path.stat().st_size) for path in folder.glob("*.torn")}
    return [f"{name}: {size} bytes set aside, and no record tells of them" for name, size in sorted(aside - told)]


def lost_or_forged(found: list[Stored], told: list[tuple[str, int]], submitted: set[int], *, died: bool) -> list[str]:
    """Compare what is stored with what the writer was told (`w` written, `s` synced, `x` refused) of what it submitted.

    `died`: the process was killed, so that nobody could be told of the last ones, or write down a gap.
    """
    numbers = [each.body["sekisho.count"] for each in found if "sekisho.count" in each.body]
    wrong = [f"record {number} was acknowledged and is missing" for kind, number in told
             if kind in "ws" and number not in numbers]  # fmt: skip
    wrong += [f"record {number} was never submitted" for number in set(numbers) - submitted]
    wrong += [f"record {number} is stored {numbers.count(number)} times"
              for number in set(numbers) if numbers.count(number) > 1]  # fmt: skip
    if not died:
        wrong += [f"nobody was told of record {number}" for number in submitted - {number for _, number in told}]
        refused = {number for kind, number in told if kind == "x"}
        stored = [each for each in found if each.body.get("sekisho.count") in refused and not _admitted(each, found)]
        wrong += [f"record {each.body['sekisho.count']} was refused, is stored, and no gap says so" for each in stored]
    return wrong


def _admitted(one: Stored, found: list[Stored]) -> bool:
    """Whether a gap says that this refused record may be there."""
    name = "sekisho.gap.unacknowledged."
    return any(
        each.body.get(f"{name}epoch") == one.epoch and each.body[f"{name}first"] <= one.seq <= each.body[f"{name}last"]
        for each in found
    )
