"""Three-valued conditions as closures: the leaves of every decision.

A leaf takes facts and answers True, False, or None for "cannot be known": the fact is absent, null, or not of the
catalogue's type. What unknown means is decided by the rule, never here (reference: deny matches unless a leaf is
False; allow needs every leaf True; an exemption needs every leaf True).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from policies.catalogue import CATALOGUE, Kind
from policies.model import Condition

Facts = Mapping[str, object]
Leaf = Callable[[Facts], bool | None]

VERSION_PARTS_MAX: Final = 8
VERSION_DIGITS_MAX: Final = 9
MINUTES_OF_DAY: Final = 1440


class ConditionInvalid(ValueError):
    """A condition that the catalogue does not know: the policy must not be half enforced."""


def build_leaf(condition: Condition) -> Leaf:
    """Return the closure of one condition.

    Raises:
        ConditionInvalid: unknown attribute, operator not of its kind, or values of the wrong form.
    """
    attribute = CATALOGUE.get(condition.attribute)
    builder = None if attribute is None else _BUILDERS.get((attribute.kind, condition.operator))
    if attribute is None or builder is None or not condition.values:
        raise ConditionInvalid(f"{condition.attribute} {condition.operator}: not in the catalogue")
    try:
        leaf = builder(attribute.name, condition.values)
    except (TypeError, ValueError) as error:
        raise ConditionInvalid(f"{condition.attribute} {condition.operator}: {error}") from error
    return leaf if attribute.on_missing is None else _with_default(leaf, attribute.name, attribute.on_missing)


def _with_default(leaf: Leaf, name: str, default: str) -> Leaf:
    def defaulted(facts: Facts) -> bool | None:
        value = facts.get(name)
        return leaf({name: default}) if value is None else leaf(facts)

    return defaulted


def _is(name: str, values: tuple[Any, ...]) -> Leaf:
    (wanted,) = values
    if wanted is not True and wanted is not False:
        raise TypeError("expected true or false")

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        if value is wanted:
            return True
        return False if value is True or value is False else None

    return leaf


def _one_any_of(name: str, values: tuple[Any, ...]) -> Leaf:
    wanted = frozenset(_texts(values))
    return _member(name, wanted, True)


def _one_none_of(name: str, values: tuple[Any, ...]) -> Leaf:
    unwanted = frozenset(_texts(values))
    return _member(name, unwanted, False)


def _member(name: str, members: frozenset[str], inside: bool) -> Leaf:
    """One text inside or outside `members`; a text outside a closed vocabulary is as good as missing."""
    vocabulary = frozenset(CATALOGUE[name].choices)
    if vocabulary:
        if not members <= vocabulary:
            raise ValueError(f"expected values of {sorted(vocabulary)}")
        holds = members if inside else vocabulary - members

        def closed(facts: Facts) -> bool | None:
            value = facts.get(name)
            return value in holds if isinstance(value, str) and value in vocabulary else None

        return closed

    def free(facts: Facts) -> bool | None:
        value = facts.get(name)
        return (value in members) is inside if isinstance(value, str) else None

    return free


def _set_any_of(name: str, values: tuple[Any, ...]) -> Leaf:
    wanted = frozenset(_texts(values))

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        return not wanted.isdisjoint(value) if isinstance(value, frozenset) else None

    return leaf


def _set_none_of(name: str, values: tuple[Any, ...]) -> Leaf:
    unwanted = frozenset(_texts(values))

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        return unwanted.isdisjoint(value) if isinstance(value, frozenset) else None

    return leaf


def _set_all_of(name: str, values: tuple[Any, ...]) -> Leaf:
    wanted = frozenset(_texts(values))

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        return wanted <= value if isinstance(value, frozenset) else None

    return leaf


def _number_max(name: str, values: tuple[Any, ...]) -> Leaf:
    (limit,) = _numbers(values)

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        if type(value) is not float and type(value) is not int:
            return None
        if value <= limit:
            return True
        return False if value > limit else None  # neither: not a number

    return leaf


def _number_min(name: str, values: tuple[Any, ...]) -> Leaf:
    (limit,) = _numbers(values)

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        if type(value) is not float and type(value) is not int:
            return None
        if value >= limit:
            return True
        return False if value < limit else None

    return leaf


def _clock_between(name: str, values: tuple[Any, ...]) -> Leaf:
    start, end = _numbers(values)

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        if (type(value) is not int and type(value) is not float) or not 0 <= value < MINUTES_OF_DAY:
            return None
        if start < end:
            return start <= value < end
        return value >= start or value < end  # over midnight

    return leaf


def _path_under(name: str, values: tuple[Any, ...]) -> Leaf:
    exact = frozenset(_texts(values))
    prefixes = tuple(text if text == "/" else text + "/" for text in sorted(exact))

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        if not isinstance(value, str) or not value.startswith("/"):
            return None
        return value in exact or value.startswith(prefixes)

    return leaf


def _path_equals(name: str, values: tuple[Any, ...]) -> Leaf:
    exact = frozenset(_texts(values))

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        if not isinstance(value, str) or not value.startswith("/"):
            return None
        return value in exact

    return leaf


def _path_template(name: str, values: tuple[Any, ...]) -> Leaf:
    templates = tuple(tuple(text.split("/")) for text in _texts(values))

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        if not isinstance(value, str) or not value.startswith("/"):
            return None
        segments = value.split("/")
        return any(
            len(template) == len(segments)
            and all(part in (segment, "*" if segment else "") for part, segment in zip(template, segments, strict=True))
            for template in templates
        )

    return leaf


@lru_cache(maxsize=1024)
def version_key(text: str) -> tuple[int, ...] | None:
    """Dotted numbers as a comparable key without trailing zeros, or None if `text` is not of that form."""
    parts = text.split(".")
    if len(parts) > VERSION_PARTS_MAX:
        return None
    if not all(part.isascii() and part.isdigit() and len(part) <= VERSION_DIGITS_MAX for part in parts):
        return None
    numbers = [int(part) for part in parts]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _version_min(name: str, values: tuple[Any, ...]) -> Leaf:
    limit = _version_limit(values)

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        key = version_key(value) if isinstance(value, str) else None
        return None if key is None else key >= limit

    return leaf


def _version_max(name: str, values: tuple[Any, ...]) -> Leaf:
    limit = _version_limit(values)

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        key = version_key(value) if isinstance(value, str) else None
        return None if key is None else key <= limit

    return leaf


def _ordered(name: str, values: tuple[Any, ...], lowest: bool) -> Leaf:
    (limit,) = _texts(values)
    choices = CATALOGUE[name].choices
    place = choices.index(limit)
    within = frozenset(choices[place:] if lowest else choices[: place + 1])
    known = frozenset(choices)

    def leaf(facts: Facts) -> bool | None:
        value = facts.get(name)
        return value in within if isinstance(value, str) and value in known else None

    return leaf


def _version_limit(values: tuple[Any, ...]) -> tuple[int, ...]:
    (text,) = _texts(values)
    key = version_key(text)
    if key is None:
        raise ValueError("expected dotted numbers")
    return key


def _texts(values: tuple[Any, ...]) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("expected text values")
    return values


def _numbers(values: tuple[Any, ...]) -> tuple[float, ...]:
    if not all(type(value) in (int, float) for value in values):
        raise TypeError("expected numbers")
    return values


_Builder = Callable[[str, tuple[Any, ...]], Leaf]
_BUILDERS: Final[Mapping[tuple[Kind, str], _Builder]] = {
    (Kind.BOOL, "is"): _is,
    (Kind.TEXT, "any_of"): _one_any_of,
    (Kind.TEXT, "none_of"): _one_none_of,
    (Kind.CHOICE, "any_of"): _one_any_of,
    (Kind.CHOICE, "none_of"): _one_none_of,
    (Kind.ORDERED, "any_of"): _one_any_of,
    (Kind.ORDERED, "none_of"): _one_none_of,
    (Kind.ORDERED, "min"): lambda name, values: _ordered(name, values, lowest=True),
    (Kind.ORDERED, "max"): lambda name, values: _ordered(name, values, lowest=False),
    (Kind.SET, "any_of"): _set_any_of,
    (Kind.SET, "none_of"): _set_none_of,
    (Kind.SET, "all_of"): _set_all_of,
    (Kind.DURATION, "min"): _number_min,
    (Kind.DURATION, "max"): _number_max,
    (Kind.CLOCK, "between"): _clock_between,
    (Kind.PATH, "under"): _path_under,
    (Kind.PATH, "equals"): _path_equals,
    (Kind.PATH, "template"): _path_template,
    (Kind.VERSION, "min"): _version_min,
    (Kind.VERSION, "max"): _version_max,
}
