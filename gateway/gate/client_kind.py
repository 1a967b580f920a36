"""What kind of client asks: a person looking at a page, or a program that reads data; and in which language.

Fetch Metadata (W3C) tells where it is present, because scripts cannot forge it; older clients are judged by Accept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.gate.request import RequestHead

_LANGUAGES = ("ja", "en")


def wants_page(request: RequestHead | None) -> bool:
    """Whether the answer is shown to a person: then pages and redirects, else data and status codes."""
    if request is None or request.upgrade:
        return False
    find = request.find
    mode = find.get(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    if b"x-requested-with" in find:
        return False
    return b"text/html" in find.get(b"accept", b"")


def language_of(request: RequestHead | None, chosen: str, default: str) -> str:
    """Return the person's own choice, else the first of Accept-Language (RFC 9110 §12.5.4) that we speak."""
    if chosen in _LANGUAGES:
        return chosen
    accepted = b"" if request is None else request.find.get(b"accept-language", b"")
    ranked: list[tuple[float, int, str]] = []
    for place, item in enumerate(accepted.decode("latin-1").split(",")[:16]):
        tag, _, weight = item.strip().partition(";q=")
        language = tag.partition("-")[0].lower()
        if language in _LANGUAGES:
            ranked.append((-_weight(weight), place, language))
    return min(ranked)[2] if ranked and min(ranked)[0] < 0 else default


def _weight(text: str) -> float:
    if not text:
        return 1.0
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
