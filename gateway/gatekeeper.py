"""The gate with everything that makes it live: the clock, the token buckets, the journals, the question to the steward.

The edge asks it and acts on its verdicts. It never raises towards the edge: what goes wrong here is a refusal with a
record, or, where the record itself fails, a refusal that is counted and told in the next `audit.gap`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orjson import dumps

from audit.event import Action, event, text
from audit.journal import JournalUnhealthy
from gateway.completion import completion_bytes, own_page_completion, progress_record
from gateway.counters import Counters
from gateway.edge.services import Answer, Answered, Outcome, Passed, RecordNotKept
from gateway.edge.timeouts import PERIOD
from gateway.gate.decision_record import fault_record
from gateway.gate.judge import Terms, judge
from gateway.gate.leased import LeasedBuckets
from gateway.gate.limits import OPEN, SETTLED, Buckets, Limits, Rate
from gateway.gate.old_paths import exceptions_of
from gateway.gate.overload import Overload
from gateway.gate.reference import new_reference
from gateway.gate.refusal import Refusals, Told, later
from gateway.gate.request import Moment, PathExceptions, Peer, RequestFault, RequestHead
from gateway.gate.route import OWN_PATH
from gateway.gate.verdict import Forward, Local, Refuse, SignIn, StepUp, Unknown, Verdict
from gateway.session_use import SessionUse
from policies.reasons import Reason

if TYPE_CHECKING:
    from audit.anonymous import Coalescer
    from audit.journal import Journal
    from gateway.gate.assertion import Signer
    from gateway.state.view import View

Done = Callable[[BaseException | None], None]

_log = logging.getLogger("sekisho.worker")
_NOT_KNOWN_KEPT: Final = 10_000
_ADDRESSES: Final = 20_000
SYNCED: Final = "synced"
_OWN_PAGES: Final = OWN_PATH + b"/"
_PEOPLE: Final = 50_000
_STREAM_WAIT: Final = 10  # seconds until somebody who has too many streams open may ask again
_ASKS: Final = Rate(per_second=5, burst=20)


@dataclass(slots=True)
class Trail:
    """Where decisions are kept: people's in the journal, strangers' in the bounded one."""

    journal: Journal
    strangers: Coalescer


@dataclass(frozen=True, slots=True)
class Rates:
    """How often one address, one person, one session may ask, over all `workers` together."""

    address: Rate
    user: Rate
    session: Rate
    workers: int = 1

    def buckets(self) -> dict[str, Buckets]:
        """Return this worker's buckets by what they limit."""
        table = {
            "address": (self.address, _ADDRESSES), "user": (self.user, _PEOPLE), "session": (self.session, _PEOPLE),
        }  # fmt: skip
        return {
            kind: Buckets(rate, kept) if self.workers == 1 else LeasedBuckets(rate, self.workers, kept)
            for kind, (rate, kept) in table.items()
        }


class WorkerGatekeeper:
    """One worker's `gateway.edge.services.Gatekeeper`. Used from its loop only."""

    def __init__(
        self, view: View, terms: Terms, refusals: Refusals, signer: Signer, trail: Trail, rates: Rates,
        ask: Callable[[str], Awaitable[bool]], ask_limit: float, clock: Callable[[], float] = time.monotonic,
        overload_lag: float = 0.1,
    ) -> None:  # fmt: skip
        """`ask` puts a token's digest (hex) to the steward; `ask_limit` bounds the wait in seconds.

        `overload_lag`: seconds that the worker may be late before it refuses some.

        `clock` gives monotonic seconds: a worker's is its loop's own.
        """
        self._view = view
        self._terms = terms
        self._refusals = refusals
        self._signer = signer
        self._trail = trail
        buckets = rates.buckets()
        self._addresses, self._users, self._sessions = buckets["address"], buckets["user"], buckets["session"]
        self._buckets = buckets
        self.leased = {kind: each for kind, each in buckets.items() if isinstance(each, LeasedBuckets)}
        self._asks = Buckets(_ASKS, _ADDRESSES)
        self._ask = ask
        self._ask_limit = ask_limit
        self._clock = clock
        self._latest = Moment(0.0, -1.0)
        self._beat = -1.0  # the heartbeat that `_latest` counts from
        self._not_known: dict[str, None] = {}
        self.counters = Counters()
        self.overload = Overload(overload_lag)
        self.crowded: AbstractSet[str] = frozenset()  # sessions with as many streams as they may have
        self.use = SessionUse()

    def counts(self) -> dict[str, object]:
        """Return what this worker counts, with how many requests each kind of rate stopped."""
        limited = {kind: each.refused for kind, each in self._buckets.items()}
        return {**self.counters.as_mapping(), "limited": limited}

    # -- verdicts -----------------------------------------------------------------------------------------------------

    def moment(self) -> Moment:
        """Return now: the steward's time, carried on by the monotonic clock; before its first word our own.

        One moment serves while the clock shows the same time and no heartbeat came: uvloop's counts milliseconds.
        """
        clock = self._clock
        mono = clock()
        view, latest = self._view, self._latest
        if mono == latest.mono and view.beat_mono == self._beat:
            return latest
        self._beat = view.beat_mono
        self._latest = latest = Moment(view.now(mono) if view.beat_mono else time.time(), mono)
        return latest

    def judge(self, request: RequestHead) -> Verdict:
        """Judge one request; an internal error is a refusal."""
        moment = self.moment()
        request_id = new_reference(moment.wall)
        try:
            verdict = self._judge(request, moment, request_id)
        except Exception:  # noqa: BLE001  # whatever it was, the answer is a refusal with a record
            _log.exception("judging failed; the request is refused")
            self.counters.internal_errors += 1
            fault = RequestFault(503, Reason.INTERNAL_ERROR, "the gate failed")
            verdict = self._fault(request.peer, fault, moment.wall, request_id)
        self.counters.verdicts[type(verdict)] += 1
        return verdict

    def _judge(self, request: RequestHead, moment: Moment, request_id: str) -> Verdict:
        if self.overload.share and not _is_own(request, self._terms) and self.overload.refuses():
            self.counters.reached["overload_lag"] += 1
            fault = RequestFault(503, Reason.OVERLOADED, "the worker is late")
            record = fault_record(request.peer, fault, moment.wall, request_id)
            return Refuse(request_id, record, fault.status, fault.reason.value, wait=self.overload.recovery(PERIOD))
        address = request.peer.network
        wait = self._addresses.take(address, moment.mono) if address else 0
        limits = Limits(address_wait=wait) if wait else OPEN
        verdict = judge(self._view, request, moment, limits, request_id, self._terms)
        if type(verdict) is Unknown and (
            verdict.token_hash in self._not_known or self._asks.take(address, moment.mono)
        ):
            verdict = judge(self._view, request, moment, SETTLED, request_id, self._terms)
        if type(verdict) is Forward:
            mono = moment.mono
            wait = self._users.take(verdict.user.id, mono) or self._sessions.take(verdict.session.id, mono)
            if not wait and self.crowded and verdict.session.id in self.crowded:
                wait = _STREAM_WAIT
                self.counters.reached["streams_per_session"] += 1
            if wait:
                return judge(self._view, request, moment, Limits(principal_wait=wait), request_id, self._terms)
            self.use.forwarded(request, verdict, moment.wall)
        return verdict

    def judge_again(self, request: RequestHead) -> str:
        """Return why a request that was forwarded would not be forwarded now; "" = it still would."""
        moment = self.moment()
        try:
            verdict = judge(self._view, request, moment, SETTLED, new_reference(moment.wall), self._terms)
        except Exception:  # noqa: BLE001  # whatever it was, what is no longer known to be allowed ends
            _log.exception("judging again failed; the exchange is ended")
            self.counters.internal_errors += 1
            return Reason.INTERNAL_ERROR.value
        if isinstance(verdict, Forward | Local):
            return ""
        if isinstance(verdict, Refuse | SignIn):
            return verdict.reason
        return Reason.STEP_UP_REQUIRED.value if isinstance(verdict, StepUp) else Reason.SESSION_ENDED.value

    def reject(self, peer: Peer, fault: RequestFault) -> Refuse:
        """Refuse what never became a request."""
        wall = self.moment().wall
        verdict = self._fault(peer, fault, wall, new_reference(wall))
        self.counters.verdicts[type(verdict)] += 1
        return verdict

    def _fault(self, peer: Peer, fault: RequestFault, wall: float, request_id: str) -> Refuse:
        record = fault_record(peer, fault, wall, request_id)
        return Refuse(request_id, record, fault.status, fault.reason.value, close=True)

    async def resolve(self, token_hash: str) -> None:
        """Ask the steward once; whatever it says, this token is not asked about again."""
        try:
            async with asyncio.timeout(self._ask_limit):
                await self._ask(token_hash)
        except (TimeoutError, OSError):
            self.counters.asks_failed += 1
        if len(self._not_known) >= _NOT_KNOWN_KEPT:
            self._not_known.clear()
        self._not_known[token_hash] = None

    # -- records ------------------------------------------------------------------------------------------------------

    def keep(self, verdict: Verdict, done: Done) -> None:
        """Record a decision where it belongs, as durably as the app wants it."""
        try:
            if type(verdict) is Forward:
                synced = verdict.app.durability == SYNCED
                self._trail.journal.append_encoded(verdict.own, synced, done, verdict.shared.decided)
                return
            if isinstance(verdict, Unknown):
                raise RecordNotKept("no decision yet")
            record = verdict.record
            if "user.id" in record:
                self._trail.journal.append(record, False, done, type(verdict) is Local)
            else:
                address, reason = record.get("source.ip", ""), record["sekisho.reason"]
                self._trail.strangers.append(record, address, reason, self.moment().wall, done)
        except (JournalUnhealthy, TypeError, ValueError) as error:
            raise RecordNotKept(str(error)) from error

    def unkept(self, request: RequestHead | None) -> Answer:
        """Say that nothing can be recorded, so nothing may happen."""
        self.counters.refused_unhealthy += 1
        request_id = new_reference(self.moment().wall)
        told = Told(request_id, 503, Reason.JOURNAL_UNHEALTHY.value, extra=(later(0.0, request_id),))
        return self._refusals.tell(told, request)

    def completed(self, verdict: Passed, request: RequestHead, outcome: Outcome) -> None:
        """Record how a forwarded request ended; a failing journal counts it in its gap."""
        try:
            wall = self.moment().wall
            if type(verdict) is Forward:
                encoded = completion_bytes(verdict.request_id, outcome, wall)
                self._trail.journal.append_encoded(encoded, False, None, b"", True)
                return
            record = own_page_completion(verdict, outcome, wall)
            if "user.id" in record:
                self._trail.journal.append(record, False, None, True)
            else:
                outcome_name = record["sekisho.outcome"]
                self._trail.strangers.append(record, request.peer.address, outcome_name, wall, None)
        except (JournalUnhealthy, TypeError, ValueError):
            self.counters.completions_lost += 1

    def progressed(self, verdict: Passed, outcome: Outcome) -> None:
        """Record how a request to an app that goes on stands; a failing journal counts it in its gap."""
        if not isinstance(verdict, Forward):
            return
        try:
            record = progress_record(verdict, outcome, self.moment().wall)
            self._trail.journal.append_encoded(dumps(record), False, None)
        except (JournalUnhealthy, TypeError, ValueError):
            self.counters.completions_lost += 1

    def handshake_failed(self, peer: Peer, error: str) -> None:
        """Record a TLS handshake or PROXY header that failed."""
        wall = self.moment().wall
        fields = {
            "source.ip": peer.address or None, "sekisho.listener": peer.listener, "error.message": error,
            "tls.client.server_name": text(peer.server_name) or None, "event.outcome": "failure",
        }  # fmt: skip
        try:
            self._trail.strangers.append(event(Action.TLS_FAILED, wall, fields), peer.address, "tls", wall, None)
        except (JournalUnhealthy, TypeError, ValueError):
            self.counters.completions_lost += 1

    def turned_away(self, peer: Peer, bound: str) -> None:
        """Record a connection over a limit, or one that could not be accepted."""
        wall = self.moment().wall
        fields = {
            "source.ip": peer.address or None, "sekisho.listener": peer.listener, "error.message": bound,
            "sekisho.reason": Reason.OVERLOADED.value, "event.outcome": "failure",
        }  # fmt: skip
        try:
            self._trail.strangers.append(
                event(Action.CONNECTION_REFUSED, wall, fields), peer.address, bound, wall, None
            )
        except (JournalUnhealthy, TypeError, ValueError):
            self.counters.completions_lost += 1

    def zone_of(self, address: str) -> str:
        """Return the zone that the policy gives to an address."""
        policy = self._view.policy
        try:
            return "" if policy is None else self._terms.memo.zone(policy, address)
        except Exception:  # noqa: BLE001  # judging with this policy fails too, and refuses
            _log.exception("no zone for an address")
            return ""

    # -- answers ------------------------------------------------------------------------------------------------------

    def answer(self, verdict: Answered, request: RequestHead | None) -> Answer:
        """Write the answer of a verdict that is not forwarded; without words where writing them fails."""
        try:
            return self._refusals.answer(verdict, request)
        except Exception:  # noqa: BLE001  # the refusal stands, however badly it is said
            _log.exception("writing a refusal failed")
            self.counters.internal_errors += 1
            reference = ((b"X-Sekisho-Request-Id", verdict.request_id.encode("ascii")),)
            return Answer(503, reference, b"", close=True)

    def failed(self, verdict: Passed, request: RequestHead, status: int, reason: str, wait: float = 0.0) -> Answer:
        """Write the answer of a request whose app, or control, did not answer."""
        again = (later(wait, verdict.request_id),)
        if isinstance(verdict, Local):
            told = Told(verdict.request_id, 503, Reason.CONTROL_UNAVAILABLE.value, extra=again)
            return self._refusals.tell(told, request)
        extra = again if status in (429, 503) else ()
        told = Told(verdict.request_id, status, reason, verdict.app, verdict.user.language, extra=extra)
        return self._refusals.tell(told, request)

    def identity(self, verdict: Forward) -> bytes:
        """Return the header lines that tell the app who asks."""
        return self._signer.lines(verdict, verdict.moment or self.moment())

    def path_exceptions(self, host: str) -> PathExceptions | None:
        """By which named exceptions paths on a host are read."""
        app = self._view.hosts.get(host)
        return None if app is None else exceptions_of(app)

    def knows_host(self, host: str) -> bool:
        """Whether a host is the portal or an active app."""
        return host == self._terms.portal_host or host in self._view.hosts


def _is_own(request: RequestHead, terms: Terms) -> bool:
    """Whether a request is for our own pages: sign-in keeps its room, whatever is asked of the apps."""
    return request.host == terms.portal_host or request.path.startswith(_OWN_PAGES)
