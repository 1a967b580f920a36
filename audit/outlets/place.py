"""How far an outlet is: the journals' cursor, and the outlet's own mark in the same file, replaced whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from audit import durable
from audit.elastic.cursor import Cursor, CursorInvalid


@dataclass(frozen=True, slots=True)
class Place:
    """Everything before `cursor` is out; `mark` are numbers that only the outlet understands."""

    cursor: Cursor = field(default_factory=Cursor)
    mark: Mapping[str, int] = field(default_factory=dict)


def load(path: Path) -> Place:
    """Return the stored place, the start where there is no file; raises `CursorInvalid`, OSError."""
    try:
        body = orjson.loads(path.read_bytes())
        mark = {str(name): int(number) for name, number in body["mark"].items()}
        return Place(Cursor.parse(orjson.dumps(body["cursor"])), mark)
    except FileNotFoundError:
        return Place()
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CursorInvalid(f"{path.name}: {type(error).__name__}: {error}") from error


def save(path: Path, place: Place) -> None:
    """Make `place` durable; raises OSError."""
    body = {"cursor": orjson.Fragment(place.cursor.dump()), "mark": dict(place.mark)}
    durable.replace(path, orjson.dumps(body), 0o600)
