# Everything here works on a fresh machine with Python, make and git. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PY ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Everything that is installed, in one place: the versions come from constraints.txt, also those of the build.
INSTALL := $(PIP) install --quiet --constraint constraints.txt
SPEC := pyproject.toml constraints.txt

# Pyright runs as pinned, with the Node of its wheel, and asks nobody for a newer version of itself.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PYRIGHT_PYTHON_GLOBAL_NODE := 0

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|' 2>/dev/null \
	    || grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST)

# ---------------------------------------------------------------------------------------------------------- set-up
# Two stamps: who only wants to see it run does not wait for the tools of those who change it.

$(VENV)/pip.stamp:
	@command -v "$(PY)" >/dev/null 2>&1 \
	    || { echo "fsmcollect needs Python 3.11 or later; '$(PY)' was not found. Name one: make PY=python3.12 ..." >&2; exit 1; }
	@"$(PY)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "fsmcollect needs Python 3.11 or later; '$(PY)' is $$("$(PY)" -V). Name another: make PY=python3.12 ..." >&2; exit 1; }
	@echo "setting up $(VENV) with $$("$(PY)" -V)"
	@"$(BIN)/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || "$(PY)" -m venv --clear "$(VENV)"
	@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(BIN)/python" -m ensurepip --upgrade >/dev/null
	@$(INSTALL) --upgrade pip
	@touch $@

$(VENV)/run.stamp: $(VENV)/pip.stamp $(SPEC)
	@$(INSTALL) --build-constraint constraints.txt --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	@$(INSTALL) --group dev
	@touch $@

# The tests fetch from a real nginx and with a real curl, which are no Python packages: Debian's where they are missing.
$(VENV)/servers.stamp: $(VENV)/pip.stamp
	@PATH="$$PATH:/usr/sbin"; command -v nginx >/dev/null && command -v curl >/dev/null \
	    || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	        && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light curl >/dev/null; } \
	    || { echo "the tests need nginx and curl: install them (Debian: apt-get install nginx-light curl)" >&2; exit 1; }
	@touch $@

.PHONY: setup
setup: $(VENV)/dev.stamp $(VENV)/servers.stamp ## make .venv with all that development needs

# -------------------------------------------------------------------------------------------------------------- use

.PHONY: demo
demo: $(VENV)/run.stamp ## collect the bundled example on the simulated beamline, into demo/
	@rm -rf demo
	@$(BIN)/fsmcollect simulate --out demo

.PHONY: bench
bench: $(VENV)/dev.stamp ## measure every promised figure (minutes)
	@$(BIN)/python -m benchmarks

# ------------------------------------------------------------------------------------------------------------ checks

.PHONY: test
test: $(VENV)/dev.stamp $(VENV)/servers.stamp ## run the tests on every core, with branch coverage
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal --cov --cov-report=term

# Another version of Python, for the proof that the same seed is the same run: the first of these that there is and that
# is not the version of .venv. `make prove PY_OTHER=/path/to/python3.12` names one.
PY_OTHER ?= python3.13 python3.11
OTHER := .venv-other
VERSION_OF := -c 'import sys; print(*sys.version_info[:2])'

$(OTHER)/other.stamp: $(VENV)/pip.stamp $(SPEC)
	@rm -rf $(OTHER); here=$$("$(BIN)/python" $(VERSION_OF)); \
	for python in $(PY_OTHER); do \
	    there=$$("$$python" $(VERSION_OF) 2>/dev/null) || continue; \
	    if [ "$$there" = "$$here" ]; then continue; fi; \
	    echo "setting up $(OTHER) with $$("$$python" -V)"; \
	    "$$python" -m venv $(OTHER); \
	    $(OTHER)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --upgrade pip; \
	    $(OTHER)/bin/python -m pip --disable-pip-version-check install --quiet \
	        --constraint constraints.txt --build-constraint constraints.txt --editable .; \
	    touch $@; exit 0; \
	done; \
	echo "no other version of Python among: $(PY_OTHER). That proof is left out; name one with PY_OTHER=..."

.PHONY: prove
prove: $(VENV)/dev.stamp $(VENV)/servers.stamp $(OTHER)/other.stamp ## run the long proofs (minutes)
	@other=; if [ -e $(OTHER)/other.stamp ]; then other="$(abspath $(OTHER)/bin/python)"; fi; \
	HYPOTHESIS_PROFILE=explore FSMCOLLECT_OTHER_PYTHON="$$other" $(BIN)/python -m pytest -m long

.PHONY: mutants
mutants: $(VENV)/dev.stamp ## try every hand-made mistake, and say what catches it (minutes)
	@$(BIN)/python -m tests.mutants

SCIPION := .venv-scipion

$(SCIPION)/scipion.stamp:
	@"$(PY)" -m venv --clear $(SCIPION)
	@$(SCIPION)/bin/python -m pip install --quiet --disable-pip-version-check scipion-em==3.11.1 scipion-pyworkflow==3.11.7
	@touch $@

.PHONY: test-scipion
test-scipion: $(VENV)/run.stamp $(SCIPION)/scipion.stamp ## read our Scipion sets with the real pwem (688 MB, a venv of its own)
	@$(SCIPION)/bin/python tests/readers_scipion/read_sets.py $(abspath $(BIN)/python)

.PHONY: lint
lint: $(VENV)/dev.stamp ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: $(VENV)/dev.stamp ## mypy --strict and pyright
	@$(BIN)/mypy
	@$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: imports
imports: $(VENV)/dev.stamp ## which way imports run
	@$(BIN)/lint-imports

.PHONY: drift
drift: $(VENV)/dev.stamp ## docs/machines says what the tables say
	@$(BIN)/fsmcollect diagrams --check

.PHONY: check
# One after the other, the tests last: pytest's closing line ends what CI prints.
check: ## all of the above: what CI runs
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory types
	@$(MAKE) --no-print-directory imports
	@$(MAKE) --no-print-directory drift
	@$(MAKE) --no-print-directory test

# ---------------------------------------------------------------------------------------------------------- upkeep

.PHONY: format
format: $(VENV)/dev.stamp ## let ruff format and mend what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: diagrams
diagrams: $(VENV)/dev.stamp ## write docs/machines from the tables
	@$(BIN)/fsmcollect diagrams

.PHONY: constraints
constraints: ## renew the pinned versions from an empty environment
	@rm -rf build/constraints
	@"$(PY)" -m venv build/constraints
	@build/constraints/bin/python -m pip install --quiet --upgrade pip
	@build/constraints/bin/python -m pip install --quiet hatchling --editable . --group dev
	@{ sed -n '/^#/p;/^$$/q' constraints.txt; \
	   build/constraints/bin/python -m pip freeze --all --exclude-editable --exclude setuptools --exclude wheel; } \
	    > build/constraints.txt
	@mv build/constraints.txt constraints.txt
	@rm -rf build/constraints

.PHONY: clean
clean: ## remove what can be made again, .venv included
	rm -rf $(VENV) $(OTHER) $(SCIPION) build dist demo .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
