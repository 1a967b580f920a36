"""The record of one decision: a flat mapping of ECS and `sekisho.*` fields, written before the decision is acted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orjson import dumps

from audit.event import ALLOWED, BASE, DENIED, Action, text, timestamp
from audit.numbers import masked
from gateway.gate.asked import add_query, asked_fields
from gateway.gate.facts import FACTS_FIELD
from gateway.gate.masking import add_path, agent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.gate.asked import Asked
    from gateway.gate.request import Moment, Peer, RequestFault, RequestHead
    from gateway.state.records import App
    from policies.decision import Decision, Explanation

_DECIDED = BASE[Action.REQUEST_DECIDED]
_DENIED_TYPE = list(DENIED)
_ALLOWED_TYPE = list(ALLOWED)
AGENT_BYTES = 256
_PATH = "http.path"
_LISTED = 8  # unmet conditions told in one record

SUCCESS = "success"
FAILURE = "failure"


def request_fields(
    request: RequestHead, moment: Moment, request_id: str, app: App | None, key: bytes
) -> dict[str, Any]:
    """Return what a record says of the request itself. `key` is the installation's key for digests."""
    peer = request.peer
    fields = {
        "@timestamp": timestamp(moment.wall),
        **_DECIDED,
        "http.request.id": request_id,
        "http.request.method": request.method,
        "url.domain": masked(request.host),
        "sekisho.listener": peer.listener,
    }
    add_path(fields, request.path_text, () if app is None else app.masked_paths, key)
    if peer.address:
        fields["source.ip"] = peer.address
    if request.query is not None:
        add_query(fields, request.query, () if app is None else app.masked_queries, key)
    return fields


def own_fields(
    request: RequestHead, wall: float, request_id: str, app: App, usual_agent: bytes, key: bytes
) -> dict[str, Any]:
    """Return what the record of an allowed request says of nothing but this request.

    `usual_agent` is the browser's name for itself at the sign-in: another one is told.
    """
    record: dict[str, Any] = {
        "@timestamp": timestamp(wall),
        "http.request.id": request_id,
        **asked_fields(request, app, key),
    }
    named = request.find.get(b"user-agent")
    if named is not None and named != usual_agent:
        record["user_agent.original"] = agent(named[:AGENT_BYTES])
    return record


def own_bytes(
    request: RequestHead, wall: float, request_id: str, asked: Asked, usual_agent: bytes, key: bytes
) -> bytes:
    """Return `own_fields` as JSON, as `orjson` writes it; that of a usual browser, as nearly all are, at once."""
    named = request.find.get(b"user-agent")
    if named is not None and named != usual_agent:
        return dumps(own_fields(request, wall, request_id, asked.app, usual_agent, key))
    members = asked.known.get(request.line) or asked.members(request, key)
    return f'{{"@timestamp":"{timestamp(wall)}","http.request.id":"{request_id}",{members}}}'.encode()


def allowed_fields(named: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the fields that all allowed requests of one app session have in common; `named` names the person."""
    return {
        **_DECIDED,
        **named,
        "event.outcome": SUCCESS,
        "event.type": _ALLOWED_TYPE,
        "sekisho.verdict": "forward",
        "url.domain": host,
    }


def add_agent(record: dict[str, Any], request: RequestHead) -> None:
    """Add the browser's own name: for requests that were not forwarded, where it helps to understand what came."""
    found = request.find.get(b"user-agent")
    if found:
        record["user_agent.original"] = agent(found[:AGENT_BYTES])


def close_record(record: dict[str, Any], verdict: str, reason: str) -> dict[str, Any]:
    """Say in the record what was decided and why, for verdicts other than an allowed request."""
    allowed = verdict in {"local", "preflight"}
    record["event.outcome"] = SUCCESS if allowed else FAILURE
    record["event.type"] = _ALLOWED_TYPE if allowed else _DENIED_TYPE
    record["sekisho.verdict"] = verdict
    record["sekisho.reason"] = reason
    return record


def add_decision(
    record: dict[str, Any], decision: Decision, policy_hash: str, zone: str, facts: Mapping[str, object]
) -> None:
    """Add the policy's decision and the facts it was made from."""
    record["sekisho.policy.hash"] = policy_hash
    record["sekisho.zone"] = zone
    record[FACTS_FIELD] = facts
    if decision.rule:
        record["rule.id"] = decision.rule
    add_extras(record, decision)


def add_extras(record: dict[str, Any], decision: Decision) -> None:
    """Add what few decisions have: shadow rules, observed rules, obligations."""
    if decision.shadow:
        record["sekisho.shadow"] = list(decision.shadow)
    if decision.observed:
        record["sekisho.observed"] = list(decision.observed)
    if decision.obligations:
        record["sekisho.obligations"] = [f"{each.name}={each.value}" for each in decision.obligations]


def add_explanation(record: dict[str, Any], explanation: Explanation) -> None:
    """Add which conditions were not met, with thresholds and actual values: for the CISO, never for the page.

    Of a path, what the record already says of it: the value that the policy saw may not stand there.
    """
    if explanation.unmet:
        record["sekisho.unmet"] = [
            {"fact": unmet.attribute, "operator": unmet.operator, "required": unmet.required,
             "actual": record["url.path"] if unmet.attribute == _PATH else unmet.actual}
            for unmet in explanation.unmet[:_LISTED]
        ]  # fmt: skip
    if explanation.nearest:
        record["sekisho.nearest"] = explanation.nearest


def fault_record(peer: Peer, fault: RequestFault, wall: float, request_id: str) -> dict[str, Any]:
    """Return the record of a message that never became a request: nothing of its bytes but our own words for them."""
    record: dict[str, Any] = {
        "@timestamp": timestamp(wall),
        **_DECIDED,
        "http.request.id": request_id,
        "sekisho.listener": peer.listener,
        "error.message": fault.detail,
    }
    if peer.address:
        record["source.ip"] = peer.address
    if peer.server_name:
        record["tls.client.server_name"] = masked(text(peer.server_name))
    return close_record(record, "refuse", fault.reason.value)
