"""Which modules are compiled: those that every request passes through."""

from __future__ import annotations

from typing import Final

HOT: Final = tuple(
    [f"gateway.edge.{name}" for name in (
        "blocks", "bodies", "client_socket", "connection", "forward", "framing", "held", "known_fields", "live", "pool",
        "pools", "reader", "relay", "response", "resting", "retrying", "timeouts", "upload", "upstream",
    )]
    + [f"gateway.gate.{name}" for name in (
        "assertion", "decision_record", "headers", "instant", "judge", "leased", "limits", "masking", "passage",
        "reference", "request", "standing", "target",
    )]
    + ["gateway.completion", "gateway.gatekeeper", "gateway.session_use"]
    + ["audit.event", "audit.journal", "audit.segment"]
)  # fmt: skip

LOOSE: Final = frozenset({("gateway.edge.connection", "Exchange"), ("gateway.edge.resting", "Exchange")})
"""Module and class that it does not know the structure of: each would have to be laid out before the other."""
