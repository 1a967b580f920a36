"""The public HTTP corpus in its long form: every case in every feed and variant, more random cuts, both runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from tests.support.http_feeds import FEEDS, at_random
from tests.support.http_runs import Plan, behind_open_judge, behind_real_gate

SEEDS = range(2, 6)
PLANS = {name: Plan(split) for name, split in FEEDS.items()}
PLANS |= {f"at random, seed {seed}": Plan(at_random(seed)) for seed in SEEDS}


@pytest.mark.timeout(1800)
def test_the_whole_corpus_behind_the_open_judge(corpora: Path, figure: Callable[[str], None]) -> None:
    """Whatever passes the parser reaches the app as judged, in every feed alike; of the rest no byte does."""
    sent, wrong = uvloop.run(behind_open_judge(corpora, PLANS))
    figure(f"{sent:,} messages behind the open judge, {len(PLANS)} feeds: {len(wrong)} violations of the six rules")
    assert wrong == []


@pytest.mark.timeout(1800)
def test_the_whole_corpus_behind_the_real_gate(corpora: Path, tmp_path: Path, figure: Callable[[str], None]) -> None:
    """No case reaches an app; each refusal has exactly one record."""
    sent, wrong = uvloop.run(behind_real_gate(corpora, tmp_path, PLANS))
    figure(f"{sent:,} messages behind the real gate, {len(PLANS)} feeds: {len(wrong)} violations of the six rules")
    assert wrong == []
