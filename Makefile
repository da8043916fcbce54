# make demo         set up, simulate an Earth, run everything, end on a report
# make test         set up and run the tests
# make check        format, lint, strict types, then `make test`: what a change must pass
# make fuzz         50,000 damaged or odd files against every reader; the tests try 2,000
# make bench        ratios against peers and limits, printed
# make completions  write completions/ anew
# make pictures     draw the README's pictures anew, from what `make demo` made

PYTHON ?= python3
TORCH ?= torch==2.13.0
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

test: $(VENV)/tested
	$(BIN)/python -m pytest -n 2

check: $(VENV)/checked
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(MAKE) --no-print-directory test

fuzz: $(VENV)/tested
	PYTHONPATH=tests $(BIN)/python -m faults.fuzz 50000

bench: $(VENV)/tested
	for file in tests/benchmarks/bench_*.py; do echo "== $$file"; PYTHONPATH=tests $(BIN)/python $$file || exit 1; done

completions: $(VENV)/installed
	$(BIN)/python tests/test_completions.py

pictures: demo
	$(BIN)/python tests/pictures/draw.py $(DEMO)

# The stamps: an environment with geoembed, with what its tests need, with what its checks need.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/checked: $(VENV)/tested
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

.PHONY: help demo test check fuzz bench completions pictures
