"""What is wrong with a settings file, all of it at once: where, what was found, what was expected.

A value that may be a secret is never shown: `got` then only says that there is one.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_SECRET_KEY = re.compile(
    r"secret|password|passphrase|token(?!_url$)|credential|private|api_?key|key_file|seed", re.IGNORECASE
)
_USER_INFO = re.compile(r"//[^/@\s]*@")
_LONGEST_SHOWN = 80
_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_INLINE_KEY = re.compile(r"[{,]\s*([A-Za-z0-9_-]+)\s*=")

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing to mend. `line` counts from 1; 0 means that the place has no line (a variable)."""

    file: str
    line: int
    key: str
    got: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: got {self.got}, expected {self.expected}"


class SettingsFaults(Exception):
    """The settings cannot be used; `faults` holds every reason, in the order of the file."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in sorted(faults)))
        self.faults = tuple(sorted(faults))


def syntax_fault(path: Path, text: str, error: tomllib.TOMLDecodeError) -> Fault:
    """Name the place where the text stops being TOML."""
    message = str(error)
    place = re.search(r"\(at line (\d+), column (\d+)\)", message)
    line = int(place[1]) if place else len(text.splitlines()) or 1
    return Fault(str(path), line, "(syntax)", message.partition(" (at ")[0], "TOML 1.0")


def environment_faults(environment: Mapping[str, str], prefix: str, sections: frozenset[str]) -> tuple[Fault, ...]:
    """Name variables that look like settings (`PREFIX` section `__` key) of a section that does not exist."""
    return tuple(
        Fault(_variable(name), 0, name, "an unknown section", _one_of(name, sections))
        for name in sorted(environment)
        if name.upper().startswith(prefix)
        and "__" in name
        and name[len(prefix) :].split("__")[0].lower() not in sections
    )


def value_faults(
    error: ValidationError, path: Path, text: str, environment: Mapping[str, str], prefix: str
) -> tuple[Fault, ...]:
    """Turn a validation error into faults that point at the file's lines or at a variable."""
    lines = key_lines(text)
    variables = {name.upper() for name in environment}
    return tuple(_value_fault(details, path, lines, variables, prefix) for details in error.errors(include_url=False))


def key_lines(text: str) -> dict[Key, int]:
    """Map each key path of a TOML text to its first line; the text has to be valid TOML."""
    lines: dict[Key, int] = {}
    table: Key = ()
    quote = ""
    for number, line in enumerate(text.splitlines(), start=1):
        was_inside, quote = bool(quote), _open_quote(line, quote)
        if was_inside:
            continue
        for key, opens_table in _keys_of(line, table):
            for length in range(1, len(key) + 1):
                lines.setdefault(key[:length], number)
            if opens_table:
                table = key
    return lines


def _keys_of(line: str, table: Key) -> Iterator[tuple[Key, bool]]:
    if header := _HEADER.match(line):
        yield _parts(header[1]), True
    elif match := _KEY.match(line):
        key = (*table, *_parts(match[1]))
        yield key, False
        for inner in _INLINE_KEY.finditer(line, match.end()):
            yield (*key, inner[1]), False


def _open_quote(line: str, quote: str) -> str:
    """Return the multi-line quote that is still open after `line`."""
    for found in re.findall(r'"""|\'\'\'', line):
        if not quote:
            quote = found
        elif quote == found:
            quote = ""
    return quote


def _parts(dotted: str) -> Key:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _value_fault(
    details: ErrorDetails, path: Path, lines: Mapping[Key, int], variables: set[str], prefix: str
) -> Fault:
    location = details["loc"]
    names = tuple(part for part in location if isinstance(part, str))
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    got, expected = _found(details, names), _expected(details)
    for length in range(len(names), 0, -1):
        variable = prefix + "__".join(names[:length]).upper()
        if variable in variables:
            return Fault(_variable(variable), 0, key, got, expected)
    line = next((lines[names[:length]] for length in range(len(names), 0, -1) if names[:length] in lines), 1)
    return Fault(str(path), line, key or "(whole file)", got, expected)


def _found(details: ErrorDetails, names: Key) -> str:
    if details["type"] == "missing":
        return "nothing"
    if details["type"] == "extra_forbidden":
        return "an unknown key"
    value = details["input"]
    if not isinstance(value, str | int | float | bool):
        return f"a value of type {type(value).__name__}" if not isinstance(value, dict) else "what the table says"
    if names and _SECRET_KEY.search(names[-1]):
        return "a value (not shown)"
    shown = _USER_INFO.sub("//…@", repr(value))
    return shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "…"


def _expected(details: ErrorDetails) -> str:
    if details["type"] == "missing":
        return "a value"
    if details["type"] == "extra_forbidden":
        return "a key of this table (sekisho config reference lists them)"
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return message[0].lower() + message[1:] if message.startswith("String") else message


def _one_of(name: str, sections: frozenset[str]) -> str:
    wanted = name.partition("__")[0].partition("_")[2].lower()
    near = difflib.get_close_matches(wanted, sections, n=1)
    return f"section {near[0]}" if near else "one of " + ", ".join(sorted(sections))


def _variable(name: str) -> str:
    return f"environment variable {name}"
