r"""Signed notes (C2SP signed-note v1): key names, key hashes, keys and signature lines as text. No I/O.

A note is a text, a blank line, and signature lines `— <key name> <base64(key hash ‖ signature)>\n`. The key hash is
the first 4 bytes of SHA-256(name ‖ "\n" ‖ kind ‖ public key); the kind is one byte: what the key's signatures mean.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import Final

ED25519: Final = b"\1"
"""The kind of keys that sign the text itself."""
COSIGNATURE: Final = b"\4"
"""The kind of keys that sign a checkpoint together with a time (C2SP tlog-cosignature, `cosignature/v1`)."""

_NAME: Final = re.compile(r"[^\s+]{1,255}")
_SIGNER: Final = re.compile(r"PRIVATE\+KEY\+([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")
_VERIFIER: Final = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")
_SIGNED_BY: Final = "— "


class NoteInvalid(Exception):
    """The text is no note that this key signed."""


def checked_name(name: str) -> str:
    """Return a key's name; raises ValueError where it has spaces or `+`, or is longer than 255 characters."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"key name: got {name!r}, expected no space and no +")
    return name


def key_hash(name: str, kind: bytes, public: bytes) -> bytes:
    """Return the 4 bytes that name a key in a signature line."""
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def signature_line(name: str, hashed: bytes, signature: bytes) -> str:
    """Return one signature line, with its newline."""
    return f"{_SIGNED_BY}{name} {base64.b64encode(hashed + signature).decode()}\n"


def divided(note: str) -> tuple[str, str]:
    """Return a note's text and its signature lines; raises `NoteInvalid`."""
    body, blank, signatures = note.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise NoteInvalid("not a signed note")
    return body + "\n", signatures


def signatures_by(lines: str, name: str, hashed: bytes) -> Iterator[bytes]:
    """Yield the signatures that the key of this name and hash made among `lines`; raises `NoteInvalid`.

    Lines of other keys are passed over, whatever they hold.
    """
    for line in lines.split("\n"):
        if not line.startswith(f"{_SIGNED_BY}{name} "):
            continue
        encoded = line[len(_SIGNED_BY) + len(name) + 1 :]
        try:
            value = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise NoteInvalid("a signature line is not base64") from error
        if base64.b64encode(value).decode() != encoded:  # bits behind the last byte: RFC 4648 §3.5
            raise NoteInvalid("a signature line is not base64 in its canonical form")
        if value[:4] == hashed:
            yield value[4:]


def encode_signer(name: str, kind: bytes, public: bytes, seed: bytes) -> str:
    """Return a private key as `PRIVATE+KEY+<name>+<hash>+<base64(kind ‖ seed)>`. It is the secret."""
    return f"PRIVATE+KEY+{name}+{key_hash(name, kind, public).hex()}+{base64.b64encode(kind + seed).decode()}"


def encode_verifier(name: str, kind: bytes, public: bytes) -> str:
    """Return a public key as `<name>+<hash>+<base64(kind ‖ public key)>`."""
    return f"{name}+{key_hash(name, kind, public).hex()}+{base64.b64encode(kind + public).decode()}"


def decode_signer(text: str, kind: bytes) -> tuple[str, str, bytes]:
    """Return (name, hash as hex, seed) of a private key; raises ValueError without showing the secret.

    The caller compares the hash, which needs the public key.
    """
    match = _SIGNER.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a note signer key (PRIVATE+KEY+<name>+<hash>+<base64>)")
    return match[1], match[2], _material(match[3], kind)


def decode_verifier(text: str, kind: bytes) -> tuple[str, bytes]:
    """Return (name, public key) of a public key; raises ValueError."""
    match = _VERIFIER.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a note verifier key (<name>+<hash>+<base64>)")
    public = _material(match[3], kind)
    if key_hash(match[1], kind, public).hex() != match[2]:
        raise ValueError("the key's hash does not fit the key")
    return match[1], public


def _material(encoded: str, kind: bytes) -> bytes:
    try:
        material = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("the key is not base64") from error
    if len(material) != 33 or material[:1] not in (ED25519, COSIGNATURE):
        raise ValueError("the key is not an Ed25519 key of 32 bytes")
    if material[:1] != kind:
        expected = "a witness's key" if kind == COSIGNATURE else "a log's key"
        raise ValueError(f"the key is of kind {material[0]}, expected {kind[0]}: {expected}")
    return material[1:]
