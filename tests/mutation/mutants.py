"""Small changes to a module's source, each of which a test should notice.

Changed: comparisons, arithmetic, `and`/`or`, `not`, numbers, texts, booleans, what is returned, which branch is taken,
and statements that act (calls, assignments to attributes and items, raises, deletions, jumps), which are removed.
Left alone: docstrings, annotations, imports, decorators, `__all__`, and the words of a raised error.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

MODULE = 0  # the "function" of what stands outside of every function

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LEFT_ALONE = frozenset({"annotation", "returns", "decorator_list", "type_comment"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node hangs, and in which function."""

    parent: ast.AST
    field: str
    index: int | None
    function: int
    name: str
    returns_bool: bool

    def put(self, node: ast.AST) -> None:
        """Hang `node` here."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change in one module."""

    module: ast.Module
    place: Place
    node: ast.AST
    replacement: ast.AST

    @property
    def line(self) -> int:
        """Where the change stands in the module's own text."""
        return getattr(self.node, "lineno", self.place.function)

    @property
    def change(self) -> str:
        """What stood there and what stands there now."""
        return f"{_short(self.node)} -> {_short(self.replacement)}"

    def source(self) -> str:
        """Return the text of the changed module."""
        with self._in_place():
            return ast.unparse(self.module)

    def code(self, filename: str) -> CodeType:
        """Return the changed module compiled; its functions stand on the lines of the original."""
        with self._in_place():
            return compile(self.module, filename, "exec")

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        """Hold the change in the tree; afterwards the tree is as it was."""
        self.place.put(self.replacement)
        ast.fix_missing_locations(self.module)
        try:
            yield
        finally:
            self.place.put(self.node)


def mutants(source: str) -> list[Mutant]:
    """Return every mutant of a module in the order of its text; raises SyntaxError for text that is no module."""
    module = ast.parse(source)
    places = list(_nodes(module, Place(module, "", None, MODULE, "(module)", returns_bool=False)))
    return [Mutant(module, place, node, other) for node, place in places for other in _replacements(node, place)]


def _nodes(parent: ast.AST, within: Place) -> Iterator[tuple[ast.AST, Place]]:
    """Walk what may be changed below `parent`."""
    for field, value in ast.iter_fields(parent):
        if field in LEFT_ALONE:
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or _is_left_alone(node, parent):
                continue
            place = Place(parent, field, index, within.function, within.name, within.returns_bool)
            yield node, place
            inner = place
            if isinstance(node, FUNCTIONS):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                returns_bool = isinstance(node.returns, ast.Name) and node.returns.id == "bool"
                inner = Place(parent, field, index, first, node.name, returns_bool)
            yield from _nodes(node, inner)


def _is_left_alone(node: ast.AST, parent: ast.AST) -> bool:
    """Whether nothing at or below the node changes."""
    match node:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.Expr(value=ast.Constant(value=str())):  # a docstring, also one below a constant
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call():  # the words of a raised error
            return isinstance(parent, ast.Raise)
        case ast.Assign(value=ast.Subscript()):  # a type's other name
            return isinstance(parent, ast.Module)
        case _:
            return False


def _replacements(node: ast.AST, place: Place) -> Iterator[ast.AST]:
    """Yield what may stand instead of the node."""
    if isinstance(node, ast.stmt):
        yield from _statements(node, place)
    match node:
        case ast.Constant(value=value):
            yield from _other_constants(value)
        case ast.Compare(left=left, ops=ops, comparators=right):
            for index, operator in enumerate(ops):
                yield ast.Compare(left, [*ops[:index], COMPARISONS[type(operator)](), *ops[index + 1 :]], right)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            yield ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.IfExp(test=test, body=body, orelse=orelse) if _worth_negating(test):
            yield ast.IfExp(_negated(test), body, orelse)
        case ast.comprehension(target=target, iter=source, ifs=[_, *rest], is_async=is_async):
            yield ast.comprehension(target, source, rest, is_async)


def _statements(node: ast.stmt, place: Place) -> Iterator[ast.stmt]:
    """Yield what may stand instead of a statement: the other branch, another answer, or nothing."""
    match node:
        case ast.If(test=test, body=body, orelse=orelse) if _worth_negating(test):
            yield ast.If(_negated(test), body, orelse)
        case ast.While(test=test, body=body, orelse=orelse) if _worth_negating(test):
            yield ast.While(_negated(test), body, orelse)
        case ast.Return(value=None):
            yield ast.Pass()
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(_negated(value) if place.returns_bool else ast.Constant(None))
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield ast.Pass()
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete() | ast.Continue() | ast.Break():
            yield ast.Pass()


def _other_constants(value: object) -> Iterator[ast.Constant]:
    match value:
        case bool():
            yield ast.Constant(not value)
        case int() | float():
            yield ast.Constant(value + 1)
        case str():
            yield ast.Constant(value + "~x")
        case bytes():
            yield ast.Constant(value + b"~x")


def _worth_negating(test: ast.expr) -> bool:
    """Whether negating says more than the changes of the test itself."""
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], ORDER)
    return not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)) and not isinstance(test, ast.Constant)


def _negated(test: ast.expr) -> ast.UnaryOp:
    return ast.UnaryOp(ast.Not(), test)


def _short(node: ast.AST) -> str:
    """One line that a person recognises."""
    if isinstance(node, ast.If | ast.While):
        return f"{type(node).__name__.lower()} {ast.unparse(node.test)}"
    if isinstance(node, ast.comprehension):
        return " if ".join(["for …", *(ast.unparse(test) for test in node.ifs)])
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:60]} … {text[-28:]}"
