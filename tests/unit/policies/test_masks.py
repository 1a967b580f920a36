"""A rule may not name what records mask: the table of what is at odds, and a property against the mask itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.decision import Effect
from policies.masks import named
from policies.model import Condition, Rule
from tests.support.gate_world import condition, rule


def numbered(text: str) -> bool:
    return "123456789018" in text


def found(operator: str, path: str, *templates: str, apps: Any = None, about: str = "docs") -> list[str]:
    when = (Condition("app", "any_of", (about,)), Condition("http.path", operator, (path,)))
    rules = [Rule("r", Effect.ALLOW, "", "", rule("x").mode, None, when, (), (), "", (), line=7)]
    return [each.template for each in named(rules, apps or [("docs", templates)], numbered)]


@pytest.mark.parametrize(
    ("operator", "path", "template", "at_odds"),
    [
        ("under", "/people", "/people/*", False), ("under", "/", "/people/*", False),
        ("under", "/people/new", "/people/*", True), ("under", "/people/new/x", "/people/*", True),
        ("under", "/other/new", "/people/*", False), ("equals", "/people/1", "/people/*", True),
        ("equals", "/people", "/people/*", False), ("equals", "/people/1", "/people/*/x/*", False),
        ("under", "/people/1", "/people/*/x/*", True), ("template", "/people/*/edit", "/people/*", False),
        ("template", "/people/*/edit", "/people/*/*", True), ("template", "/*/1", "/people/*", True),
        ("template", "/*/*", "/people/*", False), ("equals", "/a/edit", "/*/edit", True),
        ("equals", "/a/view", "/*/edit", False), ("equals", "/x/123456789018", "/people/*", True),
    ],
)  # fmt: skip
def test_what_is_at_odds(operator: str, path: str, template: str, at_odds: bool) -> None:
    assert bool(found(operator, path, template)) is at_odds
    if "123456789018" not in path:
        assert found(operator, path, template, about="mail") == []
        assert found(operator, path) == []


def test_a_rule_about_every_app_but_one_is_looked_at_for_the_others() -> None:
    spelled = condition("http.path", "equals", "/people/1")
    rules = [rule("r", when=(condition("app", "none_of", "docs"),), require=(spelled,))]
    apps = [("docs", ("/people/*",)), ("mail", ("/people/*",))]
    assert [each.app for each in named(rules, apps, numbered)] == ["mail"]
    assert [each.app for each in named([rule("r", unless=(spelled,))], apps, numbered)] == ["docs", "mail"]
    told = str(next(named(rules, apps, numbered)))
    assert "r" in told
    assert "/people/1" in told
    assert "mail" in told


SEGMENTS = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3)
PATHS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4)
MATCHES: dict[str, Callable[[list[str], list[str]], bool]] = {
    "equals": lambda asked, path: asked == path,
    "under": lambda asked, path: path[: len(asked)] == asked,
    "template": lambda asked, path: (
        len(asked) == len(path) and all(part in ("*", real) for part, real in zip(asked, path, strict=True))
    ),
}


def seen_in_a_record(path: list[str], mask: list[str]) -> list[str]:
    """The path as a replay sees it, made apart from the gate's own code."""
    if len(path) < len(mask) or any(m not in ("*", p) for m, p in zip(mask, path, strict=False)):
        return path
    return ["~" if place < len(mask) and mask[place] == "*" else part for place, part in enumerate(path)]


@given(st.sampled_from(sorted(MATCHES)), SEGMENTS, SEGMENTS, PATHS)
def test_what_is_not_at_odds_replays_alike(operator: str, asked: list[str], mask: list[str], path: list[str]) -> None:
    if operator != "template":
        asked = [part.replace("*", "a") for part in asked]
    if found(operator, "/" + "/".join(asked), "/" + "/".join(mask)):
        return
    matches = MATCHES[operator]
    assert matches(asked, path) == matches(asked, seen_in_a_record(path, mask))
