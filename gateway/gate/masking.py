"""What of a request's target may stand in a record.

A query never does: its keyed digest lets two records be compared and tells nothing (the key is the installation's).
Of a path, the segments that the app's registration masks are replaced whole by keyed digests; of a query, the values
under the names that it lists are kept as digests one by one, so that who knows a value can look for it
(`sekisho audit reveal`). Nothing can be decrypted. A 個人番号 or card number leaves not even a digest
(`audit.numbers` says why): the segment or value that holds one is replaced by the word for it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from audit.event import text
from audit.numbers import CARD, PERSONAL, masked, may_hold

DIGEST_BYTES: Final = 12
SHOWN: Final = "~"  # before a digest that stands in place of what it was made from
_VALUES: Final = 32  # digests of one query at most: a record is bounded, whatever a client repeats


def digest(key: bytes, text: bytes) -> str:
    """Return the keyed digest (BLAKE2b, RFC 7693 §2.9) of `text` in hex."""
    keyed = _keyed(key).copy()
    keyed.update(text)
    return keyed.hexdigest()


@lru_cache(maxsize=512)
def query_digest(key: bytes, query: bytes) -> str:
    """Return what a record says of a query; what one page asks for is asked by all who open it, so some are kept."""
    return (may_hold(query) and number_in(query)) or SHOWN + digest(key, query)


@lru_cache(maxsize=512)
def query_digests(key: bytes, query: bytes, names: tuple[str, ...]) -> dict[str, list[str]] | None:
    """Return name → digests of the values under each of `names`, as the query gives them; None where it has none."""
    found: dict[str, list[str]] = {}
    left = _VALUES
    for pair in query.split(b"&"):
        raw, _, value = pair.partition(b"=")
        name = _decoded(raw).decode(errors="replace")
        if name in names and left:
            found.setdefault(name, []).append(value_digest(key, _decoded(value)))
            left -= 1
    return found or None


def value_digest(key: bytes, value: bytes) -> str:
    """Return the digest of one value (decoded), or the word for the number that it holds.

    A value that is text is folded by NFKC and stripped first, so that its spelling in the address does not matter.
    """
    return number_in(value) or digest(key, _folded(value))


def number_in(raw: bytes) -> str:
    """Return the word for the first number of a person in `raw`, "" where there is none."""
    if not may_hold(raw):
        return ""
    shown = masked(raw.decode(errors="replace"))
    if PERSONAL in shown:
        return PERSONAL
    return CARD if CARD in shown else ""


def _decoded(raw: bytes) -> bytes:
    """Undo the encoding of a form (URL Standard, application/x-www-form-urlencoded)."""
    return unquote_to_bytes(raw.replace(b"+", b" ")) if b"%" in raw or b"+" in raw else raw


def _folded(value: bytes) -> bytes:
    if value.isascii():
        return value.strip()
    try:
        return unicodedata.normalize("NFKC", value.decode()).strip().encode()
    except UnicodeDecodeError:  # an old app's charset
        return value.strip()


@lru_cache(maxsize=4)
def _keyed(key: bytes) -> blake2b:
    return blake2b(key=key, digest_size=DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class _Template:
    start: str  # what stands before the first masked segment
    parts: tuple[str, ...]


@lru_cache(maxsize=1024)
def _compiled(templates: tuple[str, ...]) -> tuple[_Template, ...]:
    return tuple(_Template(template.partition("*")[0], tuple(template.strip("/").split("/"))) for template in templates)


@lru_cache(maxsize=1024)
def masked_starts(templates: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a path begins with, as one of these, where a template may match it."""
    return tuple(template.start for template in _compiled(templates))


def add_path(record: dict[str, Any], path: str, templates: tuple[str, ...], key: bytes) -> None:
    """Add `url.path` as it may be recorded, and `sekisho.path_digests` where segments were replaced by digests."""
    record["url.path"] = shown = masked_path(path, templates, key)
    if shown is not path and SHOWN in shown:
        pairs = zip(path.split("/"), shown.split("/"), strict=True)
        made = [new[len(SHOWN) :] for old, new in pairs if old != new and new.startswith(SHOWN)]
        if made:
            record["sekisho.path_digests"] = made


def masked_path(path: str, templates: tuple[str, ...], key: bytes) -> str:
    """Return `path` with every segment under a `*` of a matching template as `~<digest>`, and without numbers.

    A template matches the path's first segments: what lies below them is left as it is. Several matching templates
    mask the union of their segments.
    """
    if path.startswith(masked_starts(templates)):
        return _masked(path, _compiled(templates), key)
    return unnumbered(path)


def _masked(path: str, templates: tuple[_Template, ...], key: bytes) -> str:
    segments = path.split("/")
    replaced: set[int] = set()
    for template in templates:
        parts = template.parts
        if len(segments) - 1 < len(parts):
            continue
        if all(part in {"*", segments[place]} for place, part in enumerate(parts, 1)):
            replaced.update(place for place, part in enumerate(parts, 1) if part == "*" and segments[place])
    for place, segment in enumerate(segments):
        found = number_in(segment.encode())
        if found:
            segments[place] = found
        elif place in replaced:
            segments[place] = SHOWN + digest(key, _folded(segment.encode()))
    return "/".join(segments)


def unnumbered(path: str) -> str:
    """Return a decoded path with each segment that holds a number of a person replaced whole by the word for it.

    Whole, because a policy sees whole segments: a replay must decide alike.
    """
    if masked(path) == path:
        return path
    segments = [number_in(segment.encode()) or segment for segment in path.split("/")]
    return "/".join(segments)


@lru_cache(maxsize=1024)
def agent(raw: bytes) -> str:
    """Return what a record says of a browser's name for itself; many requests come from few browsers."""
    return masked(text(raw))


def record_keys(sealing_key: bytes) -> tuple[bytes, ...]:
    """Derive the keys of the digests in records from the installation's sealing key file: one secret fewer to keep.

    The file has one key a line, the current one first; digests made with an earlier one can still be looked for.
    """
    return tuple(blake2b(line, person=b"sekisho-record", digest_size=32).digest() for line in sealing_key.split())


def record_key(sealing_key: bytes) -> bytes:
    """Return the key that digests are made with now."""
    return record_keys(sealing_key)[0]
