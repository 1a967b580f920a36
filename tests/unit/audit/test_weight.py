"""What nobody waits for has a low weight, also where the kernel groups processes by session."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
SCRIPT = (
    "import os, pathlib; from audit.weight import lighten; lighten(); "
    f"path = pathlib.Path('{AUTOGROUP}'); "
    "print(os.nice(0), *(path.read_text().split()[-1:] if path.exists() else ()))"
)


@pytest.mark.parametrize("leads", [True, False])
def test_a_session_of_its_own_is_lowered_as_a_whole_and_nobody_elses(leads: bool) -> None:
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, start_new_session=leads,
        cwd=Path(__file__).parents[3],
    ).stdout.split()  # fmt: skip
    assert int(told[0]) == min(19, os.nice(0) + 10)
    if leads:
        assert told[1:] in ([], ["10"])
    else:  # empty in a session that was never made by setsid, such as that of a machine's first process
        assert told[1:] == (AUTOGROUP.read_text().split()[-1:] if AUTOGROUP.exists() else [])
