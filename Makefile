# Every target runs in .venv, which `setup` makes; nothing has to be activated.
PYTHON ?= python3
CONFIG ?= sam2.1_training/custom_finetune
GPUS ?= 1
ARGS ?=

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/setup.stamp
SOURCES := training tests benchmarks scripts

.DEFAULT_GOAL := help
.PHONY: help setup demo train test test-unit lint format bench docs lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1 \t/' | awk -F'\t' '{printf "  make %-12s%s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv from the lock files (does nothing when it is up to date)

$(STAMP): requirements.lock requirements-setup.lock scripts/setup_environment.py
	@$(PYTHON) scripts/setup_environment.py

demo: setup ## Train a small SAM 2 on generated clips and show what it learned (minutes on a CPU)
	@$(RUN) training/demo.py

train: setup ## Train: make train GPUS=2 CONFIG=sam2.1_training/custom_finetune ARGS="key=value ..."
	@$(RUN) training/train.py -c $(CONFIG) --num-gpus $(GPUS) $(ARGS)

test: lint ## Lint, then run all tests (a quarter of an hour on 2 cores)
	@$(RUN) -m pytest

test-unit: setup ## Run the fast tests only (a minute or two)
	@$(RUN) -m pytest -m "not gpu and not slow"

lint: setup ## Check style, formatting and types
	@$(VENV)/bin/ruff check $(SOURCES)
	@$(VENV)/bin/ruff format --check $(SOURCES)
	@$(VENV)/bin/mypy

format: setup ## Mend style and formatting where that can be done by machine
	@$(VENV)/bin/ruff check --fix $(SOURCES)
	@$(VENV)/bin/ruff format $(SOURCES)

bench: setup ## Time ours against SAM 2's own training code; rewrites the table in benchmarks/README.md
	@$(RUN) benchmarks/run.py

docs: setup ## Write docs/configuration.md from the configuration classes
	@$(RUN) scripts/document_config.py

lock: setup ## Lock the dependencies of pyproject.toml anew (newest versions: scripts/lock.sh --upgrade)
	@scripts/lock.sh

clean: ## Remove caches (not .venv, not runs)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	@find $(SOURCES) -type d -name __pycache__ -prune -exec rm -rf {} +
