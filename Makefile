# Each target sets up what it needs: .venv from the locked requirements (a second run only compares a stamp).
SHELL := /bin/bash
PYTHON := .venv/bin/python
.PHONY: test check venv system

# Everything under tests/, answering for every promise clause that tests show. In CI a missing real part is a failure.
test: venv system
	$(PYTHON) -m pytest --whole $(TESTS)

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
