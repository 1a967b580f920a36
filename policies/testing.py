"""Runs the tests that a policy file carries."""

from __future__ import annotations

from dataclasses import dataclass

from policies.compile import compile_policy
from policies.decision import Decision
from policies.model import PolicyIR, PolicyTest


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test and what came out of it."""

    __test__ = False  # pytest: a value, not a test case

    test: PolicyTest
    decision: Decision
    passed: bool

    @property
    def expected(self) -> str:
        """What the test states."""
        return " ".join(part for part in (self.test.effect.value, self.test.rule, self.test.reason) if part)

    @property
    def got(self) -> str:
        """What the policy answered."""
        decision = self.decision
        return " ".join(part for part in (decision.effect.value, decision.rule, decision.reason.value) if part)


def run_tests(ir: PolicyIR) -> list[TestResult]:
    """Decide every test's facts and compare; an expectation left out is not compared."""
    policy = compile_policy(ir)
    results: list[TestResult] = []
    for test in ir.tests:
        decision = policy.evaluate(dict(test.facts))
        passed = (
            decision.effect is test.effect
            and test.rule in ("", decision.rule)
            and test.reason in ("", decision.reason.value)
        )
        results.append(TestResult(test, decision, passed))
    return results
