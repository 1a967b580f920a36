"""The installation's own keys: which there are, and how each is written down.

Assertion keys are ES256 (RFC 7518 §3.4), receipts and checkpoints Ed25519 (RFC 8032). The checkpoint key is in the
note format of C2SP signed-note, so that other tools can verify the log. The public half lies beside each, as `.pub`.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from audit.checkpoint import generate
from audit.durable import sync_directory
from gateway.new_files import PUBLIC_FILE, write_new

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

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


def create_keys(folder: Path, log_origin: str) -> None:
    """Make every key of an installation in `folder`; raises FileExistsError rather than replace one."""
    for name in (ASSERTION_CURRENT, ASSERTION_NEXT):
        _write_pair(folder / name, ec.generate_private_key(ec.SECP256R1()))
    _write_pair(folder / RECEIPTS, ed25519.Ed25519PrivateKey.generate())
    signer = generate(log_origin)
    write_new(folder / CHECKPOINT, f"{signer.encode()}\n".encode())
    write_new((folder / CHECKPOINT).with_suffix(".pub"), f"{signer.verifier.encode()}\n".encode(), PUBLIC_FILE)
    write_new(folder / SEALING, f"{secrets.token_hex(_SEALING_BYTES)}\n".encode())
    sync_directory(folder)


def _write_pair(path: Path, key: PrivateKey) -> None:
    write_new(path, private_pem(key))
    write_new(path.with_suffix(".pub"), public_pem(key), PUBLIC_FILE)
