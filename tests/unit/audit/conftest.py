"""An empty trail for each test that wants one."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.checkpoint import generate
from tests.support.trails import Trail


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """Journals, log and key in a temporary folder."""
    return Trail(tmp_path / "journal", tmp_path / "log", generate("log.example"))
