"""What all requests of one app session have in common within one second, on one connection, under one policy.

A page asks for twenty things at once: facts and record are then copies of the same two mappings, and only method, path
and outcome are added for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.gate.decision_record import allowed_fields
from gateway.gate.facts import FACTS_FIELD, passing_facts

if TYPE_CHECKING:
    from gateway.gate.request import Peer
    from gateway.gate.standing import Memo, Standing
    from policies.compile import CompiledPolicy


class Instant:
    """Facts and record fields of one standing at one second. `recorded` and `fields` are shared: never change them."""

    __slots__ = ("_peer", "_policy", "_wall", "facts", "fields", "recorded", "zone")

    def __init__(self, standing: Standing, wall: int, policy: CompiledPolicy, peer: Peer, memo: Memo) -> None:
        self._wall = wall
        self._policy = policy
        self._peer = peer
        self.zone = memo.zone(policy, peer.address)
        passing = passing_facts(standing.moments, wall)
        self.facts: dict[str, object] = {**standing.facts, **passing, "net.zone": self.zone}
        self.recorded: dict[str, object] = {**standing.recorded, **passing}
        self.fields = self._fields(standing, policy.hash)

    def _fields(self, standing: Standing, policy_hash: str) -> dict[str, Any]:
        fields = allowed_fields(standing.named, standing.app_session.host)
        fields["sekisho.policy.hash"] = policy_hash
        fields["sekisho.zone"] = self.zone
        fields["sekisho.listener"] = self._peer.listener
        if self._peer.address:
            fields["source.ip"] = self._peer.address
        fields[FACTS_FIELD] = self.recorded
        return fields

    def holds(self, wall: int, policy: CompiledPolicy, peer: Peer) -> bool:
        """Whether this was made for exactly this second, policy and connection."""
        return self._wall == wall and self._policy is policy and self._peer is peer


def instant_of(standing: Standing, wall: int, policy: CompiledPolicy, peer: Peer, memo: Memo) -> Instant:
    """Return the standing's instant, made anew when the second, the policy or the connection is another."""
    instant = standing.instant
    if instant is None or not instant.holds(wall, policy, peer):
        instant = standing.instant = Instant(standing, wall, policy, peer, memo)
    return instant
