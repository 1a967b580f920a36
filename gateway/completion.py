"""The record of how a forwarded request ended: small, and made for every request, so it is built in one go."""

from __future__ import annotations

from typing import Any, Final

from audit.event import timestamp
from gateway.edge.services import Outcome, Passed
from gateway.gate.completion_fields import COMPLETED, named_in_completion
from gateway.gate.request import RequestHead
from gateway.gate.verdict import Forward, Local
from policies.reasons import Reason

_APP_FAULTS: Final = frozenset({Reason.APP_UNREACHABLE, Reason.APP_TIMED_OUT, Reason.APP_ANSWER_INVALID})


def ended(verdict: Forward, request: RequestHead, outcome: Outcome, wall: float) -> dict[str, Any]:
    """Return what the completion of a request to an app at `wall` has of its own: the rest its decision has encoded."""
    path = verdict.own.get("url.path") or request.path_text
    return _ended(verdict.request_id, request.method, path, outcome, outcome.reason, outcome.status, wall)


def completion_record(verdict: Passed, request: RequestHead, outcome: Outcome, wall: float) -> dict[str, Any]:
    """Return the completion of a request at `wall`; who and what are taken from its decision."""
    decided = verdict.record
    reason, status = outcome.reason, outcome.status
    if reason in _APP_FAULTS and isinstance(verdict, Local):  # our own pages have no app behind them
        reason = Reason.CONTROL_UNAVAILABLE.value
        status = 503 if status in (502, 504) else status
    path = decided.get("url.path") or request.path_text
    own = _ended(verdict.request_id, request.method, path, outcome, reason, status, wall)
    return {**COMPLETED, **named_in_completion(decided), **own}


def _ended(
    request_id: str, method: str, path: str, outcome: Outcome, reason: str, status: int, wall: float
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "@timestamp": timestamp(wall),
        "http.request.id": request_id,
        "http.request.method": method,
        "event.outcome": "failure" if outcome.reason or outcome.aborted else "success",
        "sekisho.outcome": reason or ("request_incomplete" if outcome.aborted else "complete"),
        "http.request.body.bytes": outcome.request_bytes,
        "http.response.body.bytes": outcome.response_bytes,
        "event.duration": int(outcome.duration * 1e9),
        "url.path": path,
    }
    if reason:
        fields["sekisho.reason"] = reason
    if outcome.detail:
        fields["error.message"] = outcome.detail
    if status:
        fields["http.response.status_code"] = status
    if outcome.first_byte is not None:
        fields["sekisho.upstream.first_byte_ms"] = round(outcome.first_byte * 1e3, 3)
    if outcome.tunnel:
        fields["sekisho.frames.in"] = outcome.frames_in
        fields["sekisho.frames.out"] = outcome.frames_out
    return fields
