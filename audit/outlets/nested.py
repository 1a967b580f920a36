"""A document with dotted names as nested objects, the form of ECS that every reader of JSON lines takes as it is.

Filebeat could take dotted names apart itself (`expand_keys`), others could not; so they are taken apart here. Only the
names of fields are: what stands inside a field of type `object` keeps the names that it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def nested(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"user": {"id": …}}` for `{"user.id": …}`. No field's name may be the beginning of another's."""
    tree: dict[str, Any] = {}
    for name, value in body.items():
        *above, last = name.split(".")
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    return tree
