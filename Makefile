# SPDX-License-Identifier: Apache-2.0
# A fresh machine needs Python 3.11+ and make; everything else is set up below .venv on first use, from the pinned lock file.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .boot/bin/uv
STAMP := $(VENV)/.made-from-lock
TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-cluster check bench flink flink-down

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv from requirements.lock (the other targets do it by themselves)

# uv lives in an environment of its own: syncing .venv to the lock would otherwise remove it
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .boot
	.boot/bin/pip install --quiet --disable-pip-version-check uv

$(STAMP): requirements.lock pyproject.toml | $(UV)
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --no-deps --editable .
	@touch $@

demo: $(STAMP)  ## simulate a small study, load it, answer who responded (in ./demo)
	$(BIN)/vnsight demo

test: $(STAMP)  ## all tests that need no server
	$(BIN)/python -m pytest $(TESTS)

# pytest ends with 5 when it finds no test at all: that is a broken selection, not a pass
test-cluster: $(STAMP)  ## tests with servers of their own: Prefect server, worker and schedule
	@$(BIN)/python -m pytest -m cluster -n 0 $(TESTS) || { code=$$?; [ $$code -ne 5 ] || echo "no cluster test was found: nothing was tested"; exit $$code; }

check: $(STAMP)  ## linter and strict types
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)  ## measure against what one would pick instead (see bench/)
	$(BIN)/python -m bench.join
	$(BIN)/python -m bench.validation

flink: $(STAMP)  ## start Kafka and Flink on this machine (in ./.flink), without Docker
	$(BIN)/vnsight cluster up

flink-down: $(STAMP)  ## stop them
	$(BIN)/vnsight cluster down
