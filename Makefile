# make demo   train on the adding task and look at the result
# make test   run the tests; `make test-slow` trains the configs to their solutions
# Each makes the environment in .venv when it is missing, or when the dependencies change.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NATIVE := $(VENV)/.native

.PHONY: demo test test-slow lint types pytest environment native clean help

help:
	@sed -n 's/^# //p' Makefile

demo: $(NATIVE)
	@$(BIN)/python -m experiments train configs/demo.yaml --workdir runs/demo-$$(date +%Y%m%d-%H%M%S)

test: lint types pytest

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/basedpyright --pythonpath $(BIN)/python

pytest: $(NATIVE)
	@$(BIN)/python -m pytest -n auto --dist loadfile

# Compiled as for users; the everyday tests compile with fewer optimisations. The longest come first.
test-slow: $(NATIVE)
	@XLA_FLAGS=--xla_backend_optimization_level=3 $(BIN)/python -m pytest -n auto --dist loadfile \
		--no-loadscope-reorder -m slow tests/experiments/training/test_solutions.py tests/testing/test_check_cell.py \
		$$(grep -l "mark.slow\|slow_case" tests/*.py tests/*/*.py tests/*/*/*.py)

environment: $(NATIVE)

native: $(NATIVE)

# The constraints pin the tested versions; a Python without a list of its own gets the newest.
$(READY): pyproject.toml $(wildcard constraints/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@pins=constraints/py$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt; \
	test -f $$pins && options="-c $$pins" || options=; \
	echo "installing into $(VENV) $$options"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$options -e '.[dev]'
	@touch $(READY)

# The native backend needs a C++17 compiler; without one the pure-JAX path is used.
$(NATIVE): $(READY) $(wildcard native/*.* native/cpp/* native/src/*/*.py)
	@if command -v $${CXX:-c++} > /dev/null || command -v g++ > /dev/null || command -v clang++ > /dev/null; \
	then echo "compiling the native backend"; \
		if $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall ./native; \
		then touch $(NATIVE); \
		else echo "it did not compile, for the reason above: the pure-JAX path is used"; fi; \
	else echo "no C++ compiler was found: the pure-JAX path is used"; touch $(NATIVE); fi

clean:
	rm -rf $(VENV) build dist native/dist native/build
