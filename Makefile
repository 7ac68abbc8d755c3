# Every target runs in .venv, which `setup` makes; nothing has to be activated.
PYTHON ?= python3
CONFIG ?= sam2.1_training/custom_finetune
GPUS ?=
ARGS ?=
TEST_PROCESSES ?= 2
MODULE ?= core/cadence.py

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/setup.stamp
SOURCES := training tests benchmarks scripts setup.py
SHELL_SCRIPTS := run_training_docker.sh .ci/run checkpoints/download.sh tests/container/make_base.sh \
  $(wildcard scripts/*.sh scripts/launcher/*.sh)

# A verb of sam2-training, in the container where docker is. The values are handed on in the environment: in a command
# the shell would evaluate them.
IN_CONTAINER := scripts/launcher/run.sh
train evaluate predict export: export GPUS := $(GPUS)
train evaluate predict export: export CONFIG := $(CONFIG)
train evaluate predict export: export ARGS := $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup demo train evaluate predict export image shell tensorboard image-reproducible test test-unit test-container mutants lint format bench docs lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1 \t/' | awk -F'\t' '{printf "  make %-12s%s\n", $$1, $$2}'

setup: $(STAMP) ## Make .venv from the lock files (does nothing when it is up to date)

$(STAMP): requirements-dev.lock requirements-setup.lock scripts/setup_environment.py pyproject.toml setup.py
	@$(PYTHON) scripts/setup_environment.py

demo: setup ## Train a small SAM 2 on generated clips and show what it learned (minutes on a CPU)
	@$(RUN) training/run.py demo $(ARGS)

train: ## Train: make train GPUS=2 CONFIG=... ARGS="key=value ..." (in the container where docker is, else here)
	@$(IN_CONTAINER) $@

evaluate: ## Score weights: make evaluate ARGS="--checkpoint FILE --baseline FILE" (in the container where docker is)
	@$(IN_CONTAINER) $@

predict: ## Track objects: make predict ARGS="INPUT --checkpoint FILE --mask FILE --output DIR" (likewise)
	@$(IN_CONTAINER) $@

export: ## Write slim weights: make export ARGS="--checkpoint FILE --output FILE --safetensors" (likewise)
	@$(IN_CONTAINER) $@

image: ## Build the container's image (add --no-cache and the like with BUILD_ARGS=...)
	@scripts/build_image.sh $(BUILD_ARGS)

shell: ## Open a shell in the container
	@./run_training_docker.sh --shell

tensorboard: ## Show the curves of all runs at http://127.0.0.1:6006 (in the container where docker is, else here)
	@scripts/launcher/tensorboard.sh

image-reproducible: ## Build the image twice without cache and compare every layer
	@scripts/image_reproducible.sh

test-container: setup ## Test the container with the docker engine of this machine (skipped where there is none)
	@$(RUN) -m pytest tests/container

test: lint ## Lint, then run all tests, in TEST_PROCESSES processes (twenty minutes on 2 cores)
	@$(RUN) -m pytest -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder

test-unit: setup ## Run the fast tests only (a minute or two)
	@$(RUN) -m pytest -m "not gpu and not slow"

mutants: setup ## Change one expression of MODULE=core/cadence.py (or a folder) at a time; show what its tests miss
	@$(RUN) scripts/mutants.py $(MODULE) $(ARGS)

lint: setup ## Check style, formatting and types
	@$(VENV)/bin/ruff check $(SOURCES)
	@$(VENV)/bin/ruff format --check $(SOURCES)
	@$(VENV)/bin/mypy
	@if command -v shellcheck >/dev/null; then shellcheck -x $(SHELL_SCRIPTS); else echo "shellcheck is not installed: scripts unchecked"; fi

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
