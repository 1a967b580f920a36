"""Revocation lists in words: how they stand, and what `status` says of those that are not as they should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cli.language import t

_STATES: Final[Mapping[object, tuple[str, str]]] = {
    "good": ("有効", "good"),
    "stale": ("期限切れ", "stale"),
    "missing": ("なし", "missing"),
    "not_configured": ("設定になし", "not configured"),
}
_WHEN_STALE: Final[Mapping[object, tuple[str, str]]] = {
    "refuse": ("拒否する", "refuse"),
    "warn": ("通して知らせる", "go on and warn"),
    "": ("-", "-"),
}


def state(value: object) -> str:
    """Return how a list stands."""
    return t(*_STATES.get(value, (str(value), str(value))))


def when_stale(value: object) -> str:
    """Return what happens while there is no good list."""
    return t(*_WHEN_STALE.get(value, (str(value), str(value))))


def list_troubles(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return what `status` has to say of lists that are not as they should be."""
    found = []
    for row in rows:
        name, does = row["authority"], when_stale(row["when_stale"])
        if row["state"] in ("stale", "missing"):
            stands = state(row["state"])
            found.append(t(
                f"失効リストが{stands}です ({name})。この認証局の証明書は{does}。",
                f"the revocation list of {name} is {stands}: {does}.",
            ))  # fmt: skip
        if row["fault"]:
            found.append(t(f"失効リストを使えません ({name}): {row['fault']}", f"list of {name}: {row['fault']}"))
    return found


def shown_lists(rows: Iterable[dict[str, Any]]) -> str:
    """Return the lists in one line, for `status`."""
    told = [f"{row['authority']} {state(row['state'])}" for row in rows]
    return t("、", ", ").join(told) or t("なし", "none")
