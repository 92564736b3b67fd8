# Everything runs in an environment of its own, .venv, that the first target to need it
# builds from requirements/pinned.txt. To use one you have: make test VENV=/path/to/it
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.mmcosub-installed
PYTEST := $(BIN)/python -m pytest
# Written into an environment of ours only; one that is given is taken as it is.
LOCKED := 3.11 Linux x86_64
READY := $(if $(filter .venv,$(VENV)),$(STAMP),$(BIN)/python)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all gpu lint format docs zoo bench faults lock audit clean

help:  ## show this list
	@awk -F ':.*## ' '/^[.a-z][.a-z-]*:.*## /{printf "  make %-10s %s\n", $$1, $$2}' \
	    $(firstword $(MAKEFILE_LIST))

.venv: $(READY)  ## build the environment (the other targets do so themselves)

demo: $(READY)  ## pretrain, fine-tune a segmentor, evaluate, report, with cosub; makes its own data
	$(BIN)/python tools/demo.py

test: $(READY)  ## run the tests, except slow ones
	$(PYTEST)

test-all: $(READY)  ## run all tests
	$(PYTEST) -m ''

gpu: $(READY)  ## test and measure on a GPU (docs/gpu.md)
	$(PYTEST) -n 0 -m gpu
	$(BIN)/python benchmarks/gpu.py

lint: $(READY)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## rewrite the code in the house style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(READY)  ## build the documentation as pages, build/docs/index.html; offline
	$(BIN)/python -m sphinx -W --keep-going -q -c docs -d build/doctrees . build/docs
	@echo 'Open build/docs/index.html.'

zoo: $(READY)  ## rewrite the metafiles and tables of configs/ after a change there
	$(BIN)/python docs/zoo.py

bench: $(READY)  ## measure step times
	$(BIN)/python benchmarks/fast.py

faults: $(READY)  ## kill, stop and feed with bad input; writes docs/reliability.md
	$(BIN)/python benchmarks/faults.py

lock: $(READY)  ## rewrite requirements/locked.txt from pinned.txt
	$(BIN)/pip install --dry-run --ignore-installed --quiet --report build-report.json \
	    --requirement requirements/pinned.txt
	$(BIN)/python requirements/lock.py build-report.json
	rm build-report.json

audit: $(READY)  ## look the locked packages up among known vulnerabilities (network)
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet pip-audit
	build/audit/bin/pip-audit --strict --require-hashes --disable-pip \
	    --requirement requirements/locked.txt

clean:  ## remove what the targets made, the environment included
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache demo_output
	rm -rf .venv

# By hash where requirements/locked.txt is for this platform. Elsewhere order matters:
# torch and torchvision in one command, before what imports them.
$(STAMP): requirements/pinned.txt requirements/locked.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'The pinned environment needs Python 3.11 or later, and $(PYTHON) is' \
	        "$$($(PYTHON) --version 2>&1)." \
	        'Name another: make .venv PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	if [ "$$($(BIN)/python -c 'import platform as p; \
	    print(p.python_version().rpartition(".")[0], p.system(), p.machine())' \
	    )" = '$(LOCKED)' ]; then \
	    $(BIN)/pip install --require-hashes --requirement requirements/locked.txt; \
	else \
	    $(BIN)/pip install $$(grep -E '^torch(vision)?==' requirements/pinned.txt) && \
	    $(BIN)/pip install --requirement requirements/pinned.txt; \
	fi
	$(BIN)/pip install --no-deps --editable .
	touch $@
