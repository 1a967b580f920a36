"""YAML with positions: plain data, and for each path in it the line and column where it stands.

Narrower than YAML on purpose, because a policy must have one reading: duplicate keys, anchors, aliases, merge keys,
tags, several documents and deep nesting are faults; a plain scalar is true, false, null, a whole number or text
(so `08:00` and `no` stay text), whatever YAML 1.1 would make of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml

DEPTH_MAX: Final = 16
SIZE_MAX: Final = 1 << 20
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})")
_PLAIN: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "": None, "~": None}

Path = tuple[str | int, ...]
Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a policy file. `line` and `column` count from 1; 0 = the file as a whole."""

    file: str
    line: int
    column: int
    key: str  # dotted path, e.g. rules[2].when.user.groups
    got: str
    expected: str
    nearest: str = ""  # the spelling that was probably meant

    def __str__(self) -> str:
        hint = f" (did you mean {self.nearest}?)" if self.nearest else ""
        return f"{self.file}:{self.line}:{self.column}: {self.key}: got {self.got}, expected {self.expected}{hint}"


@dataclass(slots=True)
class Document:
    """Data, positions of values and of keys, and what was wrong while reading."""

    name: str
    data: object = None
    values: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def where(self, path: Path) -> Position:
        """Position of the value at `path`, or of its nearest ancestor that is in the file."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def fault(self, position: Position, path: Path, got: str, expected: str, nearest: str = "") -> None:
        """Add one fault."""
        self.faults.append(Fault(self.name, *position, dotted(path), got, expected, nearest))


def dotted(path: Path) -> str:
    """`("rules", 2, "when")` → `rules[2].when`; the whole file is `policy`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "policy"


def read(source: bytes, name: str) -> Document:
    """Read one document; nothing is raised, what is wrong stands in `.faults`."""
    document = Document(name)
    if len(source) > SIZE_MAX:
        document.fault((0, 0), (), f"{len(source)} bytes", f"at most {SIZE_MAX}")
        return document
    try:
        text = source.decode("utf-8")
        _Reader(document, yaml.parse(text, Loader=yaml.CSafeLoader)).document()
    except UnicodeDecodeError as error:
        document.fault((source[: error.start].count(b"\n") + 1, 1), (), "bytes that are not UTF-8", "UTF-8 text")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        document.fault(position, (), error.problem or "a syntax error", "YAML")
    except yaml.YAMLError as error:
        document.fault((1, 1), (), type(error).__name__, "YAML")
    return document


class _Reader:
    """Builds data from parser events."""

    def __init__(self, document: Document, events: Iterator[yaml.Event]) -> None:
        self._document = document
        self._events = events

    def document(self) -> None:
        """Consume the whole stream: exactly one document."""
        next(self._events)  # stream start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            self._document.fault((1, 1), (), "an empty file", "a policy")
            return
        self._document.data = self._value(next(self._events), (), 0)
        next(self._events)  # document end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            self._document.fault(_position(event), (), "a second document", "one document a file")

    def _value(self, event: yaml.Event, path: Path, depth: int) -> object:
        position = _position(event)
        self._document.values.setdefault(path, position)
        if getattr(event, "anchor", None) is not None:
            kind = "an alias" if isinstance(event, yaml.AliasEvent) else "an anchor"
            self._document.fault(position, path, kind, "values written out (or a bundle)")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._document.fault(position, path, f"the tag {tag}", "no tag")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if isinstance(event, yaml.AliasEvent):
            return None
        if depth >= DEPTH_MAX:
            self._document.fault(position, path, "deeper nesting", f"at most {DEPTH_MAX} levels")
            self._skip()
            return None
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth)
        return self._mapping(path, depth)

    def _sequence(self, path: Path, depth: int) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, object]:
        mapping: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            position = _position(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._document.fault(position, path, "a key that is not text", "text")
                if not isinstance(event, yaml.AliasEvent):
                    self._skip()
                self._discard()
                continue
            key = event.value
            if event.anchor is not None or event.tag is not None:
                self._document.fault(position, (*path, key), "a key with an anchor or a tag", "plain text")
            if key in mapping:
                line = self._document.keys[(*path, key)][0]
                self._document.fault(position, (*path, key), "the key a second time", f"once (first in line {line})")
                self._discard()
                continue
            self._document.keys[(*path, key)] = position
            mapping[key] = self._value(next(self._events), (*path, key), depth + 1)
        return mapping

    def _discard(self) -> None:
        """Read a value that has no place, without recording positions under a path in use."""
        event = next(self._events)
        if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._skip()

    def _skip(self) -> None:
        """Consume the rest of a collection just begun, however deep, without recursion."""
        level = 1
        while level:
            event = next(self._events)
            if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                level += 1
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                level -= 1


def _position(event: yaml.Event) -> Position:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _scalar(event: yaml.ScalarEvent) -> object:
    text: str = event.value
    if event.style not in (None, ""):  # quoted
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    return int(text) if _INTEGER.fullmatch(text) else text
