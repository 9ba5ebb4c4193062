# `make demo` and `make test` need Python 3.11+ and make; everything else they set up in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.all
EXTRAS ?= dev,datasets,neuro
# Of BLAS and torch: two processes of two threads each wait for each other at every small product.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: demo test test-slow lint bench clean clean-kernels

demo: $(VENV)/.base
	$(BIN)/python studies/demo.py --out runs/demo

test: lint
	$(BIN)/python tests/kernels/compile_all.py
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -q

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/basedpyright --level error

bench: $(STAMP)
	$(BIN)/pip install -q -c constraints.txt -e '.[peers]'
	$(BIN)/python kernels/benchmarks/tile.py
	$(BIN)/python kernels/benchmarks/update.py

$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("dynrnn needs Python 3.11 or newer; try make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

$(STAMP): $(VENV)/.base
	$(BIN)/pip install -q -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache

clean-kernels:
	find kernels -name '*.nbi' -delete -o -name '*.nbc' -delete
