"""YAML text → plain values with a position for each, and all faults at once.

Anchors, aliases, tags and duplicate keys are faults: a registration says each thing once, in plain sight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

Path = tuple[str | int, ...]
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

_SCALARS = {
    "tag:yaml.org,2002:null",
    "tag:yaml.org,2002:bool",
    "tag:yaml.org,2002:int",
    "tag:yaml.org,2002:float",
    "tag:yaml.org,2002:str",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in a file, for the person who wrote it. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    key: str
    got: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: "
        return f"{place}{self.key}: got {self.got}, expected {self.expected}"


class SourceFaults(ValueError):
    """A file with at least one fault; `faults` holds them all, in the order of the file."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


@dataclass(slots=True)
class Document:
    """One YAML document: its value, and where each key stands (`places[path]` = line, column from 1)."""

    file: str
    value: Plain
    places: dict[Path, tuple[int, int]]
    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: Path, got: str, expected: str) -> Fault:
        """A fault at `path`, or at the nearest enclosing key that the file has."""
        at = path
        while at and at not in self.places:
            at = at[:-1]
        line, column = self.places.get(at, (1, 1))
        return Fault(self.file, line, column, ".".join(str(part) for part in path), got, expected)


def read_documents(text: str, file: str) -> list[Document]:
    """Return the documents of `text`.

    Raises SourceFaults where the text is not YAML at all; lesser faults stay with their document.
    """
    try:
        _refuse_aliases(text, file)
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        fault = Fault(file, line, column, "", error.problem or "broken YAML", "a YAML document")
        raise SourceFaults((fault,)) from error
    except yaml.YAMLError as error:
        raise SourceFaults((Fault(file, 1, 1, "", "unreadable text", "YAML in UTF-8"),)) from error
    return [_document(node, file) for node in nodes]


def _refuse_aliases(text: str, file: str) -> None:
    faults = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            faults.append(Fault(file, line, column, "", f"anchor or alias {anchor!r}", "plain values"))
    if faults:
        raise SourceFaults(tuple(faults))


def _document(node: yaml.Node, file: str) -> Document:
    document = Document(file, None, {})
    document.value = _value(node, (), document)
    return document


def _value(node: yaml.Node, path: Path, document: Document) -> Plain:
    document.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, index), document) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return dict(_entries(node, path, document))
    document.faults.append(document.fault(path, node.tag, "a plain value"))
    return None


def _entries(node: yaml.MappingNode, path: Path, document: Document) -> Iterator[tuple[str, Plain]]:
    seen: set[str] = set()
    for key_node, value_node in node.value:
        key = str(key_node.value)
        document.places[(*path, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if key in seen:
            document.faults.append(document.fault((*path, key), "the key a second time", "each key once"))
            continue
        seen.add(key)
        yield key, _value(value_node, (*path, key), document)


def _scalar(node: yaml.ScalarNode, path: Path, document: Document) -> Plain:
    if node.tag not in _SCALARS:
        # Dates and other resolved types stay the text that the person wrote.
        if node.tag.startswith("tag:yaml.org,2002:"):
            return str(node.value)
        document.faults.append(document.fault(path, f"tag {node.tag}", "a plain value"))
        return None
    if node.tag.endswith(":str"):
        return str(node.value)
    plain: Plain = yaml.safe_load(yaml.serialize(node))
    return plain
