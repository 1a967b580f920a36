"""What the sources of the compiled modules say: classes that can be C structures, and what annotations mean in C.

A class becomes a structure if it has no base but such classes (and those that only promise methods), no metaclass and
no decorator. Of the types of C only those are used that hold whatever the Python program may put there: `str` is none,
for a reason is an enumeration's member, `int` is none, for numbers have no bound.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeGuard

from scripts.compiling.modules import LOOSE

PROMISING: Final = frozenset({"asyncio.Protocol", "asyncio.BufferedProtocol", "ABC"})
"""Bases that a structure does without: uvloop asks for methods, not for a class."""
_EXACT: Final = frozenset({"bytes", "dict", "list", "set"})
_OBJECT: Final = "object"


@dataclass
class Module:
    """One module that is compiled."""

    name: str
    text: str
    tree: ast.Module
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # local name → module and name there
    structures: dict[str, ast.ClassDef] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)  # that C may call
    unpacked: frozenset[str] = frozenset()  # methods that are called with unpacked arguments

    @classmethod
    def read(cls, root: Path, name: str) -> Module:
        """Parse `name` under `root`."""
        text = (root / (name.replace(".", "/") + ".py")).read_text(encoding="utf-8")
        found = cls(name, text, ast.parse(text))
        for node in ast.walk(found.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                found.imports |= {each.asname or each.name: (node.module, each.name) for each in node.names}
        found.unpacked = _unpacked(found.tree)
        return found

    def uses(self, other: str) -> bool:
        """Whether it imports anything from the module of that name."""
        return any(other in {source, f"{source}.{name}"} for source, name in self.imports.values())

    @property
    def classes(self) -> list[ast.ClassDef]:
        """Its classes, in order."""
        return [node for node in self.tree.body if isinstance(node, ast.ClassDef)]


class Program:
    """All modules that are compiled together."""

    def __init__(self, root: Path, names: tuple[str, ...]) -> None:
        self.modules = {name: Module.read(root, name) for name in names}
        found = True
        while found:  # until no class has a base that became one
            found = False
            for module in self.modules.values():
                for each in module.classes:
                    if each.name not in module.structures and self._fits(module, each):
                        module.structures[each.name] = each
                        found = True
        for module in self.modules.values():
            # Cython takes a method for the function of its module that has the same name.
            methods = {node.name for each in module.structures.values() for node in each.body if _is_function(node)}
            for node in module.tree.body:
                if _is_function(node) and _callable_from_c(node) and node.name not in methods:
                    module.functions[node.name] = node

    def _fits(self, module: Module, each: ast.ClassDef) -> bool:
        if each.keywords or each.decorator_list:
            return False
        bases = [ast.unparse(base) for base in each.bases]
        return all(base in PROMISING or self.structure(module, base) is not None for base in bases)

    def structure(self, module: Module, name: str) -> tuple[str, str] | None:
        """Return module and name of the structure that `module` knows by `name`, None where it is none."""
        if (module.name, name) in LOOSE:
            return None
        if name in module.structures:
            return module.name, name
        source, original = module.imports.get(name, ("", ""))
        known = self.modules.get(source)
        return (source, original) if known is not None and original in known.structures else None

    def methods(self, module: Module, each: ast.ClassDef) -> list[ast.FunctionDef]:
        """Return the methods of a structure that C can call.

        Not those whose arguments are unpacked in a call: for it Cython 3.3 takes a pointer that nothing has set.
        """
        users = [other for other in self.modules.values() if other is module or other.uses(module.name)]
        unpacked = set[str]().union(*(other.unpacked for other in users))
        functions = [node for node in each.body if _is_function(node) and _callable_from_c(node)]
        return [node for node in functions if node.name not in unpacked]

    def base(self, module: Module, each: ast.ClassDef) -> tuple[str, str] | None:
        """Return the structure that `each` extends, None where it extends none."""
        return next(filter(None, (self.structure(module, ast.unparse(base)) for base in each.bases)), None)

    def c_type(self, module: Module, annotation: ast.expr | None) -> str:
        """Return what an annotation in `module` means in C."""
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = ast.parse(annotation.value, mode="eval").body
        optional = isinstance(annotation, ast.BinOp)
        if isinstance(annotation, ast.BinOp):
            sides = [side for side in (annotation.left, annotation.right) if ast.unparse(side) != "None"]
            if len(sides) != 1:
                return _OBJECT
            annotation = sides[0]
        if annotation is None:
            return _OBJECT
        name = ast.unparse(annotation.value if isinstance(annotation, ast.Subscript) else annotation)
        if name in {"float", "bool"} and not optional:
            return "double" if name == "float" else "bint"
        return name if name in _EXACT or self.structure(module, name) is not None else _OBJECT

    def attributes(self, module: Module, each: ast.ClassDef) -> dict[str, str]:
        """Return the attributes of a structure, its base's left out, with their types in C."""
        inherited: set[str] = set()
        base = self.base(module, each)
        while base is not None:
            parent = self.modules[base[0]]
            node = parent.structures[base[1]]
            inherited |= self.attributes(parent, node).keys()
            base = self.base(parent, node)
        inherited |= {node.name for node in each.body if _is_function(node)}
        told = _declared(each) | {name: note for name, note in self._assigned(module, each).items() if note is not None}
        names = [*_declared(each), *self._assigned(module, each)]
        return {name: self.c_type(module, told.get(name)) for name in dict.fromkeys(names) if name not in inherited}

    def _assigned(self, module: Module, each: ast.ClassDef) -> dict[str, ast.expr | None]:
        """Return what methods assign to `self`, with the annotation that it has or that follows from the value."""
        found: dict[str, ast.expr | None] = {}
        for method in each.body:
            if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            arguments = {one.arg: one.annotation for one in (*method.args.args, *method.args.kwonlyargs)}
            for node in ast.walk(method):
                if isinstance(node, ast.AnnAssign) and (name := _own(node.target)):
                    found[name] = node.annotation
                elif isinstance(node, ast.Assign):
                    for target in node.targets:
                        whole = not isinstance(target, ast.Tuple)
                        for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                            if (name := _own(part)) and found.get(name) is None:
                                found[name] = self._of_value(module, node.value, arguments) if whole else None
        return found

    def _of_value(
        self, module: Module, value: ast.expr, arguments: dict[str, ast.expr | None]
    ) -> ast.expr | None:  # fmt: skip
        if isinstance(value, ast.Name):
            return arguments.get(value.id)
        if isinstance(value, ast.Constant) and isinstance(value.value, bool | bytes):
            return ast.Name(type(value.value).__name__)
        if isinstance(value, ast.Call) and self.structure(module, ast.unparse(value.func)) is not None:
            return value.func
        return None


def _callable_from_c(node: ast.FunctionDef) -> bool:
    """Whether C can call a function directly: no decorators, no closures, and arguments by name alone."""
    arguments = node.args
    if node.decorator_list or arguments.kwonlyargs or arguments.vararg or arguments.kwarg or node.name[:2] == "__":
        return False
    closures = ast.FunctionDef | ast.Lambda | ast.GeneratorExp | ast.Yield | ast.YieldFrom
    return not any(isinstance(each, closures) for each in ast.walk(node) if each is not node)


def _unpacked(tree: ast.AST) -> frozenset[str]:
    """Return the names of the methods that are called with arguments unpacked there."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return frozenset(
        each.func.attr
        for each in calls
        if isinstance(each.func, ast.Attribute)
        and (any(isinstance(one, ast.Starred) for one in each.args) or any(one.arg is None for one in each.keywords))
    )


def _is_function(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef)


def _own(node: ast.expr) -> str:
    """Return the name of an attribute of `self`, "" for anything else."""
    return node.attr if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self" else ""


def _declared(each: ast.ClassDef) -> dict[str, ast.expr]:
    """Return what a class's body declares: slots, annotations, and defaults where it has no slots."""
    found: dict[str, ast.expr] = {}
    slotted = any("__slots__" in ast.unparse(node) for node in each.body if isinstance(node, ast.Assign))
    for node in each.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name == "__slots__":
                listed = ast.literal_eval(node.value)
                found |= {slot: ast.Name("object") for slot in listed if slot not in found}
            elif not slotted:
                told = isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool)
                found[name] = ast.Name("bool" if told else "object")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node.annotation
    return found
