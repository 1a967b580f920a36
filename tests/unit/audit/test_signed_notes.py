"""Checkpoints and receipts: what was signed opens, everything else is refused by name."""

from __future__ import annotations

import dataclasses

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.checkpoint import Checkpoint, CheckpointInvalid, generate, read_signer, read_verifier
from audit.receipt import Receipt, ReceiptInvalid, sign_receipt, verify_receipt

# golang.org/x/mod/sumdb/note, its own documentation: the key pair and the signed example.
SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
RECEIPT = Receipt(
    "session.end", "RCP-1", "ciso", "紛失", ("user:sato",), 1.5, ("s1", "s2"), {"worker-0": 3}, (), 1.6, ""
)


def test_keys_are_those_of_the_reference_implementation() -> None:
    signer = read_signer(SIGNER)
    assert signer.verifier.encode() == VERIFIER
    assert signer.encode() == SIGNER
    assert read_verifier(VERIFIER).key_hash.hex() == "c74f20a3"
    assert "AYEKF" not in repr(signer)


@pytest.mark.parametrize("text", ["", "x", SIGNER[:-4], SIGNER.replace("c74f20a3", "c74f20a4"), VERIFIER])
def test_bad_keys_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ValueError, match="key") as caught:
        read_signer(text)
    assert "AYEKF" not in str(caught.value)


def test_a_checkpoint_opens_with_its_key_only() -> None:
    signer = generate("log.example")
    checkpoint = Checkpoint("log.example", 68, bytes(range(32)))
    note = signer.sign(checkpoint)
    assert signer.verifier.open(note) == checkpoint
    assert note.startswith("log.example\n68\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n— log.example ")
    stranger = generate("log.example").verifier
    for verifier, text in [
        (stranger, note),
        (signer.verifier, note.replace("\n68\n", "\n69\n")),
        (signer.verifier, note.replace("\n68\n", "\n068\n")),
        (signer.verifier, note[:-2]),
        (signer.verifier, note.split("\n\n")[0] + "\n\n"),
        (signer.verifier, "log.example\n68\n\n— log.example AAAA\n"),
    ]:
        with pytest.raises(CheckpointInvalid):
            verifier.open(text)
    both = note + stranger.name.join(["— ", " AAAAAAAA\n"])
    assert signer.verifier.open(both) == checkpoint  # another key's line is no fault


@pytest.mark.promise("P3.receipt-verifies-offline")
def test_a_receipt_proves_what_was_signed_and_nothing_else() -> None:
    key = Ed25519PrivateKey.generate()
    text = sign_receipt(RECEIPT, key)
    assert verify_receipt(text, key.public_key()) == RECEIPT
    with pytest.raises(ReceiptInvalid, match="does not fit"):
        verify_receipt(text.replace("worker-0", "worker-1"), key.public_key())
    with pytest.raises(ReceiptInvalid, match="does not fit"):
        verify_receipt(text, Ed25519PrivateKey.generate().public_key())
    envelope = orjson.loads(text)
    for damaged in ["", "[]", "{}", "null", orjson.dumps({**envelope, "signature": "!"}).decode(), text[:-1]]:
        with pytest.raises(ReceiptInvalid):
            verify_receipt(damaged, key.public_key())


def test_a_receipt_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECEIPT.who = "another"  # type: ignore[misc]
