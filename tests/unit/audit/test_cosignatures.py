"""Cosignatures: the specification's bytes, what opens, and what is refused."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit.checkpoint import (
    Checkpoint,
    CheckpointInvalid,
    Cosigner,
    Signer,
    claimed,
    cosigned,
    generate,
    generate_cosigner,
    read_cosigner,
    read_signer,
    read_verifier,
    read_witness_key,
    with_line,
)
from audit.note import NoteInvalid

GOLDEN = Path(__file__).parents[2] / "golden" / "audit" / "cosigned-checkpoint.txt"
# C2SP tlog-cosignature: the example of the specification (its witness's public key is not published).
EXAMPLE = (GOLDEN.parent / "c2sp-cosignature-example.txt").read_text(encoding="utf-8")
SEED = bytes(range(32))
LOG = Signer("log.example/audit", Ed25519PrivateKey.from_private_bytes(SEED))
WITNESS = Cosigner("prefecture.example/witness", Ed25519PrivateKey.from_private_bytes(SEED[::-1]))
CHECKPOINT = Checkpoint("log.example/audit", 68, bytes(range(32)))
TIME = 1_679_315_147


def test_the_bytes_of_a_cosigned_checkpoint_are_pinned() -> None:
    note = with_line(LOG.sign(CHECKPOINT), WITNESS.cosign(CHECKPOINT, TIME))
    assert note == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.promise("P5.cosigned")
def test_a_cosigned_checkpoint_opens_with_both_keys_and_tells_the_time() -> None:
    note = GOLDEN.read_text(encoding="utf-8")
    assert LOG.verifier.open(note) == CHECKPOINT
    assert cosigned(note, WITNESS.verifier) == TIME
    later = with_line(note, WITNESS.cosign(CHECKPOINT, TIME + 5))
    assert cosigned(later, WITNESS.verifier) == TIME + 5
    assert later.count("prefecture") == 1  # in place of the earlier one
    two = with_line(note, generate_cosigner("b.example").cosign(CHECKPOINT, TIME + 9))
    assert cosigned(two, WITNESS.verifier) == TIME
    assert LOG.verifier.open(two) == CHECKPOINT


def test_the_signed_message_is_the_specifications() -> None:
    line = WITNESS.cosign(CHECKPOINT, TIME)
    value = base64.b64decode(line.split(" ")[2])
    assert int.from_bytes(value[4:12], "big") == TIME
    message = f"cosignature/v1\ntime {TIME}\nlog.example/audit\n68\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    WITNESS.verifier.key.verify(value[12:], message.encode())
    stamp = base64.b64decode(EXAMPLE.splitlines()[-1].split(" ")[2])[4:12]
    assert int.from_bytes(stamp, "big") == TIME  # the specification's own example has this time in this place


def test_what_another_implementation_cosigned_opens_here() -> None:
    """Made by github.com/transparency-dev/formats v0.1.1, which also opens our golden bytes (`tests/go/witness`)."""
    text = (GOLDEN.parent / "go-cosigned-checkpoint.txt").read_text(encoding="utf-8")
    key, _, note = text.partition("\n")
    witness = read_witness_key(key)
    assert witness.encode() == key
    assert cosigned(note, witness) == 0x6B032EEC
    assert claimed(note) == Checkpoint("go.example/log", 257, bytes(range(32)))
    with pytest.raises(CheckpointInvalid, match="does not fit"):
        cosigned(note.replace("257", "258"), witness)


def test_keys_of_logs_and_witnesses_are_not_taken_for_each_other() -> None:
    same = Signer("a.example", Ed25519PrivateKey.from_private_bytes(SEED))
    twin = Cosigner("a.example", Ed25519PrivateKey.from_private_bytes(SEED))
    assert same.verifier.key_hash != twin.verifier.key_hash
    for read, text in [
        (read_signer, twin.encode()),
        (read_cosigner, same.encode()),
        (read_verifier, twin.verifier.encode()),
        (read_witness_key, same.verifier.encode()),
    ]:
        with pytest.raises(ValueError, match="kind"):
            read(text)
    assert read_cosigner(twin.encode()).encode() == twin.encode()
    assert read_witness_key(twin.verifier.encode()) == twin.verifier
    assert base64.b64encode(b"\4" + SEED).decode() not in repr(twin)


def test_a_cosignature_is_no_signature_of_the_log() -> None:
    twin = Cosigner(LOG.name, Ed25519PrivateKey.from_private_bytes(SEED))
    note = CHECKPOINT.body() + "\n" + twin.cosign(CHECKPOINT, TIME)
    assert cosigned(note, twin.verifier) == TIME
    with pytest.raises(CheckpointInvalid, match="no signature by"):
        LOG.verifier.open(note)


@given(st.integers(0, 400), st.integers(1, 255))
def test_no_byte_of_a_cosigned_checkpoint_can_change_unseen(position: int, flip: int) -> None:
    note = with_line(LOG.sign(CHECKPOINT), WITNESS.cosign(CHECKPOINT, TIME)).encode()
    at = position % len(note)
    changed = bytes([*note[:at], note[at] ^ flip, *note[at + 1 :]])
    try:
        text = changed.decode()
        assert (LOG.verifier.open(text), cosigned(text, WITNESS.verifier)) != (CHECKPOINT, TIME)
    except (UnicodeDecodeError, CheckpointInvalid):
        return


def test_what_is_no_cosigned_checkpoint_is_refused_by_name() -> None:
    note = LOG.sign(CHECKPOINT)
    line = WITNESS.cosign(CHECKPOINT, TIME)
    stranger = generate_cosigner(WITNESS.name)
    false = WITNESS.cosign(Checkpoint(CHECKPOINT.origin, 69, CHECKPOINT.root), TIME)
    for text, said in [
        (note, "no cosignature by"),
        (with_line(note, stranger.cosign(CHECKPOINT, TIME)), "no cosignature by"),
        (with_line(note, false), "does not fit"),
        ("log.example/audit\n", "not a signed note"),
        (note + line[:-1], "not a signed note"),
        (note + f"— {WITNESS.name} !!!\n", "not base64"),
    ]:
        with pytest.raises(CheckpointInvalid, match=said):
            cosigned(text, WITNESS.verifier)
    with pytest.raises(NoteInvalid):
        with_line("nothing", line)
    with pytest.raises(ValueError, match="time"):
        WITNESS.cosign(CHECKPOINT, 1 << 63)
    assert claimed(EXAMPLE).size == 20_852_163
    assert generate("a.example").verifier.name == "a.example"
