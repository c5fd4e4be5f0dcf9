# The commands people type. Each says what it does with `make help`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help run test check fuzz format bench proto clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/run.stamp ## Install what is needed and start everything
	@$(BIN)/manta validate --ports
	@echo "Starting Ray and $$(grep -c '^  - name:' serve_config.yaml) applications; this takes about 20 seconds ..."
	@PATH="$(CURDIR)/$(BIN):$$PATH" RAY_worker_niceness=$${RAY_worker_niceness:-0} exec $(BIN)/serve run serve_config.yaml

test: $(VENV)/dev.stamp ## Run every test that needs no accelerator
	$(BIN)/python -m pytest

check: $(VENV)/dev.stamp ## Format, lint, types, import rules, unit and contract tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit tests/contract

fuzz: $(VENV)/dev.stamp ## Send 100,000 damaged requests over each door, and all that OpenAPI allows
	$(BIN)/python -m tests.faults.fuzz_http --requests 100000
	$(BIN)/python -m tests.faults.fuzz_grpc --requests 100000
	$(BIN)/python -m tests.faults.fuzz_openapi

format: $(VENV)/dev.stamp ## Format the sources and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev.stamp ## Measure this machine and write benchmarks/RESULTS.md; ARGS=--help for parts
	$(BIN)/python -m benchmarks.run $(ARGS)

proto: $(VENV)/dev.stamp ## Make the gRPC messages anew from their definition
	$(BIN)/python -m tools.make_proto

clean: ## Remove the environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

$(VENV)/run.stamp: pyproject.toml constraints.txt
	@test -d $(VENV) || { echo "Creating $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "Installing Manta with its CPU runtime (about a minute the first time) ..."
	@$(PIP) install -q -c constraints.txt -e '.[cpu]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	@echo "Installing what the tests need ..."
	@$(PIP) install -q -c constraints.txt -e '.[cpu,dev]'
	@touch $@
