"""Languages of the pages: Japanese first, English beside it. All texts live in `locales/`, none in the code."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from gateway.identity.context import ControlContext
from gateway.portal.arrival import Arrival

LANGUAGES = ("ja", "en")


@cache
def texts(language: str) -> dict[str, str]:
    """All texts of the pages in one language, by key."""
    loaded: dict[str, str] = _load(f"{language}.json")
    return loaded


@cache
def reason_texts(language: str) -> dict[str, dict[str, str]]:
    """For each reason code: `title`, `what` (happened), `do` (next)."""
    loaded: dict[str, dict[str, str]] = _load(f"reasons.{language}.json")
    return loaded


def choose(context: ControlContext, arrival: Arrival, chosen: str | None, accepted: str) -> str:
    """The language of one answer: the reader's choice, the person's setting, the browser's wish, the default."""
    if chosen in LANGUAGES:
        return chosen
    if arrival.user is not None and arrival.user.language in LANGUAGES:
        return arrival.user.language
    return preferred(accepted) or context.settings.portal.default_language


def preferred(accept_language: str) -> str | None:
    """The first of our languages by the weights of `Accept-Language` (RFC 9110 §12.5.4), or None."""
    best, best_weight = None, 0.0
    for item in accept_language[:256].split(","):
        tag, _, parameter = item.strip().partition(";")
        language = tag.strip().lower().split("-")[0]
        weight = _weight(parameter)
        if language in LANGUAGES and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0


def _load(name: str) -> Any:
    return json.loads(files("gateway.portal").joinpath("locales", name).read_text(encoding="utf-8"))
