"""Conditions, modes and obligations in Japanese, for differences and findings that a CISO reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from policies.catalogue import CATALOGUE, Kind
from policies.decision import Effect, Obligation
from policies.explain import describe_values
from policies.model import Condition, Mode
from policies.units import format_duration

EFFECTS: Final[Mapping[Effect, str]] = {Effect.ALLOW: "許可", Effect.DENY: "拒否"}
MODES: Final[Mapping[Mode, str]] = {
    Mode.ENFORCE: "実施",
    Mode.SHADOW: "影（記録のみ）",
    Mode.OBSERVE: "観察",
    Mode.WARN: "予告",
}
_FORMS: Final[Mapping[str, str]] = {
    "any_of": "{title}が{values}のいずれか",
    "none_of": "{title}が{values}のどれでもない",
    "all_of": "{title}が{values}をすべて含む",
    "min": "{title}が{values}以上",
    "max": "{title}が{values}以下",
    "between": "{title}が{values}の間",
    "under": "{title}が{values}の下",
    "equals": "{title}が{values}",
    "template": "{title}が{values}の形",
}


def say_condition(condition: Condition) -> str:
    """One condition as a phrase: `多要素認証からの時間が1h以下`."""
    attribute = CATALOGUE[condition.attribute]
    if attribute.kind is Kind.BOOL:
        return f"{attribute.title}: {'はい' if condition.values[0] is True else 'いいえ'}"
    return _FORMS[condition.operator].format(title=attribute.title, values=describe_values(condition))


def say_obligation(obligation: Obligation) -> str:
    """One obligation as a phrase."""
    if obligation.name == "session_max":
        return f"セッションは{format_duration(float(obligation.value))}まで"
    return "すべて記録" if obligation.value == "full" else "通常の記録"
