r"""Checkpoints: signed tree heads (C2SP tlog-checkpoint v1, C2SP signed-note with Ed25519). No I/O.

A checkpoint is the text `<origin>\n<size>\n<base64 root>\n`, a blank line, and signature lines (`audit.note`). The
log's key has the origin as its name and signs the text. A witness's key (C2SP tlog-cosignature, kind 0x04) signs
`cosignature/v1\ntime <seconds>\n` and the text: "as of this time, this is the largest tree that I have seen of this
log, and it contains all that I saw before"; its signature begins with the time as 8 bytes, big-endian.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit import note as notes
from audit.note import COSIGNATURE, ED25519, NoteInvalid

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_TIME_BYTES: Final = 8
_TIME_LIMIT: Final = 1 << 63


class CheckpointInvalid(Exception):
    """The text is no checkpoint signed by this key."""


class Unsigned(CheckpointInvalid):
    """The key that was asked did not sign this; another may have."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of the log at one size."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """Return the signed text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Opener(Protocol):
    """What proves checkpoints: one key, or the keys that one of them leads to (`audit.rotation`)."""

    def open(self, note: str) -> Checkpoint:
        """Return the checkpoint that `note` proves; raises `CheckpointInvalid`."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A named private key; its repr shows no secret."""

    name: str
    _key: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"Signer({self.name})"

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, self._key.public_key())

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return the signed note."""
        if checkpoint.origin != self.name:
            raise ValueError(f"origin: got {checkpoint.origin!r}, expected {self.name!r}")
        return f"{checkpoint.body()}\n{self.line(checkpoint.body())}"

    def line(self, text: str) -> str:
        """Return the signature line over any note's text; who calls it answers for what the text says."""
        return notes.signature_line(self.name, self.verifier.key_hash, self._key.sign(text.encode()))

    def encode(self) -> str:
        """Return the key in note format. It is the secret."""
        public = self._key.public_key().public_bytes_raw()
        return notes.encode_signer(self.name, ED25519, public, self._key.private_bytes_raw())


@dataclass(frozen=True, slots=True)
class Verifier:
    """A named public key."""

    name: str
    key: Ed25519PublicKey

    @property
    def key_hash(self) -> bytes:
        """The 4 bytes that name the key in a signature line."""
        return notes.key_hash(self.name, ED25519, self.key.public_bytes_raw())

    def encode(self) -> str:
        """Return the verifier key in note format."""
        return notes.encode_verifier(self.name, ED25519, self.key.public_bytes_raw())

    def open(self, note: str) -> Checkpoint:
        """Return the checkpoint that `note` proves; raises `CheckpointInvalid`. Other keys' signatures are ignored."""
        return _parse(self.signed_text(note), self.name)

    def signed_text(self, note: str) -> str:
        """Return the text of any note that this key signed; raises `CheckpointInvalid`."""
        try:
            body, lines = notes.divided(note)
            found = next(notes.signatures_by(lines, self.name, self.key_hash), None)
        except NoteInvalid as error:
            raise CheckpointInvalid(str(error)) from error
        if found is None:
            raise Unsigned(f"no signature by {self.name}+{self.key_hash.hex()}")
        _verify(self.key, self.name, found, body.encode())
        return body


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's named private key; its repr shows no secret."""

    name: str
    _key: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"Cosigner({self.name})"

    @property
    def verifier(self) -> WitnessKey:
        """The public half."""
        return WitnessKey(self.name, self._key.public_key())

    def cosign(self, checkpoint: Checkpoint, seconds: int) -> str:
        """Return the signature line that says that this is the largest tree seen as of `seconds` since the epoch."""
        if not 0 <= seconds < _TIME_LIMIT:
            raise ValueError(f"time: got {seconds}, expected 0 to 2^63 - 1")
        signature = self._key.sign(_witnessed(checkpoint.body(), seconds))
        stamp = seconds.to_bytes(_TIME_BYTES)
        return notes.signature_line(self.name, self.verifier.key_hash, stamp + signature)

    def encode(self) -> str:
        """Return the key in note format. It is the secret."""
        public = self._key.public_key().public_bytes_raw()
        return notes.encode_signer(self.name, COSIGNATURE, public, self._key.private_bytes_raw())


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A witness's named public key."""

    name: str
    key: Ed25519PublicKey

    @property
    def key_hash(self) -> bytes:
        """The 4 bytes that name the key in a signature line."""
        return notes.key_hash(self.name, COSIGNATURE, self.key.public_bytes_raw())

    def encode(self) -> str:
        """Return the verifier key in note format."""
        return notes.encode_verifier(self.name, COSIGNATURE, self.key.public_bytes_raw())


def cosigned(note: str, witness: WitnessKey) -> int:
    """Return when `witness` cosigned `note`, in seconds since the epoch: the latest of its times.

    It proves nothing of the log's own signature. Raises `CheckpointInvalid` where the witness signed another text or
    none, or one of its lines is false.
    """
    times = []
    try:
        body, lines = notes.divided(note)
        for value in notes.signatures_by(lines, witness.name, witness.key_hash):
            seconds = int.from_bytes(value[:_TIME_BYTES])
            if seconds >= _TIME_LIMIT:
                raise CheckpointInvalid(f"the cosignature by {witness.name} has no time")
            _verify(witness.key, witness.name, value[_TIME_BYTES:], _witnessed(body, seconds))
            times.append(seconds)
    except NoteInvalid as error:
        raise CheckpointInvalid(str(error)) from error
    if not times:
        raise CheckpointInvalid(f"no cosignature by {witness.name}+{witness.key_hash.hex()}")
    return max(times)


def claimed(note: str) -> Checkpoint:
    """Return what a note says, whoever signed it: nothing is proved; raises `CheckpointInvalid`."""
    try:
        body, _ = notes.divided(note)
    except NoteInvalid as error:
        raise CheckpointInvalid(str(error)) from error
    return _parse(body, body.partition("\n")[0])


def with_line(note: str, line: str) -> str:
    """Return `note` with one more signature line, in place of the one that the same key made before."""
    body, lines = notes.divided(note)
    name = line.split(" ")[1]
    hashed = base64.b64decode(line.split(" ")[2])[:4]
    others = [each for each in lines[:-1].split("\n") if not any(notes.signatures_by(each, name, hashed))]
    return "\n".join((body, *others, line))


def _witnessed(body: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{body}".encode()


def _verify(key: Ed25519PublicKey, name: str, signature: bytes, message: bytes) -> None:
    try:
        key.verify(signature, message)
    except InvalidSignature as error:
        raise CheckpointInvalid(f"the signature by {name} does not fit the text") from error


def _parse(body: str, origin: str) -> Checkpoint:
    lines = body.split("\n")
    if len(lines) != 4 or lines[3]:
        raise CheckpointInvalid(f"lines: got {len(lines) - 1}, expected 3")
    if lines[0] != origin:
        raise CheckpointInvalid(f"origin: got {lines[0]!r}, expected {origin!r}")
    if not _SIZE.fullmatch(lines[1]):
        raise CheckpointInvalid(f"size: got {lines[1]!r}, expected a decimal number")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except binascii.Error as error:
        raise CheckpointInvalid("the root is not base64") from error
    if len(root) != 32 or base64.b64encode(root).decode() != lines[2]:
        raise CheckpointInvalid("the root is not the base64 of 32 bytes")
    return Checkpoint(origin, int(lines[1]), root)


def generate(name: str) -> Signer:
    """Return a new key of a log; raises ValueError for a name with spaces or `+`."""
    return Signer(notes.checked_name(name), Ed25519PrivateKey.generate())


def generate_cosigner(name: str) -> Cosigner:
    """Return a new key of a witness; raises ValueError for a name with spaces or `+`."""
    return Cosigner(notes.checked_name(name), Ed25519PrivateKey.generate())


def read_signer(text: str) -> Signer:
    """Return the key of note-format `text`; raises ValueError without showing the secret."""
    name, hashed, seed = notes.decode_signer(text, ED25519)
    signer = Signer(name, Ed25519PrivateKey.from_private_bytes(seed))
    if signer.verifier.key_hash.hex() != hashed:
        raise ValueError("the key's hash does not fit the key")
    return signer


def read_cosigner(text: str) -> Cosigner:
    """Return the witness's key of note-format `text`; raises ValueError without showing the secret."""
    name, hashed, seed = notes.decode_signer(text, COSIGNATURE)
    cosigner = Cosigner(name, Ed25519PrivateKey.from_private_bytes(seed))
    if cosigner.verifier.key_hash.hex() != hashed:
        raise ValueError("the key's hash does not fit the key")
    return cosigner


def read_verifier(text: str) -> Verifier:
    """Return the verifier key of note-format `text`; raises ValueError."""
    name, public = notes.decode_verifier(text, ED25519)
    return Verifier(name, Ed25519PublicKey.from_public_bytes(public))


def read_witness_key(text: str) -> WitnessKey:
    """Return a witness's verifier key of note-format `text`; raises ValueError."""
    name, public = notes.decode_verifier(text, COSIGNATURE)
    return WitnessKey(name, Ed25519PublicKey.from_public_bytes(public))
