"""A layout with everything decided but the request itself: for those who ask many things within one second.

Who asks, from which device and when is the same for all of them; method and path are not. Conditions on the former are
looked at once, and what is left of the rules are their conditions on the latter.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from typing import Final

from policies.evaluate import Facts, Leaf
from policies.layout import Layout, Leaves

ASKED: Final = ("http.method", "http.path")
"""The facts that a request brings itself."""


def narrow(layout: Layout, facts: Facts, asking: Collection[Leaf]) -> Layout:
    """Return what `layout`, which has no shadow, observed and warning rules, still asks for given all other facts.

    `facts` are fresh and complete but for `ASKED`; `asking` holds the leaves on those.
    """
    narrowed = Layout()
    for deny in layout.denies:
        if any(leaf(facts) is False for leaf in deny.when if leaf not in asking):
            continue
        unless = None if deny.unless is None else _left(deny.unless, facts, asking)
        if unless == ():
            continue  # exempt, whatever is asked
        left = copy(deny)
        left.when, left.unless = tuple([leaf for leaf in deny.when if leaf in asking]), unless
        narrowed.denies.append(left)
    for allow in layout.allows:
        when = _left(allow.when, facts, asking)
        if when is None:
            continue
        require = _left(allow.require, facts, asking)
        granted = copy(allow)
        granted.when, granted.require = when, (_unmet,) if require is None else require
        narrowed.allows.append(granted)
    return narrowed


def asks(narrowed: Layout) -> bool:
    """Whether what is left of the rules depends on what is asked."""
    denies = any(deny.when or deny.unless for deny in narrowed.denies)
    return denies or any(leaf is not _unmet for allow in narrowed.allows for leaf in (*allow.when, *allow.require))


def _left(leaves: Leaves, facts: Facts, asking: Collection[Leaf]) -> Leaves | None:
    """Return the leaves on what is asked, None where another does not hold."""
    if all(leaf(facts) is True for leaf in leaves if leaf not in asking):
        return tuple([leaf for leaf in leaves if leaf in asking])
    return None


def _unmet(_asked: Facts) -> bool:
    """Stand for a condition that is known not to hold."""
    return False
