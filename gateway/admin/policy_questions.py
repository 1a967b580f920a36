"""`policy test` and `policy explain`: what a policy says about a person now, and why it said what it said then."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.admin.devices import device_named
from gateway.admin.endpoint import Arguments, Call, Reply
from gateway.admin.people import person
from gateway.admin.policy_versions import find_version, loaded
from gateway.admin.problem import AdminReason, Problem, not_found
from gateway.admin.searching import Request, records
from gateway.gate.facts import facts_of_record, moments_of, passing_facts, standing_facts
from gateway.gate.reference import parse_reference
from gateway.state.records import Device, Session, User
from policies.compile import compile_policy
from policies.decision import Decision, Explanation


class TestPolicy(Arguments):
    """One imagined request. `source` empty = the active policy."""

    source: Annotated[str, Field(max_length=1_000_000)] = ""
    file: Annotated[str, Field(max_length=200)] = "policy.yaml"
    user: str
    app: str
    device: str = ""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: Annotated[str, Field(pattern=r"^/", max_length=2000)] = "/"
    zone: Annotated[str, Field(max_length=60)] = "office"
    mfa: Literal["", "totp", "webauthn"] = "totp"
    mfa_age: Annotated[float, Field(ge=0)] = 0.0


class Explain(Arguments):
    """A decision by its 受付番号."""

    decision: Annotated[str, Field(max_length=64)]


async def test(call: Call[TestPolicy]) -> Reply:
    """Decide an imagined request and explain the answer in full."""
    asked = call.arguments
    source = asked.source or find_version(call, "active").source
    policy = compile_policy(loaded(source, asked.file if asked.source else "active"))
    facts = _facts(call, person(call, asked.user))
    return Reply({"facts": _shown(facts), **explanation_row(policy.explain(facts))}, rows=1)


async def explain(call: Call[Explain]) -> Reply:
    """Explain a recorded decision from the facts in its record and the policy version it was made with."""
    try:
        reference = parse_reference(call.arguments.decision)
    except ValueError as error:
        raise Problem(AdminReason.INVALID_ARGUMENTS, "受付番号の形式ではありません (16文字)。") from error
    found = await records(call.context, Request(filters={"http.request.id": reference}, limit=100))
    decided = next((record for record in found if record.get("sekisho.policy.hash")), None)
    if decided is None:
        reason = found[0].get("sekisho.reason", "") if found else ""
        if not found:
            raise not_found("記録", call.arguments.decision)
        detail = f"この要求はポリシーの判定の前に終わりました (理由 {reason})。"
        return Reply({"reason": reason, "effect": "deny", "note": detail, "record": found[0]}, rows=1)
    version = find_version(call, str(decided["sekisho.policy.hash"]))
    facts = facts_of_record(decided)
    policy = compile_policy(loaded(version.source, version.hash[:12]))
    return Reply({"facts": _shown(facts), **explanation_row(policy.explain(facts)), "record": decided}, rows=1)


def explanation_row(explanation: Explanation) -> dict[str, Any]:
    """An explanation as the CISO reads it: rules, thresholds and actual values."""
    decision: Decision = explanation.decision
    step_up = explanation.step_up
    return {
        "effect": decision.effect.value,
        "reason": decision.reason.value,
        "rule": decision.rule,
        "deciding_rules": list(explanation.deciding_rules),
        "nearest": explanation.nearest,
        "unmet": [dataclasses.asdict(unmet) for unmet in explanation.unmet],
        "obligations": [dataclasses.asdict(obligation) for obligation in decision.obligations],
        "shadow": list(decision.shadow),
        "advice": explanation.advice,
        "step_up": dataclasses.asdict(step_up) if step_up is not None else None,
        "policy": explanation.policy,
    }


def _facts(call: Call[TestPolicy], user: User) -> dict[str, object]:
    asked = call.arguments
    app = call.context.reader.app(asked.app)
    if app is None:
        raise not_found("アプリ", asked.app)
    device = device_named(call, asked.device) if asked.device else None
    session = _imagined(user, device, asked, call.now)
    return {
        **standing_facts(user, session, device, app),
        **passing_facts(moments_of(session, device), int(call.now)),
        "net.zone": asked.zone,
        "http.method": asked.method,
        "http.path": asked.path,
    }


def _imagined(user: User, device: Device | None, asked: TestPolicy, now: float) -> Session:
    """A session that never exists anywhere: the person as if signed in just so."""
    amr = {"totp": ("pwd", "otp", "mfa"), "webauthn": ("hwk", "user", "mfa"), "": ("pwd",)}[asked.mfa]
    since = now - asked.mfa_age
    return Session(
        id="imagined", user_id=user.id, token_hash="", amr=amr,
        acr="urn:sekisho:aal2" if asked.mfa else "urn:sekisho:aal1", mfa_method=asked.mfa,
        mfa_at=since if asked.mfa else None, created_at=since, expires_at=now + 1.0, idle_limit=1.0, last_used_at=now,
        device_id=device.id if device else None, source_ip="", user_agent="", operator=False, ended_at=None,
        end_reason="",
    )  # fmt: skip


def _shown(facts: dict[str, object]) -> dict[str, object]:
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in sorted(facts.items())}
