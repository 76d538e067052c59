# Two commands set everything up: `make demo` and `make test`. They need Python ≥ 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow check format lint types browser clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "creode needs Python 3.11 or later; run: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[hf,map,opt,viz,dev]"
	@touch $@

demo: $(INSTALLED)  ## Train a small decoder, read it, choose its data anew, train again, report
	$(BIN)/creode demo --out runs/demo

test: $(INSTALLED) browser  ## The tests, without the slow ones
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not slow"

test-slow: $(INSTALLED) browser  ## The slow tests
	$(BIN)/pytest -n 2 -m slow

check: $(INSTALLED) lint types test  ## Everything CI does

lint: $(INSTALLED)  ## Format and lint, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)  ## Strict type check
	$(BIN)/mypy

format: $(INSTALLED)  ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

browser:  ## Chromium for the tests of the report, where it may be installed
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null; } || \
		echo "no chromium: the tests of the report in a browser are skipped" >&2

clean:  ## Remove what was built
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
