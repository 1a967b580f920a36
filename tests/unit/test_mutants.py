"""The small changes of `make mutate`: which ones are made of a piece of code, and that each is one module again."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation.mutants import MODULE, mutants
from tests.mutation.run import PACKAGES, ROOT


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("a < b", ["a < b -> pass", "a < b -> a <= b"]),
        ("x = a == b", ["a == b -> a != b"]),
        ("x = a is not b", ["a is not b -> a is b"]),
        ("x = a in b", ["a in b -> a not in b"]),
        ("x = a <= b < c", ["a <= b < c -> a < b < c", "a <= b < c -> a <= b <= c"]),
        ("x = a + b", ["a + b -> a - b"]),
        ("x = a and b", ["a and b -> a or b"]),
        ("x = not a", ["not a -> a"]),
        ("x = 5, 1.5", ["5 -> 6", "1.5 -> 2.5"]),
        ("x = True, 'a', b'a', None", ["True -> False", "'a' -> 'a~x'", "b'a' -> b'a~x'"]),
        ("x = b if a else c", ["b if a else c -> b if not a else c"]),
        ("x = [a for a in b if a]", ["for … if a -> for …"]),
        ("if a: x = b", ["if a -> if not a"]),
        ("if not a: x = b", ["not a -> a"]),
        ("if a == b: x = b", ["a == b -> a != b"]),
        ("if a < b: x = b", ["if a < b -> if not a < b", "a < b -> a <= b"]),
        ("while a: break", ["while a -> while not a", "break -> pass"]),
        ("x.y = a", ["x.y = a -> pass"]),
        ("x[a] = b", ["x[a] = b -> pass"]),
        ("x += a", ["x += a -> pass"]),
        ("del x", ["del x -> pass"]),
        ("raise E('words', 1)", ["raise E('words', 1) -> pass"]),
        ("def f():\n    'doc'\n    return a", ["return a -> return None"]),
        ("def f() -> bool:\n    return a", ["return a -> return not a"]),
        ("def f():\n    return", ["return -> pass"]),
    ],
)
def test_what_is_changed(source: str, changes: list[str]) -> None:
    assert [mutant.change for mutant in mutants(source)] == changes


def test_what_stays_as_it_is() -> None:
    source = (
        "'''d'''\nimport a\n__all__ = ['b']\nx: 'T' = y\n"
        "@c(1)\ndef f(a: 'T' = d) -> 'R':\n    '''d'''\n    raise E('w', 1)\n"
    )
    assert [mutant.change for mutant in mutants(source)] == ["raise E('w', 1) -> pass"]


def test_a_mutant_knows_its_place_and_leaves_no_trace() -> None:
    source = "a = 1\n\n@d\ndef f():\n    def g():\n        return 2 + 3\n    return g\n"
    found = mutants(source)
    places = [(mutant.line, mutant.place.function, mutant.place.name) for mutant in found]
    assert places == [
        (1, MODULE, "(module)"), (6, 5, "g"), (6, 5, "g"), (6, 5, "g"), (6, 5, "g"), (7, 3, "f"),
    ]  # fmt: skip
    texts = {mutant.source() for mutant in found}
    assert len(texts) == len(found)
    assert ast.unparse(ast.parse(source)) not in texts
    assert ast.unparse(found[0].module) == ast.unparse(ast.parse(source))
    inner = next(code for code in found[1].code("x.py").co_consts if hasattr(code, "co_firstlineno"))
    assert (inner.co_firstlineno, inner.co_filename) == (3, "x.py")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_there(package: str) -> None:
    files = [path for pattern in PACKAGES[package] for path in ROOT.glob(pattern)]
    assert len(files) >= len(PACKAGES[package])
    smallest = min((path for path in files if path.stat().st_size > 1000), key=lambda path: path.stat().st_size)
    for mutant in mutants(Path(smallest).read_text(encoding="utf-8"))[:20]:
        compile(mutant.source(), "x", "exec")
