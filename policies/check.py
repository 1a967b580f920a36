"""Lint: what a policy says that its author probably did not mean. Nothing here changes a decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from policies.catalogue import CATALOGUE, DEFAULTS, INTERNET, Kind
from policies.decision import Effect
from policies.evaluate import version_key
from policies.model import Condition, Mode, PolicyIR, Rule
from policies.units import format_instant
from policies.words import say_condition


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"  # the rule can never do what it says
    WARNING = "warning"  # likely a slip
    NOTE = "note"  # to be known


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `code` is stable; `rule` is "" where the whole policy is meant; `line` 0 = no line."""

    severity: Severity
    code: str
    rule: str
    line: int
    text: str  # Japanese


def check(ir: PolicyIR, now: float) -> tuple[Finding, ...]:
    """All findings about a loaded policy, gravest first, then by line. `now` in epoch seconds (for expiries)."""
    findings = [finding for rule in ir.rules for finding in _rule_findings(rule, now)]
    findings += _policy_findings(ir)
    order = list(Severity)
    return tuple(sorted(findings, key=lambda item: (order.index(item.severity), item.line, item.code)))


def _rule_findings(rule: Rule, now: float) -> Iterator[Finding]:
    def found(severity: Severity, code: str, text: str) -> Finding:
        return Finding(severity, code, rule.id, rule.line, f"規則「{rule.id}」: {text}")

    if not rule.owner:
        yield found(Severity.WARNING, "no-owner", "所管（owner）がありません")
    if not rule.description:
        yield found(Severity.WARNING, "no-description", "説明（description）がありません")
    for first, second in _contradictions((*rule.when, *rule.require)):
        yield found(
            Severity.ERROR,
            "contradiction",
            f"「{say_condition(first)}」と「{say_condition(second)}」は同時に成り立ちません",
        )
    if rule.mode in (Mode.OBSERVE, Mode.WARN) and rule.expires is not None:
        until = format_instant(rule.expires)
        if rule.expires <= now:
            yield found(Severity.WARNING, "expired", f"猶予は{until}に終わり、実施されています")
        else:
            yield found(Severity.NOTE, "not-enforced", f"{until}まで実施されません")
    named = {item.attribute for item in rule.conditions}
    if rule.effect is Effect.ALLOW and not named & {"mfa.age", "mfa.method"}:
        yield found(Severity.WARNING, "no-mfa", "多要素認証の条件がありません")
    if rule.effect is Effect.DENY and not rule.when and not rule.unless:
        yield found(Severity.WARNING, "denies-all", "すべての利用を断ります")


def _policy_findings(ir: PolicyIR) -> Iterator[Finding]:
    conditions = [item for rule in ir.rules for item in rule.conditions]
    for zone, _ in ir.zones:
        graced = any(zone == name for name, _ in ir.posture.grace)
        if not graced and not _uses(conditions, "net.zone", zone):
            yield Finding(Severity.WARNING, "unused-zone", "", 0, f"接続元「{zone}」はどの規則も使っていません")
    for group, title in ir.groups:
        if not _uses(conditions, "user.groups", group):
            text = f"グループ「{group}」（{title}）はどの規則も使っていません"
            yield Finding(Severity.WARNING, "unused-group", "", 0, text)
    if any(zone == INTERNET for zone, _ in ir.posture.grace):
        text = "端末管理が止まったときの猶予が、インターネットからの接続にもあります"
        yield Finding(Severity.WARNING, "internet-grace", "", 0, text)
    for name in sorted({item.attribute for item in conditions} & DEFAULTS.keys()):
        text = f"「{CATALOGUE[name].title}」（{name}）は、値がないとき「{DEFAULTS[name]}」とみなします"
        yield Finding(Severity.NOTE, "default", "", 0, text)
    tested = {test.rule for test in ir.tests}
    for rule in ir.rules:
        if rule.id not in tested and rule.mode is not Mode.SHADOW:
            text = f"規則「{rule.id}」を確かめるテストがありません"
            yield Finding(Severity.WARNING, "untested", rule.id, rule.line, text)


def _uses(conditions: list[Condition], attribute: str, value: str) -> bool:
    return any(item.attribute == attribute and value in item.values for item in conditions)


def _contradictions(conditions: tuple[Condition, ...]) -> Iterator[tuple[Condition, Condition]]:
    for index, first in enumerate(conditions):
        for second in conditions[index + 1 :]:
            if first.attribute == second.attribute and _exclude(first, second):
                yield first, second


def _exclude(first: Condition, second: Condition) -> bool:
    """Whether no value of the attribute meets both; False where that is not obvious."""
    operators = {first.operator: first.values, second.operator: second.values}
    kind = CATALOGUE[first.attribute].kind
    if kind is Kind.BOOL:
        return first.values != second.values
    if operators.keys() == {"min", "max"}:
        least, most = operators["min"][0], operators["max"][0]
        if kind is Kind.ORDERED:
            choices = CATALOGUE[first.attribute].choices
            return choices.index(str(least)) > choices.index(str(most))
        if kind is Kind.VERSION:
            return (version_key(str(least)) or ()) > (version_key(str(most)) or ())
        return float(least) > float(most)
    if operators.keys() == {"any_of", "none_of"}:
        return set(operators["any_of"]) <= set(operators["none_of"])
    if operators.keys() == {"all_of", "none_of"}:
        return bool(set(operators["all_of"]) & set(operators["none_of"]))
    if first.operator == second.operator == "any_of" and kind is not Kind.SET:
        return set(first.values).isdisjoint(second.values)
    return first.operator == second.operator == "equals" and set(first.values).isdisjoint(second.values)
