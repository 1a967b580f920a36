r"""Succession of the log's key: who may sign after whom, and how a holder of an old public key follows it offline.

A rotation is a statement, a signed note of the text
`sekisho key rotation v1\n<origin>\n<old verifier key>\n<new verifier key>\n` with a line of each key: the old one names
the new one, the new one proves that it is there. It stands in a record (`audit.key_rotated`) that the old key's last
checkpoint covers. Both together are a handover: `rotations/<number>.tlog-proof` under the log's folder is the record,
its audit path and that checkpoint, so it needs neither the journals nor trust in the folder. No checkpoint can be taken
for a statement: an origin has no space. What the old key signed beyond its last checkpoint is refused.

A key that was lost cannot name another. Its successor has another origin, and `rotations/<number>.replaced` (the lost
key's verifier key, a line of JSON that says who and why, its last checkpoint) leads backward only: the tree must still
begin with what the lost key signed, but nobody who holds the lost key alone is led to the new one.

Whoever can write into the folder can write a file that leads backward, and a key that was given up can sign what is in
a handover. So what an earlier key signed is only ever an additional demand on a tree (`Succession.past`), no evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson

from audit.checkpoint import Checkpoint, CheckpointInvalid, Opener, Signer, Unsigned, Verifier, claimed, read_verifier
from audit.event import Action
from audit.merkle import ProofInvalid
from audit.proof import SUFFIX, read_proof, verify_proof
from audit.segment import record_of

FOLDER: Final = "rotations"
REPLACED: Final = ".replaced"
_STATEMENT: Final = "sekisho key rotation v1"
_WRITER: Final = "auditor"


class SuccessionInvalid(CheckpointInvalid):
    """A file that should lead from one key to the next does not."""


@dataclass(frozen=True, slots=True)
class Link:
    """One change of the key: `proved` by the old key, or else a replacement of a lost one. `last`: the old's last."""

    old: Verifier
    new: Verifier | None  # None: the lost key's successor is known by the next link or by its own signatures
    last: Checkpoint
    proved: bool
    record: Mapping[str, Any]  # who, why, when, in the names of `audit.ecs`


def state_rotation(old: Signer, new: Signer) -> str:
    """Return the statement that `new` follows `old`; raises ValueError where their names differ."""
    if old.name != new.name:
        raise ValueError(f"key name: got {new.name!r}, expected {old.name!r}")
    text = f"{_STATEMENT}\n{old.name}\n{old.verifier.encode()}\n{new.verifier.encode()}\n"
    return f"{text}\n{old.line(text)}{new.line(text)}"


def read_rotation(statement: str) -> tuple[Verifier, Verifier]:
    """Return (old, new) of a statement that both keys signed; raises `SuccessionInvalid`."""
    lines = statement.split("\n")
    if len(lines) < 5 or lines[0] != _STATEMENT:
        raise SuccessionInvalid(f"statement: got {lines[0][:60]!r}, expected {_STATEMENT!r}")
    try:
        old, new = read_verifier(lines[2]), read_verifier(lines[3])
        texts = {key.signed_text(statement) for key in (old, new)}
    except (ValueError, CheckpointInvalid) as error:
        raise SuccessionInvalid(f"statement: {error}") from error
    if texts != {f"{_STATEMENT}\n{old.name}\n{old.encode()}\n{new.encode()}\n"} or new.name != old.name:
        raise SuccessionInvalid("statement: it says something else than that one key of a log follows another")
    return old, new


def read_handover(text: str) -> Link:
    """Return the link that a handover proves; raises `SuccessionInvalid`. Whether its old key is trusted is open."""
    try:
        proof = read_proof(text)
        record = record_of(proof.line)
        old, new = read_rotation(str(record.get("sekisho.key.statement", "")))
        proven = verify_proof(proof, old)
    except (ProofInvalid, ValueError, LookupError, TypeError, AttributeError) as error:  # a record of any shape
        raise SuccessionInvalid(f"handover: {error}") from error
    if record.get("writer") != _WRITER or record.get("event.action") != Action.AUDIT_KEY_ROTATED:
        raise SuccessionInvalid("handover: the record is no rotation by the auditor")
    return Link(old, new, proven.checkpoint, proved=True, record=record)


def read_replacement(text: str) -> Link:
    """Return the link of a lost key; raises `SuccessionInvalid`."""
    try:
        key, who, note = text.split("\n", 2)
        old = read_verifier(key)
        return Link(old, None, old.open(note), proved=False, record=dict(orjson.loads(who)))
    except (ValueError, TypeError, CheckpointInvalid) as error:
        raise SuccessionInvalid(f"replacement: {error}") from error


def write_replacement(old: Verifier, note: str, record: Mapping[str, Any]) -> str:
    """Return the text that `read_replacement` reads."""
    return f"{old.encode()}\n{orjson.dumps(dict(record)).decode()}\n{note}"


class Succession:
    """The keys of one log as the holder of one of them may believe them: that one and its successors.

    Opens notes as a `Verifier` does.
    """

    def __init__(self, held: Verifier, links: Sequence[Link] = ()) -> None:
        """`links` in their order; those that the held key does not lead to are left out. Raises `SuccessionInvalid`."""
        for link, following in pairwise(links):
            if link.new not in (None, following.old) or link.last.size > following.last.size:
                raise SuccessionInvalid(f"after {_name(link.old)} came another key than {_name(following.old)}")
        self.held = held
        self.before = _leading_to(held, links)
        self.after = _led_from(held, links)

    @property
    def present(self) -> Verifier:
        """The key that signs now, as far as the held one leads."""
        return self.after[-1].new or self.held if self.after else self.held

    @property
    def last_of_each(self) -> list[Checkpoint]:
        """The last checkpoint of each key before the present one: the tree must contain them."""
        return [link.last for link in (*self.before, *self.after)]

    @property
    def past(self) -> Opener:
        """Opens what keys before the held one signed as well: only to demand more of a tree, never to believe in one.

        What leads back rests on nothing that the held key signed: anyone may have written it.
        """
        return _Past(self)

    def open(self, note: str) -> Checkpoint:
        """Return the checkpoint that `note` proves, by the held key or one that follows it; raises `CheckpointInvalid`.

        It is `Unsigned` where none of these keys signed it.
        """
        return self.opened(note, self.after)

    def opened(self, note: str, links: Sequence[Link]) -> Checkpoint:
        """Return what the present key signed, or an old key of these links up to its last checkpoint."""
        fault: CheckpointInvalid | None = None
        ends = [*((link.old, link.last.size) for link in links), (self.present, None)]
        for key, end in ends:
            try:
                checkpoint = key.open(note)
            except Unsigned:
                continue
            except CheckpointInvalid as error:
                fault = fault or error
                continue
            if end is None or checkpoint.size <= end:
                return checkpoint
            said = f"its key {_name(key)} was given up at size {end}, this says {checkpoint.size}"
            fault = fault or CheckpointInvalid(said)
        raise fault or Unsigned(self._explained(note))

    def _explained(self, note: str) -> str:
        origin = claimed(note).origin
        if origin == self.held.name:
            return f"no signature by {_name(self.present)}, and no recorded rotation leads from there to who signed"
        return (
            f"the log is signed as {origin!r} now, not as {self.held.name!r}: its key was replaced without the old one."
            " Take the new public key from whom you trust, not from the log"
        )


@dataclass(frozen=True, slots=True)
class _Past:
    keys: Succession

    def open(self, note: str) -> Checkpoint:
        return self.keys.opened(note, [*self.keys.before, *self.keys.after])


def _leading_to(held: Verifier, links: Sequence[Link]) -> list[Link]:
    """Return the links up to the held key, believed by nobody but `Succession.past`."""
    for at, link in enumerate(links):
        if link.old == held:
            return list(links[:at])
    if links and not (links[-1].new is None or links[-1].new == held):
        return []  # another log's key, or one from before all that is kept here
    return list(links)


def _led_from(held: Verifier, links: Sequence[Link]) -> list[Link]:
    led: list[Link] = []
    key: Verifier | None = held
    for link in links:
        if link.old == key:
            if not link.proved:
                break
            led.append(link)
            key = link.new
    return led


def links(log: Path) -> Iterator[Link]:
    """Yield what the log's folder says of its keys, oldest first, each proved by itself; raises `SuccessionInvalid`."""
    for path in kept(log):
        try:
            text = path.read_text(encoding="utf-8")
            yield read_handover(text) if path.suffix == SUFFIX else read_replacement(text)
        except (SuccessionInvalid, UnicodeDecodeError) as error:
            raise SuccessionInvalid(f"{path.name}: {error}") from error


def kept(log: Path) -> list[Path]:
    """Return the files about changes of the key, oldest first."""
    return sorted(path for path in (log / FOLDER).glob("*") if path.suffix in {SUFFIX, REPLACED})


def led(held: Verifier, handovers: Iterable[Link]) -> Succession:
    """Return the keys that handovers, in whatever order, lead to from the held one; raises `SuccessionInvalid`."""
    following: dict[str, Link] = {}
    for link in handovers:
        other = following.setdefault(link.old.encode(), link)
        if other.new != link.new:
            raise SuccessionInvalid(f"{_name(link.old)} named two successors")
    ordered: list[Link] = []
    key: Verifier | None = held
    while key is not None and key.encode() in following:
        ordered.append(following.pop(key.encode()))
        key = ordered[-1].new
    return Succession(held, ordered)


def succession(log: Path, held: Verifier) -> Succession:
    """Return the keys of the log under `log` for who holds `held`; raises `SuccessionInvalid`."""
    return Succession(held, list(links(log)))


def _name(key: Verifier) -> str:
    return f"{key.name}+{key.key_hash.hex()}"
