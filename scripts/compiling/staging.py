"""The sources as Cython gets them: each line where it was, so that a traceback names the line of the source.

A structure cannot extend classes that only promise methods, and its attributes have no defaults in the class:
`__init__` sets them first.
"""

from __future__ import annotations

import ast
import re

from scripts.compiling.program import Module, Program

_GIVEN_BY_C = {"None", "False"}


def staged(program: Program, name: str) -> str:
    """Return the source of a module for Cython."""
    module = program.modules[name]
    lines = module.text.split("\n")
    for each in module.structures.values():
        first = each.lineno - 1
        kept = [base for base in map(ast.unparse, each.bases) if program.structure(module, base) is not None]
        if len(kept) < len(each.bases):
            lines[first] = re.sub(r"\([^)]*\):", f"({', '.join(kept)}):" if kept else ":", lines[first], count=1)
        attributes = program.attributes(module, each)
        for node in each.body:
            if _field(node) in attributes:
                lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
        _set_first(lines, each, _defaults(program, module, each))
    return "\n".join(lines)


def _field(node: ast.stmt) -> str:
    """Return the name that a statement of a class's body declares or sets, "" for any other statement."""
    target = (
        node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
    )
    return target.id if isinstance(target, ast.Name) else ""


def _defaults(program: Program, module: Module, each: ast.ClassDef) -> dict[str, str]:
    """Return the defaults of a structure's attributes, its base's first, where C does not give the same."""
    base = program.base(module, each)
    found: dict[str, str] = {}
    if base is not None:
        parent = program.modules[base[0]]
        found = _defaults(program, parent, parent.structures[base[1]])
    attributes = program.attributes(module, each)
    for node in each.body:
        name = _field(node)
        if name in attributes and isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            found[name] = ast.unparse(node.value)
    return {name: value for name, value in found.items() if value not in _GIVEN_BY_C}


def _set_first(lines: list[str], each: ast.ClassDef, defaults: dict[str, str]) -> None:
    methods = {node.name: node for node in each.body if isinstance(node, ast.FunctionDef)}
    init = methods.get("__init__")
    if not defaults:
        return
    if init is None:
        return  # its subclasses set them
    told = ast.get_docstring(init) is not None
    at = init.body[1 if told else 0].lineno - 1
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    values = "; ".join(f"self.{name} = {value}" for name, value in defaults.items())
    lines[at] = f"{indent}{values}; {lines[at].lstrip()}"
