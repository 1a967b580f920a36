"""The installation's own keys: which there are, and how each is written down.

Assertion keys are ES256 (RFC 7518 §3.4), receipts and checkpoints Ed25519 (RFC 8032). The checkpoint key uses the note
format of C2SP signed-note, so that other tools can verify the log: `PRIVATE+KEY+<name>+<hash>+<base64>` and, for
verifiers, `<name>+<hash>+<base64>`.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.durable import PUBLIC_FILE, sync_folder, write_new

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_NOTE_ED25519 = b"\x01"  # C2SP signed-note: signature type Ed25519
_SEALING_BYTES = 32
ASSERTION_CURRENT = "assertion-current.pem"
ASSERTION_NEXT = "assertion-next.pem"
CHECKPOINT = "checkpoint.key"
RECEIPTS = "receipts.pem"
SEALING = "sealing.key"


def private_pem(key: PrivateKey) -> bytes:
    """Return the key as unencrypted PKCS #8 PEM; its protection is the file's mode."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: PrivateKey) -> bytes:
    """Return the public half as SubjectPublicKeyInfo PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def note_key(name: str, key: ed25519.Ed25519PrivateKey) -> tuple[str, str]:
    """Return the signer's and the verifier's text of a note key; a name holds no blank and no plus sign."""
    if not name or "+" in name or any(character.isspace() for character in name):
        raise ValueError(f"key name: got {name!r}, expected text without blanks and plus signs")
    public = _NOTE_ED25519 + key.public_key().public_bytes_raw()
    fingerprint = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4].hex()
    private = base64.b64encode(_NOTE_ED25519 + key.private_bytes_raw()).decode()
    return f"PRIVATE+KEY+{name}+{fingerprint}+{private}", f"{name}+{fingerprint}+{base64.b64encode(public).decode()}"


def create_keys(folder: Path, log_origin: str) -> None:
    """Make every key of an installation in `folder`; raises FileExistsError rather than replace one."""
    for name in (ASSERTION_CURRENT, ASSERTION_NEXT):
        _write_pair(folder / name, ec.generate_private_key(ec.SECP256R1()))
    _write_pair(folder / RECEIPTS, ed25519.Ed25519PrivateKey.generate())
    signer, verifier = note_key(log_origin, ed25519.Ed25519PrivateKey.generate())
    write_new(folder / CHECKPOINT, f"{signer}\n".encode())
    write_new((folder / CHECKPOINT).with_suffix(".pub"), f"{verifier}\n".encode(), PUBLIC_FILE)
    write_new(folder / SEALING, f"{secrets.token_hex(_SEALING_BYTES)}\n".encode())
    sync_folder(folder)


def _write_pair(path: Path, key: PrivateKey) -> None:
    write_new(path, private_pem(key))
    write_new(path.with_suffix(".pub"), public_pem(key), PUBLIC_FILE)
