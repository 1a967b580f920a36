"""What of a request's target may stand in a record.

A query never does: its keyed digest lets two records be compared and tells nothing (the key is the installation's).
Of a path, the segments that the app's registration masks are replaced whole by keyed digests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

DIGEST_BYTES = 12


def digest(key: bytes, text: bytes) -> str:
    """Return the keyed digest (BLAKE2b, RFC 7693 §2.9) of `text` in hex."""
    keyed = _keyed(key).copy()
    keyed.update(text)
    return keyed.hexdigest()


@lru_cache(maxsize=512)
def query_digest(key: bytes, query: bytes) -> str:
    """Return what a record says of a query; what one page asks for is asked by all who open it, so some are kept."""
    return "~" + digest(key, query)


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


def masked_path(path: str, templates: tuple[str, ...], key: bytes) -> str:
    """Return `path` with every segment under a `*` of a matching template as `~<digest>`.

    A template matches the path's first segments: what lies below them is left as it is. Several matching templates
    mask the union of their segments.
    """
    for template in _compiled(templates):
        if path.startswith(template.start):
            return _masked(path, _compiled(templates), key)
    return path


def _masked(path: str, templates: tuple[_Template, ...], key: bytes) -> str:
    segments = path.split("/")
    masked: set[int] = set()
    for template in templates:
        parts = template.parts
        if len(segments) - 1 < len(parts):
            continue
        if all(part in {"*", segments[place]} for place, part in enumerate(parts, 1)):
            masked.update(place for place, part in enumerate(parts, 1) if part == "*" and segments[place])
    for place in masked:
        segments[place] = "~" + digest(key, segments[place].encode())
    return "/".join(segments)


def record_key(sealing_key: bytes) -> bytes:
    """Derive the key of the digests in records from the installation's sealing key file: one secret fewer to keep."""
    return blake2b(sealing_key.strip(), person=b"sekisho-record", digest_size=32).digest()
