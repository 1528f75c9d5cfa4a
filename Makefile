# Everything starts here: make help. Needs python3.11, git and make; the rest is installed into .venv.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed
PROFILE ?=
PYTEST_ARGS ?=

export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := true
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: help install repro test test-all crash lint types lock-check ci pin flow lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(STAMP) ## set up .venv with the locked packages

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not on the PATH; install Python 3.11, or say where it is: make install PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

repro: install ## votes to a released checkpoint: dvc repro (PROFILE=world, avt, qwen2.5-vl-7b)
	@$(BIN)/python -m stages.repro $(PROFILE)

# A worker that dies fails the run: xdist, told to start another, can wait for ever for the tests that the dead one had left.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

test: install ## the tests, without the slow ones
	@$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-all: install ## every test
	@$(PYTEST)

crash: install ## SIGKILL at random moments, run again, compare: a quarter of an hour (KILLS=100 SEED=0)
	@$(BIN)/python -m tests.crash.sweep --kills $(or $(KILLS),100) --seed $(or $(SEED),0)

lint: install ## ruff: lint and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: install ## mypy, strict
	@$(BIN)/mypy

lock-check: install ## does dvc.lock match dvc.yaml, params.yaml and the code
	@$(BIN)/python -m stages.check_lock

ci: ## what CI runs
	@bash .ci/run

pin: install ## keep what the last run put in a split there for ever: splits.lock
	@$(BIN)/python -m suasion.votes.pin

flow: install ## the same stages as a Prefect flow with retries, on an embedded server
	@$(BIN)/python -m flows.pipeline

lock: ## resolve requirements.in anew into requirements.lock
	@rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet -r requirements.in setuptools
	@.venv-lock/bin/python -m pip freeze --all --exclude pip > requirements.lock && rm -rf .venv-lock

clean: ## remove the environment and what interrupted runs left; data, cache and releases stay
	@rm -rf $(VENV) .checkpoints .prefect .pytest_cache .mypy_cache .ruff_cache
