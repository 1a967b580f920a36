"""Versions of a policy: their name (a hash of the source) and their difference in words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from policies.model import Condition, PolicyIR, Rule
from policies.units import format_duration, format_instant
from policies.words import EFFECTS, MODES, say_condition, say_obligation


class ChangeKind(StrEnum):
    """What happened to the subject."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `subject` names what changed: `rule:ID`, `zone:NAME`, `group:ID`, `posture` or `metadata`."""

    kind: ChangeKind
    subject: str
    text: str  # a Japanese sentence


def policy_hash(source: bytes) -> str:
    """The name of a version: hex SHA-256 of its exact source."""
    return hashlib.sha256(source).hexdigest()


def diff(old: PolicyIR, new: PolicyIR) -> tuple[Change, ...]:
    """What is different in `new`, rule by rule, in words; empty when both decide alike and are described alike."""
    changes = [*_metadata(old, new), *_zones(old, new), *_groups(old, new), *_posture(old, new), *_rules(old, new)]
    if len(old.tests) != len(new.tests):
        text = f"テストが{len(old.tests)}件から{len(new.tests)}件になります。"
        changes.append(Change(ChangeKind.CHANGED, "tests", text))
    return tuple(changes)


def _metadata(old: PolicyIR, new: PolicyIR) -> Iterator[Change]:
    pairs = (
        ("題名", old.title, new.title),
        ("所管", old.owner, new.owner),
        ("改訂番号", str(old.revision), str(new.revision)),
    )
    for label, before, after in pairs:
        if before != after:
            yield Change(ChangeKind.CHANGED, "metadata", f"{label}が「{before}」から「{after}」に変わります。")


def _zones(old: PolicyIR, new: PolicyIR) -> Iterator[Change]:
    before, after = dict(old.zones), dict(new.zones)
    for zone in sorted(before.keys() | after.keys()):
        gone = sorted(set(before.get(zone, ())) - set(after.get(zone, ())))
        come = sorted(set(after.get(zone, ())) - set(before.get(zone, ())))
        kind = _kind(zone in before, zone in after)
        if kind is not ChangeKind.CHANGED:
            verb = "加わります" if kind is ChangeKind.ADDED else "なくなります"
            yield Change(kind, f"zone:{zone}", f"接続元「{zone}」（{'、'.join(come or gone)}）が{verb}。")
            continue
        if come:
            yield Change(kind, f"zone:{zone}", f"接続元「{zone}」に{'、'.join(come)}が加わります。")
        if gone:
            yield Change(kind, f"zone:{zone}", f"接続元「{zone}」から{'、'.join(gone)}が外れます。")


def _groups(old: PolicyIR, new: PolicyIR) -> Iterator[Change]:
    before, after = dict(old.groups), dict(new.groups)
    for group in sorted(before.keys() | after.keys()):
        if before.get(group) != after.get(group):
            kind = _kind(group in before, group in after)
            verb = {ChangeKind.ADDED: "加わります", ChangeKind.REMOVED: "なくなります"}.get(kind, "名を改めます")
            title = after.get(group) or before[group]
            yield Change(kind, f"group:{group}", f"グループ「{group}」（{title}）が{verb}。")


def _posture(old: PolicyIR, new: PolicyIR) -> Iterator[Change]:
    limits = [
        ("端末管理の読み取りの古さの上限", old.posture.read_max, new.posture.read_max),
        ("端末の最終通信の古さの上限", old.posture.seen_max, new.posture.seen_max),
    ]
    before, after = dict(old.posture.grace), dict(new.posture.grace)
    limits += [
        (f"接続元「{zone}」の猶予", before.get(zone, 0.0), after.get(zone, 0.0))
        for zone in sorted(before.keys() | after.keys())
    ]
    for label, was, becomes in limits:
        if was != becomes:
            text = f"{label}が{format_duration(was)}から{format_duration(becomes)}に変わります。"
            yield Change(ChangeKind.CHANGED, "posture", text)


def _rules(old: PolicyIR, new: PolicyIR) -> Iterator[Change]:
    before, after = {rule.id: rule for rule in old.rules}, {rule.id: rule for rule in new.rules}
    for identity in sorted(before.keys() | after.keys()):
        subject = f"rule:{identity}"
        was, becomes = before.get(identity), after.get(identity)
        if was is not None and becomes is not None:
            for text in _rule_changes(was, becomes):
                yield Change(ChangeKind.CHANGED, subject, f"規則「{identity}」: {text}。")
        elif becomes is not None:
            yield Change(ChangeKind.ADDED, subject, f"規則「{identity}」（{_summary(becomes)}）が加わります。")
        elif was is not None:
            yield Change(ChangeKind.REMOVED, subject, f"規則「{identity}」（{_summary(was)}）がなくなります。")


def _summary(rule: Rule) -> str:
    return f"{EFFECTS[rule.effect]}、{MODES[rule.mode]}: {rule.description or '説明なし'}"


def _rule_changes(old: Rule, new: Rule) -> Iterator[str]:
    if old.effect is not new.effect:
        yield f"{EFFECTS[old.effect]}から{EFFECTS[new.effect]}に変わります"
    if old.mode is not new.mode:
        yield f"「{MODES[old.mode]}」から「{MODES[new.mode]}」に変わります"
    if old.expires != new.expires:
        yield f"期限が{_moment(old.expires)}から{_moment(new.expires)}に変わります"
    yield from _condition_changes("対象", old.when, new.when)
    yield from _condition_changes("要件", old.require, new.require)
    yield from _condition_changes("例外", old.unless, new.unless)
    for item in sorted(set(new.obligations) - set(old.obligations), key=str):
        yield f"付帯事項「{say_obligation(item)}」が加わります"
    for item in sorted(set(old.obligations) - set(new.obligations), key=str):
        yield f"付帯事項「{say_obligation(item)}」がなくなります"
    for label, before, after in (
        ("説明", old.description, new.description),
        ("所管", old.owner, new.owner),
        ("案内", old.advice, new.advice),
    ):
        if before != after:
            yield f"{label}が「{before}」から「{after}」に変わります"


def _condition_changes(part: str, old: tuple[Condition, ...], new: tuple[Condition, ...]) -> Iterator[str]:
    """Conditions matched by attribute and operator; several of the same kind are compared by value alone."""
    gone, come = [item for item in old if item not in new], [item for item in new if item not in old]
    for item in come:
        same = [other for other in gone if (other.attribute, other.operator) == (item.attribute, item.operator)]
        if not same:
            yield f"{part}に「{say_condition(item)}」が加わります"
            continue
        gone.remove(same[0])
        if same[0].values == item.values:
            yield f"{part}「{say_condition(item)}」の案内が「{same[0].advice}」から「{item.advice}」に変わります"
        else:
            yield f"{part}が「{say_condition(same[0])}」から「{say_condition(item)}」に変わります"
    for item in gone:
        yield f"{part}から「{say_condition(item)}」がなくなります"


def _moment(expires: float | None) -> str:
    return "なし" if expires is None else format_instant(expires)


def _kind(was: bool, becomes: bool) -> ChangeKind:
    if was and becomes:
        return ChangeKind.CHANGED
    return ChangeKind.ADDED if becomes else ChangeKind.REMOVED
