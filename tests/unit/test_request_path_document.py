"""docs/request-path.md is a walk through code that is there: its names exist, its drawing is the table's own."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from gateway.edge import states
from gateway.edge.states import TRANSITIONS, Event, State

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "request-path.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
ENDS = {Event.CUT, Event.LOST}


def meanings(kind: type[State | Event]) -> dict[str, str]:
    """Return what the source says of each member, behind its value."""
    return dict(re.findall(r"^    ([A-Z_]+) = \d+(?:  # (.*))?$", inspect.getsource(kind), re.MULTILINE))


def drawn() -> str:
    """Return the table of states as a Mermaid diagram; that every state ends by CUT and LOST is said beside it."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> IDLE"]
    for state, row in TRANSITIONS.items():
        ways: dict[State, list[str]] = {}
        for event, following in row.items():
            if event not in ENDS:
                ways.setdefault(following, []).append(event.name)
        lines += [f"    {state.name} --> {to.name}: {', '.join(events)}" for to, events in ways.items()]
    return "\n".join([*lines, "    DRAINING --> [*]", "```"])


def listed(kind: type[State | Event]) -> str:
    """Return the members with their meanings as a Markdown table."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in meanings(kind).items()]
    return "\n".join([f"| {kind.__name__.lower()} | meaning |", "| --- | --- |", *rows])


def part(name: str) -> str:
    """Return what stands between the marks of one generated part."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", TEXT, re.DOTALL)
    assert found, name
    return found[1]


@pytest.mark.parametrize(
    ("name", "expected"), [("drawing", drawn()), ("states", listed(State)), ("events", listed(Event))]
)
def test_the_table_is_the_programs_own(name: str, expected: str) -> None:
    assert part(name) == expected


def test_every_state_ends_by_a_cut_and_by_a_loss() -> None:
    assert all(row.keys() >= ENDS and {row[each] for each in ENDS} == {State.CLOSED} for row in TRANSITIONS.values())
    assert states.TRANSITIONS.keys() == set(State)


def named() -> list[tuple[str, str]]:
    """Return the (module, name) pairs that the document links: [`edge.reader.HeadReader.take`](../gateway/…)."""
    return sorted(set(re.findall(r"\[`[^`]*?([A-Za-z_.]+)`\]\(\.\./([a-z_/]+)\.py\)", TEXT)))


@pytest.mark.parametrize(("name", "path"), named())
def test_what_it_names_is_there(name: str, path: str) -> None:
    found: object = importlib.import_module(path.replace("/", "."))
    module, *inner = name.split(".")
    assert path.rpartition("/")[2] == module
    assert inner
    for each in inner:
        found = getattr(found, each)


def test_the_walk_is_long_enough_to_be_one() -> None:
    assert len(named()) > 20
    assert len(TEXT.split()) < 2200, "ten minutes"
