"""The record of how a passed request ended: small, and made for every request, so it is built in one go.

That of a request to an app is a short line: its decision stands in the same journal and says the rest
(`audit.completion`). That of one of our own pages says it all: a stranger's decision may only have been counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from orjson import dumps

from audit.completion import named
from audit.event import BASE, Action, timestamp
from gateway.edge.services import Outcome
from gateway.gate.verdict import Forward, Local
from policies.reasons import Reason

_COMPLETED: Final = BASE[Action.REQUEST_COMPLETED]
_ACTION: Final = Action.REQUEST_COMPLETED.value
_PROGRESS: Final = Action.TUNNEL_PROGRESS.value
_OPENED: Final = f'{{"event.action":"{_ACTION}","@timestamp":"'
_DECIMALS: Final = [f"{thousandths:03d}".rstrip("0") or "0" for thousandths in range(1000)]  # as `repr` writes them
_APP_FAULTS: Final = frozenset({Reason.APP_UNREACHABLE, Reason.APP_TIMED_OUT, Reason.APP_ANSWER_INVALID})


def completion_record(request_id: str, outcome: Outcome, wall: float) -> dict[str, Any]:
    """Return the completion of a request to an app at `wall`, as its line has it."""
    fields: dict[str, Any] = {
        "event.action": _ACTION,
        "@timestamp": timestamp(wall),
        "http.request.id": request_id,
        "event.outcome": "failure" if outcome.reason or outcome.aborted else "success",
        "sekisho.outcome": outcome.reason or ("request_incomplete" if outcome.aborted else "complete"),
        "http.request.body.bytes": outcome.request_bytes,
        "http.response.body.bytes": outcome.response_bytes,
        "event.duration": int(outcome.duration * 1e9),
    }
    if outcome.reason:
        fields["sekisho.reason"] = outcome.reason
    if outcome.detail:
        fields["error.message"] = outcome.detail
    if outcome.status:
        fields["http.response.status_code"] = outcome.status
    if outcome.first_byte is not None:
        fields["sekisho.upstream.first_byte_ms"] = milliseconds(outcome.first_byte)
    if outcome.tunnel:
        fields["sekisho.frames.in"] = outcome.frames_in
        fields["sekisho.frames.out"] = outcome.frames_out
    return fields


def completion_bytes(request_id: str, outcome: Outcome, wall: float) -> bytes:
    """Return `completion_record` as JSON, as `orjson` writes it.

    An answer that came whole and in order is written at once, as nearly all are.
    """
    first = outcome.first_byte
    if outcome.reason or outcome.aborted or outcome.detail or outcome.tunnel or first is None or not outcome.status:
        return dumps(completion_record(request_id, outcome, wall))
    return (
        f'{_OPENED}{timestamp(wall)}","http.request.id":"{request_id}",'
        f'"event.outcome":"success","sekisho.outcome":"complete",'
        f'"http.request.body.bytes":{outcome.request_bytes},"http.response.body.bytes":{outcome.response_bytes},'
        f'"event.duration":{int(outcome.duration * 1e9)},"http.response.status_code":{outcome.status},'
        f'"sekisho.upstream.first_byte_ms":{(micros := int(first * 1e6 + 0.5)) // 1000}.{_DECIMALS[micros % 1000]}}}'
    ).encode()


def milliseconds(seconds: float) -> float:
    """Return a time as milliseconds to the third decimal; `round` would print the number and read it again."""
    return int(seconds * 1e6 + 0.5) / 1e3


def progress_record(verdict: Forward, outcome: Outcome, wall: float) -> dict[str, Any]:
    """Return how a request to an app that goes on stands at `wall`, with who and what, as its line has it."""
    fields: dict[str, Any] = {
        "event.action": _PROGRESS,
        "@timestamp": timestamp(wall),
        "http.request.id": verdict.request_id,
        **named(verdict.record),
        "http.request.body.bytes": outcome.request_bytes,
        "http.response.body.bytes": outcome.response_bytes,
        "event.duration": int(outcome.duration * 1e9),
    }
    if outcome.tunnel:
        fields["sekisho.frames.in"] = outcome.frames_in
        fields["sekisho.frames.out"] = outcome.frames_out
    return fields


def own_page_completion(verdict: Local, outcome: Outcome, wall: float) -> dict[str, Any]:
    """Return the completion of a request for one of our own pages, whole; who and what are taken from its decision."""
    if outcome.reason in _APP_FAULTS:  # there is no app behind them
        status = 503 if outcome.status in (502, 504) else outcome.status
        outcome = replace(outcome, reason=Reason.CONTROL_UNAVAILABLE.value, status=status)
    return {**_COMPLETED, **named(verdict.record), **completion_record(verdict.request_id, outcome, wall)}
