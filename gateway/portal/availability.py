"""What the launcher says of each app: may this person, on this device, from this place, open it now, and if not why.

The answer comes from the gate's own facts and the active policy, so it agrees with what happens when the app is opened
in the same second. It decides nothing: opening an app is judged by the worker, each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.gate.facts import moments_of, passing_facts, standing_facts
from gateway.gate.refusal_texts import Texts, counsel
from gateway.state.records import AppState, LockTarget
from policies.compile import compile_policy
from policies.decision import Effect
from policies.load import load_policy
from policies.reasons import Reason

if TYPE_CHECKING:
    from gateway.identity.context import ControlContext
    from gateway.portal.arrival import Arrival
    from gateway.state.records import App, Device, Lock, Session, User
    from policies.compile import CompiledPolicy

_FIRST_REQUEST = {"http.method": "GET", "http.path": "/"}


@dataclass(frozen=True, slots=True)
class Offer:
    """One app in the launcher. `reason` is None where it may be opened; then `step_up` says what will be asked first.

    `remedies` are what the person can do, in words; `message` is what the person who locked the app wrote.
    """

    app: App
    reason: Reason | None = None
    remedies: tuple[str, ...] = ()
    message: str = ""
    step_up: bool = False


@dataclass(slots=True)
class ActivePolicy:
    """The policy in force, compiled once for each version."""

    _compiled: CompiledPolicy | None = field(default=None, repr=False)

    def of(self, context: ControlContext) -> CompiledPolicy | None:
        """The compiled active policy; None where there is none, and then nothing may be opened."""
        version = context.reader.active_policy()
        if version is None:
            return None
        if self._compiled is None or self._compiled.hash != version.hash:
            self._compiled = compile_policy(load_policy(version.source.encode(), version.hash[:12]))
        return self._compiled


def offers(context: ControlContext, active: ActivePolicy, arrival: Arrival, language: str) -> tuple[Offer, ...]:
    """Return every served app with what the policy says now, those that may be opened first; () for strangers."""
    if arrival.signed_in is None:
        return ()
    session, user = arrival.signed_in
    device = context.reader.device(arrival.source.device_id) if arrival.source.device_id else None
    policy, words, now = active.of(context), Texts(language, ""), context.clock()
    locks = {
        lock.target_id: lock
        for lock in context.reader.locks()
        if lock.target == LockTarget.APP and (lock.expires_at is None or lock.expires_at > now)
    }
    served = [app for app in context.reader.apps() if app.state == AppState.ACTIVE and app.hosts]
    found = [
        _offer(app, locks.get(app.id), policy, _facts(user, session, device, app, arrival.source.zone, now), words)
        for app in served
    ]
    return tuple(sorted(found, key=lambda offer: (offer.reason is not None, offer.app.business, offer.app.title)))


def _facts(user: User, session: Session, device: Device | None, app: App, zone: str, now: float) -> dict[str, object]:
    passing = passing_facts(moments_of(session, device), int(now))
    return {**standing_facts(user, session, device, app), **passing, "net.zone": zone, **_FIRST_REQUEST}


def _offer(app: App, lock: Lock | None, policy: CompiledPolicy | None, facts: dict[str, object], words: Texts) -> Offer:
    if lock is not None:
        return Offer(app, Reason.APP_LOCKED, message=lock.message)
    if policy is None:
        return Offer(app, Reason.STATE_STALE)
    if policy.evaluate(facts).effect is Effect.ALLOW:
        return Offer(app)
    explanation = policy.explain(facts)
    if explanation.step_up is not None:
        return Offer(app, step_up=True)
    advice, codes = counsel(explanation)
    return Offer(app, explanation.decision.reason, (*advice, *filter(None, map(words.remedy, codes))))
