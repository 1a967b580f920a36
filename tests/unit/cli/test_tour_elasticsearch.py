"""Where a part of Elasticsearch is absent the tour says which, shows the rest, and ends with its own status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.tour import elasticsearch, run
from cli.tour.stage import CannotShow


def program(folder: Path, name: str, text: str = "exit 0") -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no program but the test's, and no distribution yet; returns the programs' folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(elasticsearch, "DISTRIBUTION", tmp_path / "cache" / "elasticsearch")
    return folder


def test_a_missing_program_is_named(machine: Path) -> None:
    with pytest.raises(CannotShow, match="java is missing: scripts/system-packages"):
        elasticsearch.build(print)
    program(machine, "java")
    program(machine, "javac")
    program(machine, "jar")
    with pytest.raises(CannotShow, match="mvn is missing"):
        elasticsearch.build(print)


def test_what_stands_is_not_laid_out_again(machine: Path) -> None:
    program(machine, "java")
    elasticsearch.DISTRIBUTION.mkdir(parents=True)
    (elasticsearch.DISTRIBUTION / "complete").touch()
    said: list[str] = []
    elasticsearch.build(said.append)
    assert said == []


def test_parts_that_cannot_be_fetched_are_told_and_nothing_counts_as_whole(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "build.sh").write_text("echo no route to the archive >&2\nexit 1\n")
    monkeypatch.setattr(elasticsearch, "SCRIPTS", scripts)
    for name in ("java", "javac", "jar", "mvn", "unzip"):
        program(machine, name)
    said: list[str] = []
    with pytest.raises(CannotShow, match="no route to the archive"):
        elasticsearch.build(said.append)
    assert len(said) >= 1  # a person sees that it goes on
    assert not (elasticsearch.DISTRIBUTION / "complete").exists()


def test_steps_without_the_node_are_skipped_with_the_reason_and_the_tour_ends_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def stage(folder: Path, now: float) -> Iterator[Any]:
        yield SimpleNamespace(city=SimpleNamespace(device=str), chromium=None, node=None, no_node="java is missing")

    @asynccontextmanager
    async def no_browser(*_: object) -> AsyncIterator[None]:
        raise CannotShow("no browser")
        yield

    monkeypatch.setattr(run, "_stage", stage)
    monkeypatch.setattr(run, "chromium", no_browser)
    monkeypatch.setattr(run, "STEPS", tuple(step for step in run.STEPS if step.name.startswith("es-")))
    assert run.give(0.0) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "SKIPPED" in line] == [
        f"SKIPPED: {name}: java is missing" for name in ("es-prepared", "es-restarts", "es-kills", "es-tampered")
    ]
