"""The house itself: sizes, docstrings, unfinished words, names, and what may import what."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "policies", "audit", "mdm_sim", "cli")
FIXED = {*PACKAGES, "tests", "pyproject.toml", "README.md"}
BESIDE = {
    "docs", "benchmarks", "examples", "scripts", "requirements", "packaging", ".ci", "Makefile", "LICENSE",
    "CHANGELOG.md", "SECURITY.md", "THREAT_MODEL.md", ".gitignore",
}  # fmt: skip
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
UNFINISHED = re.compile(
    r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|NotImplemented" r"Error|\bplace" r"holder(?! )\b", re.IGNORECASE
)
EMPTY_NAMES = re.compile(r"(utils?|helpers?|common|misc|managers?)\.py")
MACHINE_PATH = re.compile(r"/(?:work|root|home/[a-z]+)/[A-Za-z.]")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name]


FILES = [path for path in tracked() if path.is_file()]
SOURCES = [path for path in FILES if path.suffix == ".py"]


@dataclass(frozen=True)
class Source:
    """What the rules of the house look at in one module."""

    path: Path
    text: str
    docstring: str | None
    functions: list[ast.FunctionDef | ast.AsyncFunctionDef]
    handlers: list[ast.ExceptHandler]


@cache
def sources() -> list[Source]:
    """Every module, read and walked once for all tests."""
    found = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        nodes = list(ast.walk(tree))
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        handlers = [node for node in nodes if isinstance(node, ast.ExceptHandler)]
        found.append(Source(path.relative_to(ROOT), text, ast.get_docstring(tree), functions, handlers))
    return found


def test_top_level_names_are_the_designs() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in FILES}
    assert found - FIXED - BESIDE == set()
    assert FIXED - found == set()


def test_a_file_holds_one_idea() -> None:
    lengths = {str(each.path): each.text.count("\n") for each in sources()}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_functions_are_short() -> None:
    long = {
        f"{each.path}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for each in sources()
        for node in each.functions
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    }
    assert long == {}


def test_each_module_says_what_it_is() -> None:
    assert [str(each.path) for each in sources() if each.text.strip() and not each.docstring] == []


MAPS = sorted(path for path in SOURCES if path.name == "__init__.py" and path.relative_to(ROOT).parts[0] in PACKAGES)


def is_module(place: Path) -> bool:
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@pytest.mark.parametrize("path", MAPS, ids=lambda path: ".".join(path.relative_to(ROOT).parts[:-1]))
def test_each_package_is_a_map(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = set(re.findall(r"`([a-z0-9_]+(?:\.[a-z0-9_]+)*)`", ast.get_docstring(tree) or ""))
    inside = {each.stem for each in SOURCES if each.parent == path.parent} - {"__init__"}
    inside |= {each.parent.name for each in MAPS if each.parent.parent == path.parent}
    assert inside - named == set(), "modules that the map does not name"
    strays = {name for name in named if "." not in name and not is_module(path.parent / name)}
    strays |= {
        name for name in named if name.split(".")[0] in PACKAGES and not is_module(ROOT.joinpath(*name.split(".")))
    }
    assert strays - set(PACKAGES) == set(), "names on the map that nothing bears"
    assert any(isinstance(node, ast.AnnAssign | ast.Assign) and "__all__" in ast.unparse(node) for node in tree.body)


def test_names_say_something() -> None:
    assert [str(path) for path in SOURCES if EMPTY_NAMES.fullmatch(path.name)] == []


def test_test_files_have_different_names() -> None:
    names = [path.name for path in SOURCES if path.name.startswith("test_")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize("pattern", [UNFINISHED, MACHINE_PATH], ids=["unfinished words", "paths of one machine"])
def test_nothing_is_left_in_the_text(pattern: re.Pattern[str]) -> None:
    kinds = {".py", ".md", ".toml", ".yaml", ".html", ".css", ".js", ".txt", ".in", ""}
    found = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:80]}"
        for path in FILES
        if path.suffix in kinds and "corpora" not in path.parts and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_no_error_is_swallowed() -> None:
    swallowed = [
        f"{each.path}:{node.lineno}"
        for each in sources()
        for node in each.handlers
        if (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}))
        and all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body)
    ]
    assert swallowed == []


def test_locked_requirements_are_hashed_and_name_no_registry() -> None:
    for name in ("runtime.txt", "verify.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        entries = re.findall(r"^[a-z0-9].*(?:\n {4}.*)*", text, re.MULTILINE)
        assert len(entries) > 30
        assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
        assert re.search(r"://|^--|find-links|index-url", text, re.MULTILINE) is None


def test_locked_requirements_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["gateway"]]
    names = {re.split(r"[<>=\[]", line)[0].lower() for line in wanted}
    locked = set(
        re.findall(
            r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE
        )
    )
    assert names - locked == set()


def test_imports_keep_their_contracts() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:]


def test_package_names_belong_to_us_alone() -> None:
    owners = importlib.metadata.packages_distributions()
    assert {name: set(owners.get(name, ())) - {"sekisho"} for name in PACKAGES} == {name: set() for name in PACKAGES}
