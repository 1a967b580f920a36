"""A command's arguments, taken one by one and checked: what is missing, of another type or unknown is refused."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from gateway.state.command import CommandRefused
from gateway.state.records import Row

RecordT = TypeVar("RecordT", bound=Row)

_TEXT_LIMIT = 65_536  # characters
_ABSENT = object()
_known_hints: dict[type[Row], dict[str, Any]] = {}


class Arguments:
    """The mapping that came with a command. Each getter raises `CommandRefused("bad_arguments", …)`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def text(self, name: str, default: str | None = None) -> str:
        """A string; `default` allows it to be left out."""
        value = self._take(name, default)
        if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
            raise _bad(name, "a text")
        return value

    def digest(self, name: str) -> str:
        """A SHA-256 as 64 lower-case hex digits."""
        value = self.text(name)
        if len(value) != 64 or any(c not in "0123456789abcdef" for c in value):
            raise _bad(name, "64 lower-case hex digits")
        return value

    def optional_text(self, name: str) -> str | None:
        """A string or null; may be left out."""
        value = self._values.pop(name, None)
        if value is not None and not isinstance(value, str):
            raise _bad(name, "a text or null")
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self._take(name, None)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _bad(name, "a number")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._take(name, None)
        if not isinstance(value, bool):
            raise _bad(name, "true or false")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._take(name, None)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _bad(name, "a list of texts")
        return tuple(value)

    def mapping(self, name: str) -> dict[str, Any]:
        """A mapping with text keys."""
        value = self._take(name, None)
        if not isinstance(value, dict):
            raise _bad(name, "a mapping")
        return value

    def record(self, kind: type[RecordT], name: str) -> RecordT:
        """One record, from its row."""
        return self._record(kind, name, self.mapping(name))

    def records(self, kind: type[RecordT], name: str) -> list[RecordT]:
        """A list of records."""
        value = self._take(name, None)
        if not isinstance(value, list):
            raise _bad(name, "a list of records")
        return [self._record(kind, f"{name}[{index}]", row) for index, row in enumerate(value)]

    def end(self) -> None:
        """Refuse what nobody asked for."""
        if self._values:
            raise CommandRefused("bad_arguments", f"unknown arguments: {', '.join(sorted(self._values))}")

    def _take(self, name: str, default: Any) -> Any:
        value = self._values.pop(name, _ABSENT)
        if value is _ABSENT:
            if default is None:
                raise CommandRefused("bad_arguments", f"{name}: missing")
            return default
        return value

    @staticmethod
    def _record(kind: type[RecordT], name: str, row: Any) -> RecordT:
        if not isinstance(row, dict):
            raise _bad(name, f"a {kind.__name__}")
        for key, value in row.items():
            hint = _hints(kind).get(key)
            if hint is None:
                raise CommandRefused("bad_arguments", f"{name}.{key}: unknown field")
            if not _fits(value, hint):
                raise _bad(f"{name}.{key}", str(hint))
        try:
            return kind.from_row(row)
        except TypeError:
            missing = sorted(_hints(kind).keys() - row.keys())
            raise CommandRefused("bad_arguments", f"{name}: missing fields {', '.join(missing)}") from None


def _hints(kind: type[Row]) -> dict[str, Any]:
    if kind not in _known_hints:
        _known_hints[kind] = typing.get_type_hints(kind)
    return _known_hints[kind]


def _fits(value: object, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if origin is tuple:
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if origin is dict:
        return isinstance(value, dict)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is hint


def _bad(name: str, expected: str) -> CommandRefused:
    return CommandRefused("bad_arguments", f"{name}: expected {expected}")
