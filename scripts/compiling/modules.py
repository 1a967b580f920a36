"""Which modules are compiled: those that every request passes through, then those that each of its records does.

Of the auditor's only those are here that work on every single record and gain by it; what works on a piece of many
records at once (`audit.reader`, `audit.log`), or hashes (`audit.merkle`), spends its time in C already.
"""

from __future__ import annotations

from typing import Final

HOT: Final = tuple(
    [f"gateway.edge.{name}" for name in (
        "blocks", "bodies", "client_socket", "connection", "forward", "framing", "held", "known_fields", "live", "pool",
        "pools", "reader", "relay", "response", "resting", "retrying", "timeouts", "upload", "upstream",
    )]
    + [f"gateway.gate.{name}" for name in (
        "asked", "assertion", "decision_record", "headers", "instant", "judge", "leased", "limits", "masking",
        "passage", "reference", "request", "standing", "target",
    )]
    + ["gateway.completion", "gateway.gatekeeper", "gateway.session_use"]
    + ["audit.event", "audit.journal", "audit.segment"]
    + ["audit.detect.engine", "audit.detect.sessions", "audit.index.rows", "audit.index.writer"]
)  # fmt: skip

LOOSE: Final = frozenset({("gateway.edge.connection", "Exchange"), ("gateway.edge.resting", "Exchange")})
"""Module and class that it does not know the structure of: each would have to be laid out before the other."""

FIRST: Final = {"gateway.edge": "gateway.edge.connection"}
"""Package and the one of its modules that comes first, whichever is asked for: as C structures its modules know each
other in a circle, which can be entered there only."""
