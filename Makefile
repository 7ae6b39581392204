# Two commands set everything up on a machine with Python 3.11, pip and make: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# One thread a process: the tests run in as many processes as there are cores.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint docs bench clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] < (3, 14), "vigie needs Python 3.11 to 3.13"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs]'
	touch $@

demo: $(READY)  ## the whole story of `glaciers` on the built-in synthetic Earth, with a report at the end
	$(BIN)/vigie demo glaciers --out runs

test: $(READY)  ## the test suite, doctests and real-data tests included
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal
	$(BIN)/lint-imports

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) runs site build .pytest_cache .mypy_cache .ruff_cache
