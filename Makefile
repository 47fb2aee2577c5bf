# make demo   train on the adding task and look at the result
# make test   run the tests; `make test-slow` trains the configs to their solutions
# Each makes the environment in .venv when it is missing, or when its requirements change.
# make native compiles the native backend for CPUs into it, which `make test` does as well.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.demo
READY := $(VENV)/.ready
NATIVE := $(VENV)/.native
# The demo, and the native backend for it, need less than the tests; what the tests need includes it.
SMALL := demo native help clean
ENVIRONMENT := $(if $(or $(wildcard $(READY)),$(filter-out $(SMALL),$(MAKECMDGOALS))),$(READY),$(DEMO))

.PHONY: demo test test-slow lint types pytest environment native clean help

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

# The native backend is used where it is there: to compile it first would take longer than the demo does
# without it.
demo: $(ENVIRONMENT)
	@$(BIN)/python -m experiments train configs/demo.yaml --workdir runs/demo-$$(date +%Y%m%d-%H%M%S)
	@test -e $(NATIVE) || echo "make native compiles the native backend (about a minute, once): training is faster with it"

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
		$$(grep -l "mark.slow\|slow_case" tests/experiments/*/*.py tests/*.py tests/*/*.py)

environment: $(NATIVE)

native: $(NATIVE)

# $(call install,FILE,OPTIONS,TIME): the packages of requirements/FILE.txt. The constraints pin the
# tested versions; a Python without a list of its own gets the newest.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@pins=constraints/py$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt; \
	test -f $$pins && pins="-c $$pins" || pins=; \
	echo "installing into $(VENV) $$pins ($(3), once)"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(2) $$pins -r requirements/$(1).txt
	@touch $@
endef

REQUIREMENTS := pyproject.toml $(wildcard requirements/*.txt constraints/*.txt)

$(READY): $(REQUIREMENTS)
	$(call install,dev,,about 1.7 GB; two minutes)

# Most of what these packages hold is not imported: compiling all of it takes a third of the time.
$(DEMO): $(REQUIREMENTS)
	$(call install,demo,--no-compile,about 0.8 GB; half a minute)

# The native backend needs a C++17 compiler; without one the pure-JAX path is used.
$(NATIVE): $(ENVIRONMENT) $(wildcard native/*.* native/cpp/* native/src/*/*.py)
	@if command -v $${CXX:-c++} > /dev/null || command -v g++ > /dev/null || command -v clang++ > /dev/null; \
	then echo "compiling the native backend (about a minute, once)"; \
		if $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall ./native; \
		then touch $(NATIVE); \
		else echo "it did not compile, for the reason above: the pure-JAX path is used"; fi; \
	else echo "no C++ compiler was found: the pure-JAX path is used"; touch $(NATIVE); fi

clean:
	rm -rf $(VENV) build dist native/dist native/build
