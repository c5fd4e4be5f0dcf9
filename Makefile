# The commands people type. Each says what it does with `make help`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WHEELS ?=
# With WHEELS=folder nothing is asked of the network: see `make wheels`.
FROM := $(if $(WHEELS),--no-index --find-links $(WHEELS))
SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
NEEDS_PYTHON = $(PYTHON) -c '$(SUPPORTED)' 2>/dev/null || { \
	echo "Manta needs Python 3.10 to 3.13, and $(PYTHON) is: $$($(PYTHON) --version 2>&1 | tail -1). Name another: make $(or $(firstword $(MAKECMDGOALS)),run) PYTHON=python3.12"; exit 1; }

.PHONY: help install run wheels usable test lint check fuzz format bench proto clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: usable $(VENV)/run.stamp ## Install what is needed and start everything
	@exec $(BIN)/manta run

install: usable $(VENV)/run.stamp ## Install what is needed to run, and start nothing

wheels: ## Fetch everything `make run` installs into WHEELS=folder, for a machine without internet
	@test -n "$(WHEELS)" || { echo "Say where to: make wheels WHEELS=wheels"; exit 1; }
	@$(NEEDS_PYTHON)
	@echo "Fetching into $(WHEELS) ..."
	@$(PYTHON) -m pip --disable-pip-version-check download -q -d $(WHEELS) -c constraints.txt '.[cpu]' 'setuptools>=77'
	@echo "Copy this directory to a machine with the same processor and Python, then: make run WHEELS=$(WHEELS)"

test: usable $(VENV)/dev.stamp ## Run every test that needs no accelerator
	$(BIN)/python -m pytest

lint: usable $(VENV)/dev.stamp ## Format, lint, types and import rules, and no tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## The same, then unit and contract tests
	$(BIN)/python -m pytest -q tests/unit tests/contract

fuzz: usable $(VENV)/dev.stamp ## Send 100,000 damaged requests over each door, and all that OpenAPI allows
	$(BIN)/python -m tests.faults.fuzz_http --requests 100000
	$(BIN)/python -m tests.faults.fuzz_grpc --requests 100000
	$(BIN)/python -m tests.faults.fuzz_openapi

format: usable $(VENV)/dev.stamp ## Format the sources and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: usable $(VENV)/dev.stamp ## Measure this machine and write benchmarks/RESULTS.md; ARGS=--help for parts
	$(BIN)/python -m benchmarks.run $(ARGS)

proto: usable $(VENV)/dev.stamp ## Make the gRPC messages anew from their definition
	$(BIN)/python -m tools.make_proto

clean: ## Remove the environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

# Before the stamps, which say nothing of the Python: it may have been another one when they were made,
# and after an upgrade of the system it is gone, or has none of the packages.
usable:
	@if test -d $(VENV) && ! $(BIN)/python -c 'import pip; $(SUPPORTED)' 2>/dev/null; then \
		echo "Removing $(VENV), which has no Python that Manta supports ..."; rm -rf $(VENV); fi

$(VENV)/run.stamp: pyproject.toml constraints.txt | usable
	@test -d $(VENV) || $(NEEDS_PYTHON)
	@test -d $(VENV) || { echo "Creating $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "Installing Manta with its CPU runtime (about a minute the first time) ..."
	@$(PIP) install -q $(FROM) -c constraints.txt -e '.[cpu]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	@echo "Installing what the tests need ..."
	@$(PIP) install -q -c constraints.txt -e '.[cpu,dev]'
	@touch $@
