"""The state of a person, an app, a policy version or a proposal, in words; data formats keep the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cli.language import t

_JA: Final[Mapping[str, str]] = {
    "active": "有効", "pending": "承認待ち", "disabled": "無効", "proposed": "申請中", "retired": "旧版",
    "granted": "承認済み", "denied": "却下", "expired": "期限切れ", "ended": "終了", "contract_ended": "任期終了",
}  # fmt: skip


def state_word(value: object) -> str:
    """The state's word in the person's language; a code without one as it is."""
    code = "" if value is None else str(value)
    return t(_JA.get(code, code), code)
