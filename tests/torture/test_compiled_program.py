"""The compiled copy of the program is held to the same tests as the sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.compiling.modules import HOT
from tests.support.compiled_program import compiled, origins, run_against

PARTS = ("tests/unit/edge", "tests/unit/gate", "tests/unit/audit", "tests/corpora")


@pytest.mark.timeout(1800)
def test_the_compiled_copy_passes_the_tests_of_its_parts(tmp_path: Path) -> None:
    program = compiled(tmp_path, HOT)
    taken = origins(program, HOT)
    assert len(taken) == len(HOT)
    assert [path for path in taken if not path.startswith(str(program)) or not path.endswith(".so")] == []
    done = run_against(program, *PARTS, seconds=1500)
    assert done.returncode == 0, done.stdout[-6000:]
