"""The declarations of one module as Cython reads them: structures with their attributes, and what C may call."""

from __future__ import annotations

import ast

from scripts.compiling.program import Module, Program

_NOT_FOR_ARGUMENTS = {"double": "object", "bint": "object"}
"""An argument may be an `int` where a `float` is said, or anything that is true or false."""


def declarations(program: Program, name: str) -> str:
    """Return the text of a module's `.pxd` file."""
    module = program.modules[name]
    lines = _imported(program, module)
    lines += [f"cdef class {each.name}{_extends(program, module, each)}" for each in module.structures.values()]
    for each in module.structures.values():
        lines.append(f"cdef class {each.name}{_extends(program, module, each)}:")
        body = [f"cdef public {kind} {name}" for name, kind in program.attributes(module, each).items()]
        body += [_signature(program, module, node, method=True) for node in program.methods(module, each)]
        lines += [f"    {line}" for line in body or ["pass"]]
    lines += [_signature(program, module, node, method=False) for node in module.functions.values()]
    return "\n".join(lines) + "\n"


def _imported(program: Program, module: Module) -> list[str]:
    """Return what is taken from the declarations of other modules: all of theirs that the module imports by name."""
    found = []
    for local, (source, original) in module.imports.items():
        known = program.modules.get(source)
        if known is not None and (original in known.functions or program.structure(module, local) is not None):
            found.append(f"from {source} cimport {original}" + (f" as {local}" if local != original else ""))
    return found


def _extends(program: Program, module: Module, each: ast.ClassDef) -> str:
    bases = [ast.unparse(base) for base in each.bases]
    return "".join(f"({base})" for base in bases if program.structure(module, base) is not None)


def _signature(program: Program, module: Module, node: ast.FunctionDef, *, method: bool) -> str:
    arguments = node.args.args
    optional = len(arguments) - len(node.args.defaults)
    told = ["self"] if method else []
    for place, each in enumerate(arguments):
        if place or not method:
            kind = program.c_type(module, each.annotation)
            told.append(f"{_NOT_FOR_ARGUMENTS.get(kind, kind)} {each.arg}{'=*' if place >= optional else ''}")
    kind = program.c_type(module, node.returns)
    failing = " except -1" if kind == "bint" else ""  # what C sees where an exception was raised
    return f"cpdef {'object' if kind == 'double' else kind} {node.name}({', '.join(told)}){failing}"
