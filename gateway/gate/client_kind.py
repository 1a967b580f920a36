"""What kind of client asks: a person looking at a page, or a program that reads data; and in which language.

Fetch Metadata (W3C) tells where it is present, because scripts cannot forge it; older clients are judged by Accept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.gate.request import RequestHead

Signs = Mapping[bytes, bytes]
"""Values of header fields by lower-case name."""

_LANGUAGES = ("ja", "en")
_TELLING: Final = frozenset({b"sec-fetch-mode", b"x-requested-with", b"accept"})
_READ: Final = _TELLING | {b"accept-language"}
_READ_BYTES: Final = 32768


def wants_page(request: RequestHead | None) -> bool:
    """Whether the answer is shown to a person: then pages and redirects, else data and status codes."""
    if request is None or request.upgrade:
        return False
    return shown_to_person(request.find)


def shown_to_person(signs: Signs) -> bool:
    """Whether these fields are a browser's that asks for a page."""
    mode = signs.get(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    if b"x-requested-with" in signs:
        return False
    return b"text/html" in signs.get(b"accept", b"")


def signs_in(seen: bytes) -> Signs | None:
    """Return what the bytes of a refused message say of its client; None where that may have stood in what is missing.

    Only the form and the language of the refusal may depend on it: these bytes were never accepted as a request.
    """
    head, end, _ = seen[:_READ_BYTES].partition(b"\r\n\r\n")
    signs: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon and (name := name.lower()) in _READ:
            signs.setdefault(name, value.strip())
    return signs if end or not _TELLING.isdisjoint(signs) else None


def language_of(signs: Signs | None, chosen: str, default: str) -> str:
    """Return the person's own choice, else the first of Accept-Language (RFC 9110 §12.5.4) that we speak."""
    if chosen in _LANGUAGES:
        return chosen
    accepted = b"" if signs is None else signs.get(b"accept-language", b"")
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
