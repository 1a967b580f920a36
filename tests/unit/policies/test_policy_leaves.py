"""Single conditions at their edges: true, false, or not to be known."""

from __future__ import annotations

import pytest

from policies.evaluate import ConditionInvalid, build_leaf, version_key
from policies.model import Condition, Operand


@pytest.mark.parametrize(
    ("name", "operator", "values", "fact", "answer"),
    [
        ("user.department", "any_of", ("a",), None, False),
        ("user.department", "none_of", ("a",), None, True),
        ("user.department", "any_of", ("a",), 7, None),
        ("user.login", "any_of", ("a",), None, None),
        ("time.of_day", "between", (480, 600), 480, True),
        ("time.of_day", "between", (480, 600), 600, False),
        ("time.of_day", "between", (1200, 480), 1200, True),
        ("time.of_day", "between", (1200, 480), 480, False),
        ("time.of_day", "between", (480, 600), 1440, None),
        ("time.of_day", "between", (480, 600), -1, None),
        ("mfa.age", "max", (60.0,), 60.0, True),
        ("mfa.age", "max", (60.0,), 60.1, False),
        ("mfa.age", "min", (60.0,), 60.0, True),
        ("mfa.age", "min", (60.0,), float("nan"), None),
        ("device.os_version", "min", ("10.0",), "10", True),
        ("device.os_version", "min", ("10",), "9.99", False),
        ("device.os_version", "max", ("10",), "ten", None),
        ("user.kind", "none_of", ("staff",), "robot", None),
    ],
)
def test_a_condition_at_its_edge(
    name: str, operator: str, values: tuple[Operand, ...], fact: object, answer: bool | None
) -> None:
    assert build_leaf(Condition(name, operator, values))({name: fact}) is answer


@pytest.mark.parametrize(
    ("name", "operator", "values"),
    [
        ("nope", "is", (True,)),
        ("mfa.age", "any_of", ("a",)),
        ("mfa.age", "max", ()),
        ("mfa.age", "max", ("1h",)),
        ("device.known", "is", ("yes",)),
        ("user.kind", "any_of", ("robot",)),
        ("device.os_version", "min", ("x",)),
    ],
)
def test_a_condition_outside_the_catalogue_is_refused(name: str, operator: str, values: tuple[Operand, ...]) -> None:
    with pytest.raises(ConditionInvalid):
        build_leaf(Condition(name, operator, values))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("0", (0,)),
        ("0.0", (0,)),
        ("1.2.0.0", (1, 2)),
        ("1.2.3.4.5.6.7.8", (1, 2, 3, 4, 5, 6, 7, 8)),
        ("1.2.3.4.5.6.7.8.9", None),
        ("123456789", (123456789,)),
        ("1234567890", None),
        ("1..2", None),
        ("１", None),
    ],
)
def test_versions_compare_as_numbers(text: str, key: tuple[int, ...] | None) -> None:
    assert version_key(text) == key
