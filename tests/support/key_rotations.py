"""A trail whose key is given up for another, by the auditor's own parts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from audit.auditor import Auditor
from audit.checkpoint import Verifier, read_signer
from audit.journal import Journal
from audit.key_requests import Request, ask
from audit.rotating import Rotating, settle
from tests.support.trails import Trail, decision


def key_of(trail: Trail, folder: Path) -> Path:
    """Write the trail's key into files as an installation has them, and five records signed with it."""
    path = folder / "keys" / "checkpoint.key"
    path.parent.mkdir()
    path.write_text(trail.signer.encode() + "\n")
    path.chmod(0o600)
    path.with_suffix(".pub").write_text(trail.signer.verifier.encode() + "\n")
    trail.write("worker-0", [decision(at) for at in range(5)])
    trail.sign()
    return path


def run_auditor(trail: Trail, key: Path) -> None:
    """One life of the auditor: start, look for a request, sign what is there, end."""

    async def run() -> None:
        auditor = Auditor(trail.journals, trail.log, settle(key, trail.log))
        journal = Journal(trail.journals, "auditor", segment_bytes=100_000, segment_age=3600, stall_limit=30)
        try:
            journal.open(asyncio.get_running_loop())

            async def commit() -> None:
                await asyncio.to_thread(auditor.commit)

            await Rotating(auditor, journal, key, key.parent / "state", commit).step()
            journal.close(5)
            while auditor.poll():
                continue
            auditor.commit()
        finally:
            journal.close(5)
            auditor.close()

    asyncio.run(run())


def request(key: Path) -> None:
    """Ask for another key."""
    old = read_signer(key.read_text()).verifier
    ask(key.parent / "state", Request(old.encode(), "ciso", "定期の交換", "R1"))


def rotate(trail: Trail, key: Path) -> Verifier:
    """Give the key up for another; returns the new one."""
    request(key)
    run_auditor(trail, key)
    return read_signer(key.read_text()).verifier
