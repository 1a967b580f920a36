"""A compiled copy is measured for the sources that it was made from, and for no others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.candidates import lacks_compiled
from scripts.compiling.freshness import PACKAGES, digests, outdated, stamp


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for package in (*PACKAGES, "scripts/compiling"):
        folder = tmp_path / "sources" / package
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "module.py").write_text("value = 1\n")
        (folder / "page.html").write_text("<p>\n")
    return tmp_path / "sources"


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    made = tmp_path / "compiled"
    made.mkdir()
    stamp(made, digests(root))
    return made


def test_what_does_not_change_what_runs_makes_no_copy_stale(root: Path, copy: Path) -> None:
    (root / "audit" / "__pycache__" / "module.cpython-311.pyc").write_bytes(b"x")
    later = time.time() + 100
    os.utime(root / "audit" / "module.py", (later, later))
    assert outdated(copy, root) == []
    assert lacks_compiled(copy, root) == ""


def test_every_change_of_what_a_copy_is_made_from_is_named(root: Path, copy: Path) -> None:
    changed = root / "gateway" / "module.py"
    before = changed.stat()
    changed.write_text("value = 2\n")
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))  # as `git checkout` of an older file may leave it
    (root / "cli" / "page.html").unlink()
    (root / "scripts" / "compiling" / "new.py").write_text("")
    (root / "policies" / "new.yaml").write_text("")
    assert outdated(copy, root) == [
        "cli/page.html", "gateway/module.py", "policies/new.yaml", "scripts/compiling/new.py",
    ]  # fmt: skip
    assert lacks_compiled(copy, root) == (
        "it was made from other sources (cli/page.html, gateway/module.py, policies/new.yaml and 1 more); "
        "`make compiled` makes it anew"
    )


@pytest.mark.parametrize("said", [None, "", "[1]", '{"audit/module.py": "0"}'])
def test_a_copy_that_does_not_say_what_it_is_made_from_is_stale(root: Path, copy: Path, said: str | None) -> None:
    (copy / "made-from.json").unlink()
    if said is not None:
        (copy / "made-from.json").write_text(said)
    assert outdated(copy, root) != []


def test_a_copy_for_another_python_is_stale(root: Path, copy: Path) -> None:
    stamp(copy, digests(root) | {"python": ".cpython-399-x86_64-linux-gnu.so"})
    assert outdated(copy, root) == ["python"]


def test_a_stale_copy_is_told_and_not_measured(
    root: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Path | None] = []

    async def rounds(count: int, seconds: float, copy: Path | None) -> list[run.Round]:
        given.append(copy)
        return [dict.fromkeys(("nginx", "written", "written, everything"), run.Cost(10.0, 100.0))]

    monkeypatch.setattr(run, "rounds", rounds)
    monkeypatch.setattr(run, "COMPILED", copy)
    monkeypatch.setattr(run, "lacks_compiled", lambda compiled: lacks_compiled(compiled, root))
    run.request_path(1, 1)
    assert "the compiled copy was not measured" not in capsys.readouterr().out
    (root / "audit" / "module.py").write_text("value = 2\n")
    run.request_path(1, 1)
    assert "the compiled copy was not measured: it was made from other sources (audit/module.py)" in (
        capsys.readouterr().out
    )
    assert given == [copy, None]


def test_without_a_copy_the_bench_says_how_to_make_one(root: Path, tmp_path: Path) -> None:
    assert lacks_compiled(tmp_path / "none", root) == "there is none in none; `make compiled` makes it"
