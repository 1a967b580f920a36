r"""Checkpoints: signed tree heads (C2SP tlog-checkpoint v1, C2SP signed-note with Ed25519). No I/O.

A checkpoint is the text `<origin>\n<size>\n<base64 root>\n`, a blank line, and signature lines
`— <key name> <base64(key hash ‖ signature)>\n`. The key name is the origin.

Keys are in the note format: `PRIVATE+KEY+<name>+<hash>+<base64(0x01 ‖ seed)>` and the verifier key
`<name>+<hash>+<base64(0x01 ‖ public key)>`, hash = first 4 bytes of SHA-256(name ‖ "\n" ‖ 0x01 ‖ public key).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519: Final = b"\1"
_NAME: Final = re.compile(r"[^\s+]{1,255}")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_SIGNED_BY: Final = "— "


class CheckpointInvalid(Exception):
    """The text is no checkpoint signed by this key."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of the log at one size."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """Return the signed text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


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
        body = checkpoint.body()
        signature = self.verifier.key_hash + self._key.sign(body.encode())
        return f"{body}\n{_SIGNED_BY}{self.name} {base64.b64encode(signature).decode()}\n"

    def encode(self) -> str:
        """Return the key in note format. It is the secret."""
        seed = base64.b64encode(_ED25519 + self._key.private_bytes_raw()).decode()
        return f"PRIVATE+KEY+{self.name}+{self.verifier.key_hash.hex()}+{seed}"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A named public key."""

    name: str
    key: Ed25519PublicKey

    @property
    def key_hash(self) -> bytes:
        """The 4 bytes that name the key in a signature line."""
        material = self.name.encode() + b"\n" + _ED25519 + self.key.public_bytes_raw()
        return hashlib.sha256(material).digest()[:4]

    def encode(self) -> str:
        """Return the verifier key in note format."""
        public = base64.b64encode(_ED25519 + self.key.public_bytes_raw()).decode()
        return f"{self.name}+{self.key_hash.hex()}+{public}"

    def open(self, note: str) -> Checkpoint:
        """Return the checkpoint that `note` proves; raises `CheckpointInvalid`. Other keys' signatures are ignored."""
        body, blank, signatures = note.partition("\n\n")
        if not blank or not signatures.endswith("\n"):
            raise CheckpointInvalid("not a signed note")
        body += "\n"
        for line in signatures[:-1].split("\n"):
            if self._signed(line, body.encode()):
                return _parse(body, self.name)
        raise CheckpointInvalid(f"no signature by {self.name}+{self.key_hash.hex()}")

    def _signed(self, line: str, body: bytes) -> bool:
        if not line.startswith(f"{_SIGNED_BY}{self.name} "):
            return False
        try:
            value = base64.b64decode(line[len(_SIGNED_BY) + len(self.name) + 1 :], validate=True)
        except binascii.Error as error:
            raise CheckpointInvalid("a signature line is not base64") from error
        if value[:4] != self.key_hash:
            return False
        try:
            self.key.verify(value[4:], body)
        except InvalidSignature as error:
            raise CheckpointInvalid(f"the signature by {self.name} does not fit the text") from error
        return True


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
    """Return a new key; raises ValueError for a name with spaces or `+`."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"key name: got {name!r}, expected no space and no +")
    return Signer(name, Ed25519PrivateKey.generate())


def read_signer(text: str) -> Signer:
    """Return the key of note-format `text`; raises ValueError without showing the secret."""
    match = re.fullmatch(r"PRIVATE\+KEY\+([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", text.strip())
    if match is None:
        raise ValueError("not a note signer key (PRIVATE+KEY+<name>+<hash>+<base64>)")
    material = _material(match[3])
    signer = Signer(match[1], Ed25519PrivateKey.from_private_bytes(material))
    if signer.verifier.key_hash.hex() != match[2]:
        raise ValueError("the key's hash does not fit the key")
    return signer


def read_verifier(text: str) -> Verifier:
    """Return the verifier key of note-format `text`; raises ValueError."""
    match = re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", text.strip())
    if match is None:
        raise ValueError("not a note verifier key (<name>+<hash>+<base64>)")
    verifier = Verifier(match[1], Ed25519PublicKey.from_public_bytes(_material(match[3])))
    if verifier.key_hash.hex() != match[2]:
        raise ValueError("the key's hash does not fit the key")
    return verifier


def _material(encoded: str) -> bytes:
    try:
        material = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("the key is not base64") from error
    if len(material) != 33 or material[:1] != _ED25519:
        raise ValueError("the key is not an Ed25519 key of 32 bytes")
    return material[1:]
