"""The file of one authority's revocation list: what tells one state of it from another, and what it holds."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from gateway.edge.authorities import Authority
from gateway.posture.crl import CrlFaults, ReadCrl, most_bytes, read_crl
from gateway.state.records import RevocationList

_log = logging.getLogger("sekisho.posture")

Seen = tuple[int, ...]
"""One state of a file."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One list that the settings name."""

    authority: Authority
    file: Path


def row_of(wanted: Wanted, read: ReadCrl) -> RevocationList:
    """Return a list as the store keeps it; when it was put in force is for the steward to say."""
    return RevocationList(
        id=wanted.authority.id, authority=wanted.authority.name, number=read.number, this_update=read.this_update,
        next_update=read.next_update, entries=read.entries, digest=read.digest, read_at=0.0,
    )  # fmt: skip


def read_file(wanted: Wanted, now: float, most: int) -> ReadCrl:
    """Read and verify a file; raises CrlFaults. Blocks."""
    limit = most_bytes(most)
    try:
        with wanted.file.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise CrlFaults([f"{wanted.file}: cannot be read ({error.strerror})"]) from None
    if len(data) > limit:
        expected = f"a list of at most {most} entries (settings: listeners.public.crl_entries)"
        raise CrlFaults([f"{wanted.file}: got more than {limit} bytes, expected {expected}"])
    try:
        return read_crl(data, wanted.authority.certificate, now, most)
    except CrlFaults as error:
        raise CrlFaults([f"{wanted.file}: {fault}" for fault in error.faults]) from None
    except Exception as error:  # noqa: BLE001  # no file, whoever wrote it, may end the process that reads it
        _log.exception("%s: reading a revocation list failed", wanted.file)
        raise CrlFaults([f"{wanted.file}: cannot be read ({type(error).__name__})"]) from None


def state_of(path: Path) -> Seen:
    """Return what tells one state of a file from another; one that is not there has a state too."""
    try:
        state = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
