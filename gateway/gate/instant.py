"""What all requests of one app session have in common: from one place under one policy, and within one second.

A page asks for twenty things at once, over several connections. What their records share is encoded once; facts are
copies of one mapping, and only method, path and outcome are added for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from audit.event import short
from gateway.gate.decision_record import add_extras, allowed_fields
from gateway.gate.facts import FACTS_FIELD, passing_facts

if TYPE_CHECKING:
    from gateway.gate.request import Peer
    from gateway.gate.standing import Memo, Standing
    from policies.compile import CompiledPolicy
    from policies.decision import Decision


class Footing:
    """One standing as seen from one address on one listener, under one policy. Nothing in it is ever changed."""

    __slots__ = ("_address", "_listener", "_policy", "decided", "facts", "fields", "recorded", "zone")

    def __init__(self, standing: Standing, policy: CompiledPolicy, peer: Peer, memo: Memo) -> None:
        self._policy = policy
        self._address = peer.address
        self._listener = peer.listener
        self.zone = memo.zone(policy, peer.address)
        self.recorded = standing.recorded
        self.facts: dict[str, object] = {**standing.facts, "net.zone": self.zone}
        self.fields = self._fields(standing, policy.hash)
        opened = orjson.dumps(short(self.fields))[1:-1]
        self.decided = b'%b,"%b":%b,' % (opened, FACTS_FIELD.encode(), orjson.dumps(standing.recorded)[:-1])

    def _fields(self, standing: Standing, policy_hash: str) -> dict[str, Any]:
        fields = allowed_fields(standing.named, standing.app_session.host)
        fields["sekisho.policy.hash"] = policy_hash
        fields["sekisho.zone"] = self.zone
        fields["sekisho.listener"] = self._listener
        if self._address:
            fields["source.ip"] = self._address
        return fields

    def holds(self, policy: CompiledPolicy, peer: Peer) -> bool:
        """Whether this was made for exactly this policy, address and listener."""
        return self._policy is policy and self._address == peer.address and self._listener == peer.listener


class Instant:
    """Facts and record fields of one footing at one second. All of it is shared: never change it."""

    __slots__ = ("_footing", "_granted", "_passing", "facts", "fresh", "wall")

    def __init__(self, standing: Standing, footing: Footing, policy: CompiledPolicy, wall: int) -> None:
        self.wall = wall
        self._footing = footing
        self._passing = passing_facts(standing.moments, wall)
        self.facts: dict[str, object] = {**footing.facts, **self._passing}
        fresh = policy.fresh_facts(self.facts)
        self.fresh = self.facts if fresh is self.facts else dict(fresh)
        self._granted: Granted | None = None

    @property
    def zone(self) -> str:
        """The zone of the address."""
        return self._footing.zone

    @property
    def recorded(self) -> dict[str, object]:
        """The facts without a field of their own, as the record keeps them."""
        return {**self._footing.recorded, **self._passing}

    def granted(self, decision: Decision) -> Granted:
        """Return what the records have in common of all that this very decision allows."""
        known = self._granted
        if known is None or known.decision is not decision:
            known = self._granted = Granted(self._footing, self._passing, decision)
        return known


class Granted:
    """What one decision allowed at one instant: what the records of all such requests have in common.

    `decided` are members of a JSON object as a line has them, each with a comma behind it: those of one record follow.
    """

    __slots__ = ("_extras", "_footing", "_passing", "decided", "decision")

    def __init__(self, footing: Footing, passing: dict[str, object], decision: Decision) -> None:
        self.decision = decision
        self._footing = footing
        self._passing = passing
        self._extras: dict[str, Any] = {"sekisho.reason": decision.reason.value, "rule.id": decision.rule}
        add_extras(self._extras, decision)
        self.decided = b"%b%b,%b," % (footing.decided, orjson.dumps(passing)[1:], orjson.dumps(self._extras)[1:-1])

    @property
    def fields(self) -> dict[str, Any]:
        """The record fields whose bytes are `decided`, whole."""
        facts = {**self._footing.recorded, **self._passing}
        return {**self._footing.fields, FACTS_FIELD: facts, **self._extras}


def instant_of(standing: Standing, wall: int, policy: CompiledPolicy, peer: Peer, memo: Memo) -> Instant:
    """Return the standing's instant, made anew when the second, the policy or the place is another."""
    footing, instant = standing.footing, standing.instant
    if footing is None or not footing.holds(policy, peer):
        footing = standing.footing = Footing(standing, policy, peer, memo)
    elif instant is not None and instant.wall == wall:
        return instant
    instant = standing.instant = Instant(standing, footing, policy, wall)
    return instant
