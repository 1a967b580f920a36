"""A layout with everything decided but the request itself: for those who ask many things within one second.

Who asks, from which device and when is the same for all of them; method and path are not. Conditions on the former are
looked at once, and what is left of the rules are their conditions on the latter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Final

from policies.decision import Decision, Effect
from policies.evaluate import Facts, Leaf
from policies.layout import Allow, Layout, Leaves, holds
from policies.reasons import Reason

ASKED: Final = ("http.method", "http.path")
"""The facts that a request brings itself."""

INTERNAL_ERROR: Final = Decision(Effect.DENY, Reason.INTERNAL_ERROR, "")
_log = logging.getLogger(__name__)

Settle = Callable[[Layout, Facts, Sequence[Allow], bool], Decision]
"""What the rules that allow come to: layout, facts, those that grant (sorted by id), whether others apply."""


class Narrowed:
    """What a layout without shadow, observed and warning rules still asks for, given all other facts."""

    __slots__ = ("_allows", "_denies", "_layout", "_settle")

    def __init__(self, layout: Layout, facts: Facts, asking: Collection[Leaf], settle: Settle) -> None:
        """`facts` are fresh and complete but for `ASKED`; `asking` holds the leaves on those."""
        self._layout = layout
        self._settle = settle
        self._denies: list[tuple[Leaves, Leaves | None, Decision]] = []
        self._allows: list[tuple[Leaves, Leaves | None, Allow]] = []  # require None: known to be unmet
        for deny in layout.denies:
            if any(leaf(facts) is False for leaf in deny.when if leaf not in asking):
                continue
            unless = None if deny.unless is None else _left(deny.unless, facts, asking)
            if unless == ():
                continue  # exempt, whatever is asked
            when = tuple([leaf for leaf in deny.when if leaf in asking])
            self._denies.append((when, unless, deny.decision))
        for allow in layout.allows:
            required = _left(allow.when, facts, asking)
            if required is not None:
                self._allows.append((required, _left(allow.require, facts, asking), allow))

    def decide(self, asked: Facts) -> Decision:
        """Decide from the facts of `ASKED`, as the whole policy would from all of them. Total as that."""
        try:
            return self._decide(asked)
        except Exception:  # noqa: BLE001  # whatever went wrong here, the request must be refused, not the worker
            _log.exception("policy evaluation failed; the request is refused")
            return INTERNAL_ERROR

    def _decide(self, asked: Facts) -> Decision:
        for when, unless, decision in self._denies:
            for leaf in when:
                if leaf(asked) is False:
                    break
            else:
                if unless is None or not holds(unless, asked):
                    return decision
        granting: list[Allow] = []
        applies = False
        for when, require, allow in self._allows:
            if when and not holds(when, asked):
                continue
            if require is None or (require and not holds(require, asked)):
                applies = True
            else:
                granting.append(allow)
        if len(granting) == 1:
            return granting[0].decision
        return self._settle(self._layout, asked, granting, applies)


def _left(leaves: Leaves, facts: Facts, asking: Collection[Leaf]) -> Leaves | None:
    """Return the leaves on what is asked, None where another does not hold."""
    if all(leaf(facts) is True for leaf in leaves if leaf not in asking):
        return tuple([leaf for leaf in leaves if leaf in asking])
    return None
