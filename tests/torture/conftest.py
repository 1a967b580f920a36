"""Long runs: every fault at every call, floods, millions of records. `make torture` runs them, `make test` does not.

A file here is one part. It is collected only with `--torture`; its tests set their own time limit
(`pytest.mark.timeout`), say what they measured with the fixture `figure`, and show clauses whose `shown_by` is
"torture". A part that starts a whole installation is marked `pytest.mark.one_stack`. Tests elsewhere that have a longer
form ask the fixture `torture` (tests/conftest.py) and are named in the Makefile's target.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the folder out of every run that does not ask for it."""
    return None if config.getoption("--torture") or collection_path.name == Path(__file__).name else True
