"""A log goes on after its key was lost: with a key that nobody who holds the old one is led to.

The new key has another origin (`<origin>/2`, `/3`, …), so that no one takes its checkpoints for the old key's. The tree
stays: what the lost key signed is still its beginning. Order of writes, under the log's lock:

1. `<key>.next`, the new private key. A crash: taken again.
2. `rotations/<number>.replaced`. A crash: found again, not written twice.
3. what is left of the old key to `<key>.lost`, then rename `<key>.next` to `<key>`. A crash between: done again.
4. `<key>.pub`. A crash before: the auditor writes it when it starts.

The auditor then records `audit.key_replaced`, and its first checkpoint under the new key covers that.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from audit import durable
from audit.auditor import own
from audit.checkpoint import Verifier, read_signer, read_verifier
from audit.event import timestamp
from audit.rotating import move, next_signer, publish
from audit.rotation import FOLDER, REPLACED, kept, links, succession, write_replacement

_NUMBERED = re.compile(r"(.*)/([0-9]+)")


class NotLost(Exception):
    """The key is there and signs: it is to be rotated instead."""


def replace_lost(key: Path, log: Path, who: str, reason: str, now: float) -> Verifier:
    """Make a key for the log under `log` whose key file `key` is lost; returns the new public key.

    `<key>.pub` must be there. Raises `NotLost`, `audit.auditor.LogLocked` while an auditor runs, `CheckpointInvalid`
    where the public key does not open the log's checkpoint, FileNotFoundError without either, ValueError, OSError.
    """
    lock = own(log)
    try:
        old = read_verifier(key.with_suffix(".pub").read_text())
        note = (log / "checkpoint").read_text()
        keys = succession(log, old)
        keys.past.open(note)  # asked again, the lost key's is still the last
        _require_loss(key, keys.present)
        new = next_signer(key, _next_origin(old.name))
        found = list(links(log))
        if not (found and not found[-1].proved and found[-1].old == keys.present):
            record = {"@timestamp": timestamp(now), "sekisho.by": who, "sekisho.justification": reason}
            durable.make_directory(log / FOLDER)
            path = log / FOLDER / f"{len(kept(log)) + 1:06}{REPLACED}"
            durable.replace(path, write_replacement(keys.present, note, record).encode())
        if key.exists():
            key.rename(key.with_name(key.name + ".lost"))
        move(key)
        publish(key, new)
        return new.verifier
    finally:
        os.close(lock)


def _require_loss(key: Path, present: Verifier) -> None:
    try:
        signer = read_signer(key.read_text())
    except (FileNotFoundError, ValueError):
        return
    if signer.verifier == present:
        raise NotLost(f"{key} is the key that signs: rotate it instead")


def _next_origin(origin: str) -> str:
    numbered = _NUMBERED.fullmatch(origin)
    return f"{numbered[1]}/{int(numbered[2]) + 1}" if numbered else f"{origin}/2"
