# Each target sets up what it needs: .venv from the locked requirements (a second run only compares a stamp).
SHELL := /bin/bash
PYTHON := .venv/bin/python
.PHONY: demo tour test torture fuzz bench check mutate compiled venv system

# The sample city in ./demo, until Ctrl-C; the next run resumes it.
demo: venv
	@.venv/bin/sekisho demo

# Every promise on the real parts, one line a step. Exit 0: all shown, 1: something does not hold, 3: something skipped.
tour: venv system
	@.venv/bin/sekisho tour

# Everything under tests/, answering for every promise clause that tests show. In CI a missing real part is a failure.
test: venv system
	$(PYTHON) -m pytest --whole --durations 40 -n 2 --dist loadfile $(TESTS)

# Long runs: every fault at every system call, floods, corpora in full. One part after another; a line a part at the end.
torture: venv system
	$(PYTHON) -m pytest --torture --whole $(or $(TORTURE),tests/torture tests/corpora tests/system/test_memory_bounds.py)

# Requests near the border, drawn anew for MINUTES (5) each: our reading against h11's and a real nginx's, whole and byte by byte.
fuzz: venv
	$(PYTHON) -m pytest --minutes $(or $(MINUTES),5) tests/fuzz

# What the gateway costs beside nginx and Go, in all its parts (BENCH=--list names them); fails where a bound does not hold.
bench: venv system
	$(PYTHON) -m benchmarks.run $(BENCH)

# What the unit tests notice of small changes to the gate, the policy engine and the journal; fails below 80 %.
mutate: venv
	$(PYTHON) -m tests.mutation.run $(MUTATE)

# A copy of the program with its request path compiled, in .cache/compiled; docs/operation.md says how and when to run it.
compiled: venv
	$(PYTHON) -m scripts.compiling .cache/compiled

# Style, types and import contracts.
check: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

venv:
	@scripts/venv

system:
	@scripts/system-packages || [ "$$CI" != true ]
