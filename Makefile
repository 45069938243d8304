# Every target that runs code first creates .venv, or repairs it where it is incomplete, broken or older than the requirements.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
VENV_PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# One torch thread per test process: two processes with more would compete for two cores. A file's tests run in one process, so
# that their shared fixtures are built once.
TEST_WORKERS ?= 2
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help setup quickstart test lint format docs api constraints clean distclean FORCE

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(STAMP) ## Make .venv with the versions of constraints.txt (other targets do this by themselves)

quickstart: setup ## Train segmentor, flow and propagation on generated video; table and pictures in outputs/quickstart
	PATH="$(abspath $(VENV)/bin):$$PATH" bash scripts/quickstart.sh

test: setup ## Run the tests; narrow them with ARGS="tests/ops -k warp"
	$(TEST_ENV) $(VENV_PYTHON) -m pytest -n $(TEST_WORKERS) --dist loadfile $(ARGS)

lint: setup ## Check style, types and import contracts
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	$(VENV_PYTHON) $(VENV)/bin/lint-imports --no-logo

format: setup ## Format the sources
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

docs: setup ## Build the documentation site in outputs/site; a broken link is an error
	$(VENV_PYTHON) -m zensical build --strict

api: setup ## Write docs/api.md from the docstrings
	$(VENV_PYTHON) scripts/api_page.py

# Without -c, so that the changed requirements choose; only what they need is upgraded.
constraints: ## Install changed requirements*.txt and write the versions of all they need to constraints.txt
	$(VENV_PYTHON) -m pip install --disable-pip-version-check -r requirements-dev.txt
	$(VENV_PYTHON) -m pip install --disable-pip-version-check --no-deps -r requirements-demo.txt
	$(VENV_PYTHON) scripts/constraints.py

clean: ## Delete caches; outputs, data and .venv stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Delete caches and .venv; outputs and data stay
	rm -rf $(VENV)

# The stamp is written last, so an interrupted set-up continues. A .venv whose interpreter no longer runs (moved folder, removed
# Python) is created again in spite of its stamp.
$(STAMP): requirements.txt requirements-dev.txt requirements-cluster.txt requirements-docs.txt requirements-demo.txt requirements-openvino.txt requirements-onnx.txt requirements-exports.txt constraints.txt $(if $(shell $(VENV_PYTHON) -c 'print(1)' 2>/dev/null),,FORCE)
	@command -v $(PYTHON) >/dev/null || { echo "'$(PYTHON)' not found: install Python 3.11 or newer, or name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; found = sys.version.split()[0]; \
		sys.version_info >= (3, 11) or sys.exit(f"Python 3.11 or newer is needed, but $(PYTHON) is {found}: name another with PYTHON=...")'
	@$(VENV_PYTHON) -m pip install --help >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(VENV_PYTHON) -m pip install --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	$(VENV_PYTHON) -m pip install --disable-pip-version-check -c constraints.txt --no-deps -r requirements-demo.txt
	@touch $@
