# make demo         set up, simulate an Earth, run everything, end on a report
# make test         set up, from requirements.lock, and run the tests
# make check        format, lint, strict types, known vulnerabilities, then `make test`: what a change must pass
# make lock         pin anew what pyproject.toml asks for; pins that fit stay, or UPGRADE=--upgrade takes the newest
# make fuzz         50,000 damaged or odd files against every reader; the tests try 2,000
# make bench        ratios against peers and limits, printed
# make completions  write completions/ anew
# make pictures     draw the README's pictures anew, from what `make demo` made

PYTHON ?= python3
TORCH ?= torch==2.13.0
UPGRADE ?=
VENV := .venv
BIN := $(abspath $(VENV))/bin
DEMO ?= demo

.DEFAULT_GOAL := help

help:
	@sed -n 's/^# make/make/p' Makefile

demo: $(VENV)/installed
	$(BIN)/geoembed sample $(DEMO)
	$(MAKE) --no-print-directory -C $(DEMO) GEOEMBED=$(BIN)/geoembed
	@echo "Open $(DEMO)/report/report.html"

test: $(VENV)/locked
	$(BIN)/python -m pytest -n 2

check: $(VENV)/locked
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python tests/audit.py
	$(MAKE) --no-print-directory test

lock: $(BIN)/uv
	echo '$(firstword $(TORCH))' | $(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--fork-strategy fewest --generate-hashes --constraints - --no-emit-package torch \
		--no-emit-package geoembed-toolkit --custom-compile-command 'make lock' --quiet $(UPGRADE) \
		--output-file requirements.lock

fuzz: $(VENV)/locked
	PYTHONPATH=tests $(BIN)/python -m faults.fuzz 50000

bench: $(VENV)/locked
	for file in tests/benchmarks/bench_*.py; do echo "== $$file"; PYTHONPATH=tests $(BIN)/python $$file || exit 1; done

completions: $(VENV)/locked
	$(BIN)/python tests/test_completions.py

pictures: demo
	$(BIN)/python tests/pictures/draw.py $(DEMO)

# The stamps: an environment with geoembed and what it asks for; one with all that its checks need, each file as pinned.
# PyTorch comes after its pinned companions, in the build that is wanted here, which no pin can know.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/locked: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(VENV)/installed $@

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet 'uv>=0.9,<1'

.PHONY: help demo test check lock fuzz bench completions pictures
