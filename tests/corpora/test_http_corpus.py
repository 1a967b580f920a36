"""The public HTTP corpus (shared/corpora): both runs, all six oracle rules, four feeds, four variants.

Here every feed but the slowest takes every case behind the open judge; `make torture` takes everything everywhere.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from gateway.edge.services import EdgeTimeouts
from tests.support.edge import hello, running
from tests.support.http_corpus import cases
from tests.support.http_feeds import at_crlf, at_random, by_byte, feed, whole
from tests.support.http_oracle import check_case
from tests.support.http_runs import Plan, behind_open_judge, behind_real_gate


@pytest.mark.promise("P2.judged-is-what-the-app-sees")
def test_every_case_in_every_feed(corpora: Path) -> None:
    """All six rules hold, what becomes of a case does not depend on the feed, the number passed on is pinned."""
    slow = Plan(by_byte, every=4, longest=2048)
    plans = {"whole": Plan(whole), "at CRLF": Plan(at_crlf), "at random": Plan(at_random(1)), "by byte": slow}
    sent, wrong = uvloop.run(behind_open_judge(corpora, plans))
    assert wrong == []
    assert sent > 7000


@pytest.mark.promise("P1.corpus-reaches-no-app")
def test_no_case_reaches_an_app_through_the_real_gate(corpora: Path, tmp_path: Path) -> None:
    """Nobody of the corpus is signed in: the app sees the good requests around it only, each refusal has its record."""
    plans = {
        "whole": Plan(whole),
        "at CRLF": Plan(at_crlf, every=8),
        "at random": Plan(at_random(2), every=8),
        "by byte": Plan(by_byte, every=8, longest=2048),
    }
    sent, wrong = uvloop.run(behind_real_gate(corpora, tmp_path, plans))
    assert wrong == []
    assert sent > 3000


def test_a_refused_message_ends_its_connection(corpora: Path) -> None:
    """Rule 5 where the client keeps its end open: the gateway ends the connection by itself, at once."""

    async def main() -> tuple[int, list[str]]:
        ended, open_still = 0, []
        async with running(hello, timeouts=EdgeTimeouts(header=60.0, body_idle=60.0)) as edge:
            for case in cases(corpora, host_added=True, after_good=False):
                result = await check_case(edge, case, whole)
                details = [fault.detail for fault in edge.gatekeeper.rejected]
                details += [outcome.detail for _, outcome in edge.gatekeeper.outcomes]
                if not any(400 <= status < 500 for status in result.statuses):
                    continue
                if any("connection ended within" in detail for detail in details):
                    continue  # only its end made it a fault
                try:
                    await feed(edge.port, [case.stream()], half_close=False, wait=20.0)
                    ended += 1
                except TimeoutError:
                    open_still.append(case.label)
        return ended, open_still

    ended, open_still = uvloop.run(main())
    assert open_still == []
    assert ended > 200
