"""The record of how a forwarded request ended: small, and made for every request, so it is built in one go."""

from __future__ import annotations

from typing import Any, Final

from audit.event import BASE, Action, timestamp
from gateway.edge.services import Outcome, Passed
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Local
from policies.reasons import Reason

_BASE: Final = BASE[Action.REQUEST_COMPLETED]
_APP_FAULTS: Final = frozenset({Reason.APP_UNREACHABLE, Reason.APP_TIMED_OUT, Reason.APP_ANSWER_INVALID})
_WHO: Final = (
    "user.id", "user.name", "sekisho.app.id", "sekisho.session.id", "sekisho.app_session.id", "device.id", "source.ip",
    "http.request.method", "url.domain", "sekisho.area",
)  # fmt: skip


def completion_record(verdict: Passed, request: RequestHead, outcome: Outcome, wall: float) -> dict[str, Any]:
    """Return the completion of a request at `wall`; who and what are taken from its decision."""
    decided = verdict.record
    reason, status = outcome.reason, outcome.status
    if reason in _APP_FAULTS and isinstance(verdict, Local):  # our own pages have no app behind them
        reason = Reason.CONTROL_UNAVAILABLE.value
        status = 503 if status in (502, 504) else status
    record: dict[str, Any] = {
        "@timestamp": timestamp(wall),
        **_BASE,
        "http.request.id": verdict.request_id,
        **{name: decided[name] for name in _WHO if name in decided},
        "event.outcome": "failure" if outcome.reason or outcome.aborted else "success",
        "sekisho.outcome": reason or ("request_incomplete" if outcome.aborted else "complete"),
    }
    if reason:
        record["sekisho.reason"] = reason
    if outcome.detail:
        record["error.message"] = outcome.detail
    if status:
        record["http.response.status_code"] = status
    record["http.request.body.bytes"] = outcome.request_bytes
    record["http.response.body.bytes"] = outcome.response_bytes
    record["event.duration"] = int(outcome.duration * 1e9)
    if outcome.first_byte is not None:
        record["sekisho.upstream.first_byte_ms"] = round(outcome.first_byte * 1e3, 3)
    if outcome.tunnel:
        record["sekisho.frames.in"] = outcome.frames_in
        record["sekisho.frames.out"] = outcome.frames_out
    record["url.path"] = decided.get("url.path") or request.path_text
    return record
