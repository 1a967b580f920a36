"""What the compiled copy of the program is made from: the sources as they are, and declarations that follow from them.

`make torture` builds the copy and runs the tests of edge, gate and audit against it.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from gateway.edge.connection import ClientConnection
from scripts.compiling.declarations import declarations
from scripts.compiling.modules import HOT
from scripts.compiling.program import Program
from scripts.compiling.staging import staged
from tests.support.steward_process import ROOT


@cache
def program() -> Program:
    return Program(ROOT, HOT)


@pytest.mark.parametrize("name", HOT)
def test_lines_stay_where_they_are(name: str) -> None:
    source, given = program().modules[name].text.split("\n"), staged(program(), name).split("\n")
    assert len(given) == len(source)
    ast.parse("\n".join(given))
    classes = {node.lineno for node in program().modules[name].classes}
    kept = [new for new, old in zip(given, source, strict=True) if new == old]
    changed = [number for number, (new, old) in enumerate(zip(given, source, strict=True), 1) if new not in ("", old)]
    assert len(kept) > 0.8 * len(source)
    assert all(number in classes or given[number - 1].endswith(source[number - 1].lstrip()) for number in changed)


def test_every_attribute_is_declared() -> None:
    told = "\n".join(declarations(program(), name) for name in HOT)
    slots = [name for each in ClientConnection.__mro__ for name in getattr(each, "__slots__", ())]
    assert len(slots) > 20
    assert [name for name in slots if f" {name}\n" not in told] == []
    assert "    cdef public bytes buffer\n" in told


def test_the_connection_and_the_exchange_are_structures() -> None:
    """A base that is not compiled would make them ordinary classes, and the copy slow, without a word."""
    found = {each for module in program().modules.values() for each in module.structures}
    assert {"ClientConnection", "Exchange", "UpstreamConnection", "WorkerGatekeeper", "Journal", "Standing"} <= found


def test_defaults_of_a_class_are_set_first(tmp_path: Path) -> None:
    """C's structures have none; no class of ours that is compiled has any now, as each reading of one is slow."""
    (tmp_path / "first.py").write_text("class First:\n    waiting = 3\n    tried: tuple[str, ...] = ()\n")
    (tmp_path / "second.py").write_text(
        "from first import First\n\n\nclass Second(First):\n    sent = 0\n    name = 'a'\n\n"
        "    def __init__(self) -> None:\n        self.size = self.waiting\n"
    )
    text = staged(Program(tmp_path, ("first", "second")), "second")
    assert "self.waiting = 3; self.tried = (); self.sent = 0; self.name = 'a'; self.size = self.waiting\n" in text
    assert [line for line in text.split("\n") if line.startswith("    name")] == []


def test_a_text_may_be_a_member_of_an_enumeration() -> None:
    """`str` is no type of C here: a reason is a `StrEnum`'s member where a text is said."""
    assert "cpdef object cut(self, object reason, object detail=*)" in declarations(program(), "gateway.edge.relay")


def test_a_method_whose_arguments_are_unpacked_in_a_call_is_none_of_c() -> None:
    """Cython 3.3 makes of `self._judge(*each)` a call through a pointer that nothing has set: the process dies."""
    assert "self._judge(*each)" in program().modules["audit.detect.engine"].text
    assert " _judge(" not in declarations(program(), "audit.detect.engine")
    assert "    cpdef object _judge(" in declarations(program(), "gateway.edge.connection"), "none unpacks that one's"


def test_a_function_with_the_name_of_a_method_is_none_of_c() -> None:
    """Cython takes the method for the function, and refuses to compile either."""
    told = declarations(program(), "audit.detect.sessions")
    assert " _after_end(" not in told
    assert "cpdef object _finding(" in told
