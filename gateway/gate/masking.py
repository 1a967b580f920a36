"""What of a request's target may stand in a record.

A query never does: its keyed digest lets two records be compared and tells nothing (the key is the installation's).
Of a path, the segments that the app's registration masks are replaced whole by keyed digests.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

DIGEST_BYTES = 12


def digest(key: bytes, text: bytes) -> str:
    """Return the keyed digest (BLAKE2b, RFC 7693 §2.9) of `text` in hex."""
    return blake2b(text, key=key, digest_size=DIGEST_BYTES).hexdigest()


@lru_cache(maxsize=1024)
def _segments(template: str) -> tuple[str, ...]:
    return tuple(template.strip("/").split("/"))


def masked_path(path: str, templates: tuple[str, ...], key: bytes) -> str:
    """Return `path` with every segment under a `*` of a matching template as `~<digest>`.

    A template matches the path's first segments, so that what lies under a masked segment is masked with it. Several
    matching templates mask the union of their segments.
    """
    if not templates:
        return path
    segments = path.split("/")
    masked: set[int] = set()
    for template in templates:
        parts = _segments(template)
        if len(segments) - 1 < len(parts):
            continue
        if all(part in {"*", segments[place]} for place, part in enumerate(parts, 1)):
            masked.update(place for place, part in enumerate(parts, 1) if part == "*" and segments[place])
    for place in masked:
        segments[place] = "~" + digest(key, segments[place].encode())
    return "/".join(segments)
