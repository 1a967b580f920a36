"""What is masked in records may not be named by a rule: a replay sees the mask, and would decide otherwise (design §6).

An app's registration masks segments of its paths by templates: `/people/*` replaces the second segment of every path
below `/people`. A rule that asks for `/people/new` there, or for a path that holds a number of a person (which records
never hold), is at odds with it. `under: [/people]` and `template: [/people/*/edit]` are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from policies.model import Rule

_PATH: Final = "http.path"
_ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class Named:
    """One path that a rule names although records cannot hold it. `template` is "" for a number of a person."""

    rule: str
    line: int  # of the rule in its source
    path: str
    app: str
    template: str

    def __str__(self) -> str:
        """In Japanese, for whoever wrote the rule or the registration."""
        if not self.template:
            return f"規則 {self.rule}: パス {self.path} に個人番号かカード番号が含まれます(記録に残せません)。"
        masks = f"アプリ {self.app} の masked_paths ({self.template}) が記録で伏せる部分です"
        return f"規則 {self.rule}: パス {self.path} は、{masks}。規則では * を使ってください。"


def named(
    rules: Iterable[Rule], apps: Iterable[tuple[str, tuple[str, ...]]], numbered: Callable[[str], bool]
) -> Iterator[Named]:
    """Yield what the rules name of what is masked.

    `apps` are ids with the templates of their registrations; `numbered` tells whether a text holds such a number.
    """
    masks = tuple(apps)
    for rule in rules:
        for condition in rule.conditions:
            if condition.attribute != _PATH:
                continue
            for value in condition.values:
                path, open_ended = str(value), condition.operator == "under"
                if numbered(path):
                    yield Named(rule.id, rule.line, path, "", "")
                for app, templates in masks:
                    if _is_about(rule, app):
                        hit = (each for each in templates if _meets(_parts(path), _parts(each), open_ended))
                        yield from (Named(rule.id, rule.line, path, app, each) for each in hit)


def _is_about(rule: Rule, app: str) -> bool:
    for condition in rule.when:
        if condition.attribute == "app" and (app in condition.values) is (condition.operator == "none_of"):
            return False
    return True


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _meets(asked: list[str], mask: list[str], open_ended: bool) -> bool:
    """Whether a path can be asked for of which the mask hides a segment that is spelled out."""
    if len(asked) < len(mask) and not open_ended:
        return False  # too short to be masked at all
    pairs = list(zip(asked, mask, strict=False))
    fits = all(_ANY in pair or pair[0] == pair[1] for pair in pairs)
    return fits and any(hides == _ANY != spelled for spelled, hides in pairs)
