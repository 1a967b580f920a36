"""The settings as people read them: a commented `sekisho.toml` and the reference, both from the models' own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.settings import Settings

Value = str | int | float | bool
_BOUND_SIGNS = {
    "ge": "≥ {}",
    "gt": "> {}",
    "le": "≤ {}",
    "lt": "< {}",
    "min_length": "長さ ≥ {}",
    "max_length": "長さ ≤ {}",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting. `default` is TOML text, "" where there is none; `required` says that it has to be stated."""

    key: str  # dotted, such as timeouts.header
    meaning: str
    unit: str
    default: str
    bounds: str
    reason: str
    required: bool

    @property
    def table(self) -> str:
        """The TOML table it stands in."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Its key inside the table."""
        return self.key.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the file; an optional one stands with what it requires or not at all."""

    key: str
    meaning: str
    optional: bool
    entries: tuple[Entry, ...]


def tables(model: type[BaseModel] = Settings, prefix: str = "", optional: bool = False) -> Iterator[Table]:
    """Yield every table with its settings, in the order of their declaration."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            continue
        key = f"{prefix}{name}"
        stands_whole = not field.is_required() and any(inner.is_required() for inner in section.model_fields.values())
        may_be_absent = optional or stands_whole or NoneType in get_args(field.annotation)
        entries = tuple(
            _entry(f"{key}.{inner}", inner_field, getattr(field.default, inner, inner_field.default))
            for inner, inner_field in section.model_fields.items()
            if _section(inner_field.annotation) is None
        )
        if entries:
            yield Table(key, field.description or "", may_be_absent, entries)
        yield from tables(section, f"{key}.", may_be_absent)


def commented_toml(values: Mapping[str, Value]) -> str:
    """Write `sekisho.toml`: `values` (by dotted key) are set, everything else stands as a comment with its default.

    Raises KeyError for a key that is no setting.
    """
    every = list(tables())
    unknown = set(values) - {entry.key for table in every for entry in table.entries}
    if unknown:
        raise KeyError(", ".join(sorted(unknown)))
    return "\n".join(line for table in every for line in _table_lines(table, values))


def _table_lines(table: Table, values: Mapping[str, Value]) -> Iterator[str]:
    stated = not table.optional or any(entry.key in values for entry in table.entries)
    yield f"# {table.meaning}"
    yield f"[{table.key}]" if stated else f"# [{table.key}]"
    for entry in table.entries:
        yield f"# {_explanation(entry)}"
        if entry.key in values:
            yield f"{entry.name} = {_toml(values[entry.key])}"
        else:
            yield f"# {entry.name} = {entry.default}".rstrip()
    yield ""


def _explanation(entry: Entry) -> str:
    facts = [f"単位 {entry.unit}"] if entry.unit else []
    facts += [f"範囲 {entry.bounds}"] if entry.bounds else []
    facts.append(f"既定 {entry.default}" if entry.default else "必須" if entry.required else "既定 なし")
    return f"{entry.meaning}({'、'.join(facts)})。{entry.reason}"


def _entry(key: str, field: FieldInfo, default: object) -> Entry:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return Entry(
        key=key,
        meaning=field.description or "",
        unit=str(extra.get("unit", "")),
        default="" if default is PydanticUndefined or default is None else _toml(default),
        bounds=_bounds(field),
        reason=str(extra.get("reason", "")),
        required=default is PydanticUndefined,
    )


def _bounds(field: FieldInfo) -> str:
    shown = [
        sign.format(getattr(constraint, name))
        for constraint in field.metadata
        for name, sign in _BOUND_SIGNS.items()
        if getattr(constraint, name, None) is not None
    ]
    choices = [str(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
    return "、".join(shown) or " | ".join(choices)


def _section(annotation: Any) -> type[BaseModel] | None:
    candidates = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and not isinstance(value, Enum):
        return repr(value)
    if isinstance(value, str | Path):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value == ():
        return "[]"
    raise TypeError(f"no TOML form for {type(value).__name__}")
