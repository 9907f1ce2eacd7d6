# Everything here works on a fresh clone with python3 (3.11 or newer), make and a C compiler.

PYTHON ?= python3
BIN := .venv/bin
# Processes that share the tests; each computes on one thread.
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: setup reproduce train test test-slow test-all faults check bench wheels format docs lock clean

setup: .venv/.done ## make .venv and install the pinned versions into it

.venv/.done: requirements.lock pyproject.toml setup.py $(wildcard src/denseam/kernels/*.[ch] src/denseam/kernels/functions/*.c)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip install --quiet --no-deps torchattacks==3.5.1 # see denseam[robustness]
	touch $@

reproduce: setup ## the paper's study from the models in the package, into results/
	$(BIN)/denseam reproduce

train: setup ## watch a model of power n = 30 learn MNIST (20 epochs, about a minute)
	$(BIN)/denseam train --power 30 --epochs 20 --out runs/n30

test: setup ## the tests, in a few minutes
	$(PYTEST) -m "not slow"

test-slow: setup ## those that take long by their nature
	$(PYTEST) -m slow

test-all: test test-slow ## every test, each once

faults: setup ## plant known faults, and see whether the tests still find them
	$(BIN)/python tools/plant.py

check: setup ## lint, format, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## speed of a training step beside its alternatives
	$(BIN)/denseam bench

wheels: ## an sdist and the wheels that it makes, into dist/ (needs gcc on x86-64 Linux)
	test -x build/wheels-env/bin/python || $(PYTHON) -m venv build/wheels-env
	build/wheels-env/bin/python -m pip install --quiet --requirement tools/wheels.txt
	build/wheels-env/bin/python tools/wheels.py

docs: setup .venv/.docs ## the site, into build/site; warnings are errors
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs build/site
	@echo "build/site/index.html"

.venv/.docs: docs/requirements.lock
	$(BIN)/python -m pip install --quiet --requirement docs/requirements.lock
	touch $@

format: setup ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup ## write both requirements.lock anew from what is installed in .venv
	$(BIN)/python tools/lock.py

clean: ## remove .venv and everything built
	rm -rf .venv build dist src/*.egg-info src/denseam/kernels/_cpu*.so
