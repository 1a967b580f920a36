"""Large trails, made in one go: segments and tiles of requests as the gateway records them, without its processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from audit.checkpoint import Checkpoint
from audit.log import TileLog
from audit.segment import GENESIS, SALT, Chain, Unchained, encode_all, head, name_of
from audit.verifying.bundles import split
from tests.support.trails import Trail

SEGMENT: Final = 16 << 20  # bytes
_BATCH: Final = 1000  # records of one writer that the log takes in at once, as the auditor's polls do
_CONSTANT: Final = (
    b'"event.action":"request.decided","user.id":"878cdf57091a4165b9787bb07b9a2b2f","user.name":"kato",'
    b'"user.group.name":["shokuin"],"sekisho.session.id":"s-e8485ec14e3dd96321649f9a","sekisho.app.id":"wiki",'
    b'"sekisho.app_session.id":"a-1df02b1412ccdeb79367f01d","event.outcome":"success","sekisho.verdict":"forward",'
    b'"url.domain":"wiki.sekisho.localhost","sekisho.zone":"office","sekisho.listener":"public",'
    b'"sekisho.policy.hash":"24c197acb8df7619399642827cefb16f72752f056d725965e9d20f814f16048e",'
)
_DECISION: Final = (
    b'{"source.ip":"10.1.%d.%d","sekisho.facts":{"user.kind":"staff","user.department":"\xe7\xa6\x8f\xe7\xa5\x89\xe8\xaa\xb2",'
    b'"user.contract_valid":true,"mfa.amr":["mfa","otp","pwd"],"device.known":true,"app.sensitivity":"1","mfa.method":"totp",'
    b'"time.of_day":1163,"time.weekday":"sun","time.now":1795343035,"auth.age":6,"mfa.age":6},'
    b'"@timestamp":"2026-11-22T%02d:%02d:%02d.061Z","http.request.id":"%016d","http.request.method":"GET",'
    b'"url.path":"/page/%d","sekisho.reason":"allowed","rule.id":"wiki-staff","user_agent.original":"Mozilla/5.0"}'
)
_COMPLETION: Final = (
    b'{"@timestamp":"2026-11-22T%02d:%02d:%02d.061Z","http.request.id":"%016d","event.outcome":"success",'
    b'"sekisho.outcome":"complete","http.request.body.bytes":0,"http.response.body.bytes":16,"event.duration":1288417,'
    b'"http.response.status_code":200,"sekisho.upstream.first_byte_ms":1.221}'
)


def requests(first: int, count: int) -> list[Unchained]:
    """Return `count` records, decision and completion in turn."""
    made: list[Unchained] = []
    for number in range(first, first + count):
        request, clock = number // 2, (number // 3600 % 24, number // 60 % 60, number % 60)
        if number % 2:
            made.append((b'"event.action":"request.completed",', _COMPLETION % (*clock, request)))
        else:
            made.append((_CONSTANT, _DECISION % (request >> 8 & 255, request & 255, *clock, request, request)))
    return made


class _Writer:
    """Writes one journal, one segment after the other."""

    def __init__(self, root: Path, name: str) -> None:
        self.folder, self.name = root / name, name
        self.folder.mkdir(parents=True)
        self._seq, self._prev, self._size = 0, GENESIS.hex().encode(), SEGMENT
        self._path = self.folder

    def write(self, count: int) -> list[bytes]:
        """Append so many records; returns their entries."""
        if self._size >= SEGMENT:
            self._path, self._size = self.folder / name_of(1, self._seq + 1, "jsonl"), 0
        chain = Chain(self.name)
        chain.turn(1)
        chain.seq, chain.entry = self._seq, bytes.fromhex(self._prev.decode())
        lines, self._prev = encode_all(
            head(self.name, 1), self._seq + 1, self._prev, os.urandom(SALT * count), requests(self._seq, count)
        )
        with self._path.open("ab") as file:
            file.write(lines)
        self._seq += count
        self._size += len(lines)
        entries, fault = chain.accept_all(lines)
        assert fault is None
        return split(entries)


class LargeTrail:
    """A trail that grows, and is signed at each size."""

    def __init__(self, trail: Trail, names: list[str]) -> None:
        """`trail` is empty; `names` are its writers."""
        self.trail = trail
        self._turns = _in_turn([_Writer(trail.journals, name) for name in names])
        self._log = TileLog(trail.log)

    def grow(self, records: int) -> int:
        """Write until there are at least `records` records, and sign; returns how many there are."""
        log, trail = self._log, self.trail
        while log.size < records:
            for entry in next(self._turns).write(min(_BATCH, records - log.size)):
                log.append(entry)
            if log.size % 100_000 == 0:
                log.flush()
        log.flush()
        signed = trail.signer.sign(Checkpoint(trail.signer.name, log.size, log.root()))
        (trail.log / "checkpoint").write_text(signed)
        return log.size


def grow(trail: Trail, records: int, names: list[str]) -> int:
    """Fill an empty trail with so many records of these writers and sign it; returns how many there are."""
    return LargeTrail(trail, names).grow(records)


def _in_turn(made: list[_Writer]) -> Iterator[_Writer]:
    while True:
        yield from made
