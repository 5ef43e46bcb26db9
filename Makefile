SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# tensorflow-recommenders needs Keras 2, and TensorFlow reads this once, when it is imported.
export TF_USE_LEGACY_KERAS := 1
export TF_CPP_MIN_LOG_LEVEL ?= 2

PYTHON := .venv/bin/python
ARGS ?=

.PHONY: help setup run test test-fast test-all lint format lock image image-check clean distclean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv, or bring it up to date
	@scripts/bootstrap.sh

run: setup ## Run the pipeline (ARGS="..." is passed on to `cabb run`)
	@.venv/bin/cabb run $(ARGS)

# A file's tests stay together, because importing TensorFlow is what costs. Files are taken in their order:
# xdist would leave those with few tests, which are the longest here, to the end.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

test: setup ## Run the tests on all cores (ARGS="..." is passed on to pytest)
	@$(PYTHON) -m pytest -m "not kubeflow" $(PARALLEL) $(ARGS)

test-fast: setup ## Run the tests that are not marked slow
	@$(PYTHON) -m pytest -m "not slow" $(PARALLEL) $(ARGS)

test-all: setup ## Run every test: every model kind through the compiled pipeline, too
	@$(PYTHON) -m pytest $(PARALLEL) $(ARGS)

lint: setup ## Check style and formatting
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

format: setup ## Format the code and repair what ruff can
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

lock: ## Compile the lock files from setup.py (ARGS="--upgrade" takes newer versions)
	@scripts/lock.sh $(ARGS)

# docker, podman or buildah: whatever builds a Dockerfile here.
ENGINE ?= docker
IMAGE ?= cabb

image: ## Build the image of the Kubeflow tasks (ENGINE=docker IMAGE=cabb)
	@$(ENGINE) build --file kubeflow/Dockerfile --tag $(IMAGE) .

image-check: ## Build the image's steps without a container engine and import its tasks (root, debootstrap)
	@python3 scripts/image_check.py $(ARGS)

clean: ## Remove caches and build products
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find . \( -name .git -o -name '.venv*' \) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## Remove .venv and .venv-tools as well
	@rm -rf .venv .venv-tools
