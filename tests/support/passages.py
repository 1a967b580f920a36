"""A few requests as a worker's journal keeps them, byte by byte: decided by the gate, passed, completed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from audit.segment import GENESIS, encode_all, head, name_of
from gateway.edge.services import Outcome
from gateway.gate.assertion import Signer
from gateway.gate.judge import judge
from gateway.gate.limits import OPEN, Rate
from gateway.gate.refusal import Refusals
from gateway.gate.request import Moment, RequestHead
from gateway.gate.verdict import Forward, Local
from gateway.gatekeeper import Rates, Trail, WorkerGatekeeper
from tests.support.gate_world import MONO, NOW, PORTAL, PORTAL_TOKEN, World
from tests.support.gate_world import head as request

_WIDE = Rate(1e9, 1e9)
IDS = ("1M3250V3V9A9YSQ1", "1M3250V3V9A9YSQ2", "1M3250V3V9A9YSQ3")
REQUESTS: tuple[tuple[RequestHead, Outcome], ...] = (
    (
        request("POST", path="/people/12/34", query="q=1", user_agent="Other/1.0"),
        Outcome(200, "", False, 120, 4096, 0.0125, 0.0119),
    ),
    (
        request(path="/多い/socket", upgrade=True),
        Outcome(101, "user_disabled", False, 64, 512, 7200.5, 0.002, "", True, 3, 17),
    ),
    (
        request(host=PORTAL, cookie=f"__Host-sekisho={PORTAL_TOKEN}", path="/apps"),
        Outcome(502, "app_unreachable", False, 0, 0, 0.5, None, "no control"),
    ),
)
"""To an app, from another browser than at sign-in; a WebSocket that ends after two hours; a page of our own."""


class Lines:
    """A journal of one epoch that is kept in memory, with salts that are no secret."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._prev = GENESIS.hex().encode()

    def append(
        self, event: dict[str, Any], synced: bool, done: Callable[..., object] | None, essential: bool = False
    ) -> None:
        """Keep an event."""
        self.append_encoded(orjson.dumps(event), synced, done, b"", essential)

    def append_encoded(
        self, payload: bytes, synced: bool, done: Callable[..., object] | None, members: bytes = b"",
        essential: bool = False,
    ) -> None:  # fmt: skip
        """Keep what is JSON already."""
        del synced, done, essential
        seq = len(self.lines) + 1
        salt = hashlib.sha256(bytes([seq])).digest()[:16]
        line, self._prev = encode_all(head("worker-0", 1), seq, self._prev, salt, [(members, payload)])
        self.lines.append(line)


def passages() -> list[bytes]:
    """The lines of `REQUESTS` as the gatekeeper has them written: three decisions, then their completions."""
    world, journal, mono = World(), Lines(), [MONO]

    async def nobody(_token_hash: str) -> bool:
        return False

    gate = WorkerGatekeeper(
        world.view, world.terms, Refusals(world.view, "https://portal.test", "ja", ""),
        Signer(ec.generate_private_key(ec.SECP256R1()), "https://portal.test"), cast("Trail", Trail(journal, journal)),  # type: ignore[arg-type]
        Rates(_WIDE, _WIDE, _WIDE), nobody, 0.2, lambda: mono[0],
    )  # fmt: skip
    passed = []
    for reference, (asked, outcome) in zip(IDS, REQUESTS, strict=True):
        verdict = judge(world.view, asked, Moment(NOW, MONO), OPEN, reference, world.terms)
        assert isinstance(verdict, Forward | Local)
        gate.keep(verdict, lambda error: None)
        passed.append((verdict, asked, outcome))
    for verdict, asked, outcome in passed:
        mono[0] = MONO + outcome.duration
        gate.completed(verdict, asked, outcome)
    return journal.lines


def laid(root: Path, lines: list[bytes]) -> Path:
    """Lay lines down as the journal of `worker-0` under `root`; returns `root`."""
    folder = root / "worker-0"
    folder.mkdir(parents=True)
    (folder / name_of(1, 1, "jsonl")).write_bytes(b"".join(lines))
    return root
