"""Verifies an evidence bundle of Sekisho alone: the standard library and `cryptography`, nothing else, on any system.

    python verify.py --key checkpoint.pub [--digest SHA256] [BUNDLE]

BUNDLE is the folder (default: where this file lies). Order: the manifest and every file's SHA-256; the
checkpoint's signature by the given key; each record: line → entry = SHA-256(salt ‖ body) → leaf = SHA-256(0x00 ‖ entry)
→ the checkpoint's root by its audit path (RFC 6962), the chain to the record before it, and that none is missing where
the manifest says so; older checkpoints; policy versions.

Exit status: 0 all holds, 1 something does not (the first bad record is named), 2 wrong usage, 3 all holds, but only by
the key in the bundle itself, which proves nothing about who made it.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import gzip
import hashlib
import itertools
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "sekisho-bundle/1"
GOOD, BAD, USAGE, UNTRUSTED = 0, 1, 2, 3
_LINE = 4 * 1024 * 1024  # bytes; a record is far shorter
_BODY = 50  # where the body begins in `{"salt":"<32 hex>","body":`
_SALT = slice(9, 41)
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zlib.error)


State = tuple[int, bytes]
"""Size and root of a log."""


class Bad(Exception):
    """Something does not hold: in Japanese and in English."""

    def __init__(self, ja: str, en: str) -> None:
        super().__init__(en)
        self.ja = ja
        self.en = en


def say(ja: str, en: str) -> None:
    """Write one line, in English alone where the console has no Japanese."""
    try:
        ja.encode(sys.stdout.encoding or "ascii")
        text = f"{ja} / {en}"
    except (UnicodeEncodeError, LookupError):
        text = en
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def names_in(bundle: Path) -> set[str]:
    """Names of all files of a folder, with `/` between folders."""
    files = (path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file())
    return {file.as_posix() for file in files if "__pycache__" not in file.parts}


class Key:
    """A verifier key `<name>+<hash>+<base64(0x01 ‖ key)>` (C2SP signed-note, Ed25519)."""

    def __init__(self, text: str) -> None:
        self.name, hashed, material = text.strip().split("+", 2)
        raw = base64.b64decode(material, validate=True)
        self.hash = hashlib.sha256(self.name.encode() + b"\n" + raw).digest()[:4]
        if len(raw) != 33 or raw[0] != 1 or self.hash.hex() != hashed:
            raise ValueError("not an Ed25519 verifier key")
        self.key = Ed25519PublicKey.from_public_bytes(raw[1:])

    def opened(self, note: str) -> State | None:
        """(size, root) of the checkpoint that the note proves, None where this key did not sign it."""
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        for line in signatures.split("\n"):
            name, _, value = line[2:].rpartition(" ")
            if not line.startswith("\u2014 ") or name != self.name:
                continue
            try:
                signature = base64.b64decode(value, validate=True)
                if signature[:4] != self.hash:
                    continue
                self.key.verify(signature[4:], text.encode())
            except (InvalidSignature, binascii.Error):
                return None
            origin, size, root, rest = text.split("\n")
            if origin != self.name or rest:
                return None
            return int(size), base64.b64decode(root, validate=True)
        return None


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of the parts put together."""
    return hashlib.sha256(b"".join(parts)).digest()


def split(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1


def root_of(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that an audit path leads to (RFC 6962, 2.1.1), None where the path does not fit."""
    if size <= 1 or not path:
        return leaf if size == 1 and index == 0 and not path else None
    left = split(size)
    if index < left:
        below = root_of(leaf, index, left, path[:-1])
        return None if below is None else sha256(b"\1", below, path[-1])
    below = root_of(leaf, index - left, size - left, path[:-1])
    return None if below is None else sha256(b"\1", path[-1], below)


def roots_of(old: int, old_root: bytes | None, size: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The roots of the trees of `old` and `size` leaves by a consistency proof (RFC 6962, 2.1.2), None: no proof.

    `old_root` is the old tree's as long as all of it is below, else None: then the path ends with what is below.
    """
    if old == size:
        ends = [old_root] if old_root is not None else []
        found = [*ends, *path]
        return (found[0], found[0]) if len(found) == 1 else None
    if not path or not 0 < old < size:
        return None
    left = split(size)
    if old <= left:
        below = roots_of(old, old_root, left, path[:-1])
        return None if below is None else (below[0], sha256(b"\1", below[1], path[-1]))
    below = roots_of(old - left, None, size - left, path[:-1])
    return None if below is None else (sha256(b"\1", path[-1], below[0]), sha256(b"\1", path[-1], below[1]))


def check_files(bundle: Path, manifest: dict[str, Any]) -> list[Bad]:
    """Every file has the SHA-256 of the manifest and none is there beside them; returns what differs, in words."""
    faults = []
    for name, wanted in manifest["files"].items():
        digest = hashlib.sha256()
        try:
            with (bundle / name).open("rb") as file:
                for part in iter(lambda: file.read(1 << 20), b""):
                    digest.update(part)
        except (OSError, KeyError):
            faults.append(Bad(f"{name} がありません", f"{name} is missing"))
            continue
        if digest.hexdigest() != wanted["sha256"]:
            faults.append(Bad(f"{name} が目録と違います", f"{name} is not the file of the manifest"))
    faults += [
        Bad(f"{name} は目録にありません", f"{name} is not in the manifest")
        for name in sorted(names_in(bundle) - manifest["files"].keys() - {"manifest.json"})
    ]
    return faults


def lines_of(bundle: Path, name: str, seen: dict[str, str]) -> Iterator[bytes]:
    """The lines of a compressed file; `seen` has the id of the last good record, for what is said of a damaged one."""
    after_ja, after_en = "読み終えた最後の記録", "the last record read"
    with (bundle / name).open("rb") as file:
        unpacked = gzip.GzipFile(fileobj=file)
        while True:
            try:
                line = unpacked.readline(_LINE)
            except (OSError, EOFError, zlib.error) as error:
                where = seen.get("id", "-")
                raise Bad(f"{name} が途中で壊れています ({after_ja}: {where})",
                          f"{name} is cut or damaged ({after_en}: {where})") from error  # fmt: skip
            if not line:
                return
            yield line


def proof_in(line: bytes | None, number: int) -> dict[str, Any]:
    """The proof in a line, empty without one; raises Bad where it cannot be read."""
    if line is None:
        return {}
    try:
        proof = json.loads(line)
        path = [base64.b64decode(node, validate=True) for node in proof["path"]]
        return {"id": str(proof["id"]), "index": int(proof["index"]), "path": path}
    except (ValueError, KeyError, TypeError) as error:
        raise Bad(
            f"proofs.ndjson.gz {number} 行目が証明の形ではありません", f"proof {number} cannot be read"
        ) from error


def body_in(line: bytes) -> dict[str, Any] | None:
    """What a line of the journal says, None where it has not exactly the form that its entry is computed from."""
    if not (line.startswith(b'{"salt":"') and line[41:_BODY] == b'","body":' and line.endswith(b"}}\n")):
        return None
    try:
        body = json.loads(line[_BODY:-2])
        salted = bytes.fromhex(line[_SALT].decode()).hex().encode() == line[_SALT]
    except ValueError:
        return None
    named = isinstance(body, dict) and all(name in body for name in ("writer", "epoch", "seq", "prev"))
    return body if salted and named else None


class Records:
    """Follows the records one after the other."""

    def __init__(self, manifest: dict[str, Any], size: int, root: bytes) -> None:
        self.size = size
        self.root = root
        self.count = 0
        self.writers: dict[str, int] = {}
        self.policies: set[str] = set()
        self.index = -1
        self.seen: dict[str, str] = {}
        self.last: dict[str, tuple[int, int, bytes]] = {}  # by writer: epoch, number, entry
        self.runs: dict[tuple[str, int], list[list[int]]] = {}
        for run in manifest["runs"]:
            self.runs.setdefault((run["writer"], run["epoch"]), []).append([run["first"], run["last"]])

    def take(self, line: bytes | None, proof_line: bytes | None) -> None:
        """Check one record; raises Bad naming it."""
        number = self.count + 1
        proof = proof_in(proof_line, number)
        wanted = proof.get("id", "?")
        if line is None:
            raise Bad(f"記録 {wanted} が抜けています", f"record {wanted} is missing")
        body = body_in(line)
        if body is None:
            raise Bad(f"記録 {wanted} (events.ndjson.gz {number} 行目) が記録の形ではありません",
                      f"record {wanted} (line {number}) is no record")  # fmt: skip
        name = f"{body['writer']}:{body['epoch']}:{body['seq']}"
        if not proof:
            raise Bad(
                f"記録 {name} ({number} 行目) には証明がありません", f"record {name} (line {number}) has no proof"
            )
        if name != wanted:
            raise Bad(f"{number} 行目は記録 {name} ですが、記録 {wanted} のはずです",
                      f"line {number} is record {name}, expected {wanted}")  # fmt: skip
        entry = sha256(bytes.fromhex(line[_SALT].decode()), line[_BODY:-2])
        if root_of(sha256(b"\0", entry), proof["index"], self.size, proof["path"]) != self.root:
            raise Bad(f"記録 {name} ({number} 行目) は書かれたときのままではありません",
                      f"record {name} (line {number}) is not what was written")  # fmt: skip
        self._follow(name, body, entry, proof["index"])
        self.count = number
        self.seen["id"] = name
        self.writers[body["writer"]] = self.writers.get(body["writer"], 0) + 1
        if "sekisho.policy.hash" in body:
            self.policies.add(body["sekisho.policy.hash"])

    def _follow(self, name: str, body: dict[str, Any], entry: bytes, index: int) -> None:
        writer, epoch, seq = body["writer"], body["epoch"], body["seq"]
        last = self.last.get(writer)
        in_order = last is None or (last[0], last[1]) < (epoch, seq)
        if index <= self.index or not in_order:
            raise Bad(f"記録 {name} の順序が違います", f"record {name} is not in its order")
        if last is not None and last[:2] == (epoch, seq - 1) and body["prev"] != last[2].hex():
            raise Bad(f"記録 {name} は直前の記録に続いていません", f"record {name} does not follow the one before it")
        for run in self.runs.get((writer, epoch), ()):
            if run[0] < seq <= run[1]:
                missing(writer, epoch, run[0])
            if run[0] == seq <= run[1]:
                run[0] += 1
        self.index = index
        self.last[writer] = (epoch, seq, entry)

    def finish(self, manifest: dict[str, Any]) -> None:
        """Check that none is missing; raises Bad."""
        for (writer, epoch), runs in self.runs.items():
            for first, last in runs:
                if first <= last:
                    missing(writer, epoch, first)
        if self.count != manifest["records"] or self.writers != manifest["writers"]:
            raise Bad(f"記録が {self.count} 件あります。目録では {manifest['records']} 件です",
                      f"there are {self.count} records, the manifest says {manifest['records']}")  # fmt: skip


def missing(writer: str, epoch: int, seq: int) -> NoReturn:
    """Raise Bad for a record that is not there."""
    raise Bad(f"記録 {writer}:{epoch}:{seq} が抜けています", f"record {writer}:{epoch}:{seq} is missing")


def check_records(bundle: Path, manifest: dict[str, Any], size: int, root: bytes) -> Records:
    """Check all records; returns what followed them."""
    records = Records(manifest, size, root)
    lines = lines_of(bundle, "events.ndjson.gz", records.seen)
    proofs = lines_of(bundle, "proofs.ndjson.gz", records.seen)
    for line, proof in itertools.zip_longest(lines, proofs):
        records.take(line, proof)
    records.finish(manifest)
    return records


def check_past(bundle: Path, key: Key, state: State) -> int:
    """Older checkpoints are signed and continued by the bundle's; returns how many."""
    if "checkpoints.ndjson" not in names_in(bundle):
        return 0
    lines = (bundle / "checkpoints.ndjson").read_bytes().splitlines()
    for line in lines:
        past = json.loads(line)
        old = key.opened(past["note"])
        path = [base64.b64decode(node, validate=True) for node in past["path"]]
        if old is None or roots_of(old[0], old[1], state[0], path) != (old[1], state[1]):
            raise Bad("以前のチェックポイントと食い違います", "an older checkpoint is not continued")
    return len(lines)


def check_policies(bundle: Path, manifest: dict[str, Any], named: set[str]) -> int:
    """The policy versions are what their names say, and none that a record names is missing unsaid."""
    there = {name[len("policies/") : -len(".yaml")] for name in names_in(bundle) if name.startswith("policies/")}
    for name in sorted(there):
        if hashlib.sha256((bundle / f"policies/{name}.yaml").read_bytes()).hexdigest() != name:
            raise Bad(f"ポリシー {name} の内容が名前と違います", f"policy {name} is not what its name says")
    for name in sorted(named - there - set(manifest["policies_missing"])):
        raise Bad(f"記録が示すポリシー {name} がありません", f"policy {name}, which a record names, is missing")
    return len(there)


def verify(bundle: Path, given: str, digest: str) -> int:
    """Check everything; raises Bad. Returns the exit status."""
    text = (bundle / "manifest.json").read_bytes()
    manifest = json.loads(text)
    if manifest["format"] != FORMAT:
        raise Bad(f"この版の一式は読めません: {manifest['format']}", f"not a bundle of format {FORMAT}")
    faults = check_files(bundle, manifest)
    own = hashlib.sha256(text).hexdigest()
    say(f"目録の SHA-256: {own}", "digest of the manifest")
    if digest and digest.strip().lower() != own:
        faults.append(Bad("目録が --digest の値と違います", "the manifest is not the one of --digest"))
    key = Key(given or (bundle / "checkpoint.pub").read_bytes().decode())
    note = (bundle / "checkpoint").read_bytes().decode()
    state = key.opened(note)
    for fault in faults:
        say(f"誤り: {fault.ja}", f"wrong: {fault.en}")
    if state is None or state[0] != manifest["log"]["size"]:
        raise Bad(f"チェックポイントに {key.name}+{key.hash.hex()} の署名がありません",
                  f"the checkpoint is not signed by {key.name}+{key.hash.hex()}")  # fmt: skip
    records = check_records(bundle, manifest, *state)
    past = check_past(bundle, key, state)
    policies = check_policies(bundle, manifest, records.policies)
    receipts = sum(name.startswith("receipts/") for name in manifest["files"])
    if faults:
        raise faults[0]
    summary(manifest, records.count, past, policies, receipts)
    return GOOD if given else UNTRUSTED


def summary(manifest: dict[str, Any], records: int, past: int, policies: int, receipts: int) -> None:
    """Say what holds, and what it is about."""
    chosen = json.dumps(manifest["selection"], ensure_ascii=False)
    say(f"対象: {chosen}", "selection")
    say(f"記録 {records} 件、以前のチェックポイント {past}、ポリシー {policies}、受領証 {receipts}",
        f"{records} records, {past} older checkpoints, {policies} policies, {receipts} receipts")  # fmt: skip
    for name in manifest["policies_missing"]:
        say(f"注意: ポリシー {name} は保管されていませんでした", f"note: policy {name} was not kept")
    uncovered = sum(manifest["uncovered"].values())
    if uncovered:
        say(f"注意: 書き出し時に署名前だった {uncovered} 件は入っていません", f"note: {uncovered} were not signed yet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console in cp932 lacks characters; none may end this
    parser = argparse.ArgumentParser(description="Verify an evidence bundle of Sekisho.")
    parser.add_argument("bundle", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--key", help="public key: a file, or the key itself")
    parser.add_argument("--digest", default="", help="SHA-256 of manifest.json as shown at the export")
    options = parser.parse_args(arguments)
    try:
        given = options.key
        if given and Path(given).is_file():
            given = Path(given).read_text(encoding="utf-8-sig")
        status = verify(options.bundle, given, options.digest)
    except Bad as fault:
        say(f"正しくありません: {fault.ja}", f"NOT GOOD: {fault.en}")
        return BAD
    except _UNREADABLE as error:
        say(f"読めません: {error!r}", "cannot be read")
        return BAD
    if status == UNTRUSTED:
        say("警告: 一式に入っている鍵だけで確かめました。別に受け取った公開鍵を --key で指定してください",
            "WARNING: only the key in the bundle was used; give the one that you got otherwise by --key")  # fmt: skip
    else:
        say("すべて正しいです", "all holds")
    return status


if __name__ == "__main__":
    sys.exit(main())
