# make book      build the book: _build/html/index.html
# make test      everything that holds it to its word
# make live      JupyterLab on the chapters
# make run       execute and normalise chapters: make run NAME=im2col, or all of them
# make bench     measure again what the chapters report of speed (on an idle machine)

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
# One number of threads, so that sums of floats are the same wherever a chapter is executed.
export OMP_NUM_THREADS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
# From nothing each time, so that no page stays whose chapter is gone.
BUILD = rm -rf _build/html && $(BIN)/jupyter-book build .
PARALLEL = -n 2 --dist loadfile
# Looks at the built pages, in the browser; the rest needs no built book.
PAGES = tests/test_book.py

.PHONY: book test test-code test-chapters test-pages live run bench clean

book: $(READY)
	@$(BUILD) --all -q
	@echo "Open $(CURDIR)/_build/html/index.html"

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=…"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements.txt -e .
	touch $@

test: test-code test-chapters test-pages

test-code: $(READY)
	$(BIN)/python -m pytest tests --ignore=$(PAGES) -q -n 2

test-chapters: $(READY)
	$(BIN)/python -m cvnotes.notebooks check
	IPYTHONDIR=$$(mktemp -d) $(BIN)/python -m pytest --nbval chapters -q $(PARALLEL)

test-pages: $(READY)
	$(BUILD) --all -q -W --keep-going
	$(BIN)/python -m pytest $(PAGES) -q -n 2

live: $(READY)
	$(BIN)/jupyter trust chapters/*.ipynb
	cd chapters && $(abspath $(BIN))/jupyter lab

run: $(READY)
	$(BIN)/python -m cvnotes.notebooks run $(NAME)

bench: $(READY)
	set -e; for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python "$$script"; done

clean:
	rm -rf _build
