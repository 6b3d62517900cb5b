# The two commands: `make serve` and `make test`. Two environments, so that serving provably needs no torch:
# .venv holds what serving needs, .venv-dev everything. A stamp in each says that its installation is complete.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# onnxruntime would report its use to its makers.
export ORT_DISABLE_TELEMETRY ?= 1

# The first interpreter that is new enough; `make PYTHON=…` names another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; done)

SERVING := .venv/.installed
EVERYTHING := .venv-dev/.installed
BIN := .venv-dev/bin
DESCRIPTION := pyproject.toml constraints.txt

# Makes the environment $(1) anew and installs this project with the extras $(2).
define environment
	@if [ -z "$(PYTHON)" ]; then \
		echo "unroll needs Python 3.11 or newer: install one, or name it with make PYTHON=…" >&2; exit 1; fi
	@echo "Installing $(1) with $$($(PYTHON) --version); this is done once."
	@rm -rf $(1)
	@$(PYTHON) -m venv $(1) || { \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu install python3-venv." >&2; exit 1; }
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".$(2)"
	@touch $(1)/.installed
endef

.PHONY: help install serve test check format bench

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

install: $(SERVING) $(EVERYTHING) ## Make both environments

serve: $(SERVING) ## Start the service on the bundled models
	@exec .venv/bin/python -m service

test: $(SERVING) $(EVERYTHING) ## Run the whole test suite
	$(BIN)/python -m pytest

check: $(EVERYTHING) ## Format, lint, types, import contracts, and advisories about what is used
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.audit

format: $(EVERYTHING) ## Format and repair what can be repaired
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(EVERYTHING) ## Print the benchmark tables; installs other servers into .bench
	$(BIN)/python -m benchmarks

$(SERVING): $(DESCRIPTION)
	$(call environment,.venv,)

$(EVERYTHING): $(DESCRIPTION)
	$(call environment,.venv-dev,[train$(comma)dev])

comma := ,
