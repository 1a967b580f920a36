"""Both runs of the HTTP corpus: behind the real gate, and behind a judge that allows everything.

Behind the real gate nobody of the corpus is signed in: the app may see the good requests between the cases, and
nothing else. Behind the open judge everything that passes the parser reaches the app.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.state.changes import Change
from policies.compile import compile_policy
from tests.support.edge import Edge, hello, running
from tests.support.gate_world import HOST, SESSION, TOKEN, condition, policy, rule
from tests.support.http_corpus import VARIANTS, Case, cases
from tests.support.http_feeds import Split, feed
from tests.support.http_oracle import Result, Seen, check_case, statuses_of, strict_requests, undocumented, until
from tests.support.real_gate import RealGate, real_gate

SIGNED_IN: Final = f"GET /good HTTP/1.1\r\nHost: {HOST}\r\nCookie: __Host-sekisho-app={TOKEN}\r\n\r\n".encode()
_UNPARSED: Final = {400, 405, 408, 413, 414, 431, 501}
_SERVED: Final = [Seen(b"GET", b"/good", HOST.encode(), 0, True)]
_REFERENCE: Final = re.compile(rb"(?i)\r\nX-Sekisho-Request-Id: ([^\r\n]+)")
# How many well-formed messages reach the app behind the open judge, by whether a Host was added.
VALID_FORWARDED: Final = {False: 14, True: 66}


@dataclass(frozen=True)
class Plan:
    """In which feed which cases are sent: every n-th, of no more than so many bytes."""

    split: Split
    every: int = 1
    longest: int = 1 << 20

    def of(self, corpora: Path, variant: int) -> Iterator[Case]:
        """Yield the cases of one variant; over the variants every case has its turn."""
        host_added, after_good = VARIANTS[variant]
        for at, case in enumerate(cases(corpora, host_added=host_added, after_good=after_good)):
            if (at + variant) % self.every == 0 and len(case.raw) <= self.longest:
                yield case

    @property
    def is_whole(self) -> bool:
        """Whether it takes every case."""
        return self.every == 1 and self.longest >= 1 << 20


async def behind_open_judge(corpora: Path, plans: Mapping[str, Plan]) -> tuple[int, list[str]]:
    """Check the cases of the plans in each variant; return how many were sent and what went wrong."""
    wrong: list[str] = []
    sent = 0
    async with running(hello) as edge:
        for variant, (host_added, _) in enumerate(VARIANTS):
            before: dict[str, Result] = {}
            for name, plan in plans.items():
                forwarded = 0
                for case in plan.of(corpora, variant):
                    sent += 1
                    result, fault = await _checked(edge, case, plan.split, before)
                    wrong += [f"{case.label}, {name}: {fault}"] if fault else []
                    forwarded += case.expect == "valid" and result is not None and result.whole
                if plan.is_whole and forwarded != VALID_FORWARDED[host_added]:
                    wrong.append(f"{name}, variant {variant}: {forwarded} well-formed ones were forwarded")
    return sent, wrong


async def _checked(edge: Edge, case: Case, split: Split, before: dict[str, Result]) -> tuple[Result | None, str]:
    """Check one case; what became of it in another feed is in `before`."""
    try:
        result = await check_case(edge, case, split)
    except (AssertionError, TimeoutError) as error:
        return None, str(error) or type(error).__name__
    if before.setdefault(case.name, result) != result:
        return result, f"{result}, in another feed {before[case.name]}"
    return result, undocumented(edge) if case.expect == "valid" and not result.whole else ""


async def behind_real_gate(corpora: Path, folder: Path, plans: Mapping[str, Plan]) -> tuple[int, list[str]]:
    """Check the cases of the plans in each variant, with journals in `folder`; return as `behind_open_judge`."""
    wrong: list[str] = []
    sent = good = 0
    references: Counter[str] = Counter()
    async with real_gate(folder, hello, budget=10**6) as gate:
        allowed = compile_policy(policy(rule("docs", when=(condition("app", "any_of", "docs"),))))
        gate.world.view.set_policy(allowed, Change(1))
        for variant in range(len(VARIANTS)):
            for name, plan in plans.items():
                _renew_session(gate)
                for case in plan.of(corpora, variant):
                    sent += 1
                    good += 1 + case.after_good
                    try:
                        references.update(await _check_behind_real_gate(gate, case, plan.split))
                    except (AssertionError, TimeoutError) as error:
                        wrong.append(f"{case.label}, {name}: {str(error) or type(error).__name__}")
        await gate.kept()
        internal_errors = gate.gate.counters.internal_errors
        decided = [
            (writer, record["http.request.id"], record["sekisho.verdict"])
            for writer in ("worker-0", "worker-0.anonymous")
            for record in gate.records(writer)
            if record["event.action"] == "request.decided"
        ]
    refused = Counter(identity for _, identity, verdict in decided if verdict != "forward")
    if internal_errors:
        wrong.append(f"rule 3: {internal_errors} internal errors")
    if refused != references or max(references.values()) > 1:
        wrong.append(f"rule 6: {len(refused - references)} records without answer, {len(references - refused)} without")
    if (served := sum(verdict == "forward" for *_, verdict in decided)) != good:
        wrong.append(f"rule 1: {served} allow decisions, {good} requests at the app")
    return sent, wrong


def _renew_session(gate: RealGate) -> None:
    now = time.time()
    session = gate.world.view.sessions[SESSION.id]
    gate.world.put("session", SESSION.id, replace(session, expires_at=now + 3600, mfa_at=now))


async def _check_behind_real_gate(gate: RealGate, case: Case, split: Split) -> list[str]:
    """Check one case and a good request after it; return the references of its refusals."""
    gate.world.view.beat(time.time(), time.monotonic(), "", False)  # the run outlasts what one heartbeat is good for
    gate.pools.close()
    gate.app.streams.clear()
    answered = await feed(gate.port, split(case.stream(SIGNED_IN)))
    statuses = statuses_of(answered)
    if case.after_good:
        assert statuses[:1] == [200], "the good request before it was not served"
        del statuses[0]
    assert all(300 <= status < 600 and status != 500 for status in statuses), f"answered {statuses}"
    if _UNPARSED & set(statuses):
        last = answered[answered.rindex(b"HTTP/1.1 ") :].lower()
        assert b"connection: close" in last, "rule 5: goes on after a refusal"
    references = [each.decode() for each in _REFERENCE.findall(answered)]
    assert len(references) == len(statuses), "rule 6: a refusal without a reference"
    assert (await feed(gate.port, [SIGNED_IN])).startswith(b"HTTP/1.1 200 "), "rule 4"
    gate.pools.close()
    await until(lambda: all(stream.ended for stream in gate.app.streams))
    seen = [request for stream in gate.app.streams for request in strict_requests(stream.data)]
    assert seen == _SERVED * (1 + case.after_good), f"rule 1: the app saw {seen}"
    return references
