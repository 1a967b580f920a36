"""What an argument should have been, in Japanese, from the fault that pydantic found in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_WORDS: Final[Mapping[str, str]] = {
    "missing": "指定が必要です", "extra_forbidden": "この項目はありません", "string_type": "文字列",
    "int_parsing": "整数", "int_type": "整数", "int_from_float": "整数", "float_parsing": "数", "float_type": "数",
    "bool_parsing": "true か false", "bool_type": "true か false", "list_type": "一覧", "tuple_type": "一覧",
    "dict_type": "項目と値の組", "less_than_equal": "{le} 以下", "greater_than_equal": "{ge} 以上",
    "less_than": "{lt} 未満", "greater_than": "{gt} より大きい数", "string_too_short": "{min_length} 文字以上",
    "string_too_long": "{max_length} 文字以下", "too_short": "{min_length} 件以上", "too_long": "{max_length} 件以下",
    "string_pattern_mismatch": "次の形: {pattern}", "literal_error": "{expected}", "enum": "{expected}",
}  # fmt: skip


def expected(fault: Mapping[str, Any]) -> str:
    """Return what was expected, for one entry of `ValidationError.errors()`; its own words where we have none."""
    words = _WORDS.get(str(fault["type"]))
    if words is None:
        return str(fault["msg"])
    limits = {name: str(value).replace(" or ", "、") for name, value in fault.get("ctx", {}).items()}
    return words.format_map(limits)
