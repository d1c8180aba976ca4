# Two commands: `make book` does the whole replication, `make test` checks everything.
# PYTHON=: the Python to set up with, python3 unless named
PROFILE ?= laptop
TRAIN ?= no
BIN := .venv/bin
PY := $(BIN)/python
export PATH := $(CURDIR)/$(BIN):$(PATH)

# What is set for other Pythons, workflows and figures is none of the book's; see also sublim_utils/book/kernel.py.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTHONOPTIMIZE PYTHONINSPECT SNAKEMAKE_PROFILE MPLBACKEND
export PYTHONNOUSERSITE := 1
export PYTHONUTF8 := 1
export MATPLOTLIBRC := $(CURDIR)/sublim_utils/book/book.mplstyle

# Caches need a home that can be written to, and some libraries the user's name.
ifneq ($(shell test -n "$$HOME" && test "$$HOME" != / && test -d "$$HOME" && test -w "$$HOME" && echo fit),fit)
export HOME := $(CURDIR)/.home
endif
ifeq ($(LOGNAME)$(USER),)
export LOGNAME := nobody
endif

.PHONY: book paper test test-slurm test-faults test-environment test-trial test-mutants bench setup pdf lock clean
.DEFAULT_GOAL := book

# A killed run leaves snakemake's lock and half-written outputs behind; both would stop the next one.
# Whether a run is there is the store's to say, so a chapter's inputs change; only what is newer makes it run again.
SNAKEMAKE := $(PY) -m snakemake --cores all --logger rich --show-failed-logs --nolock --rerun-incomplete --rerun-triggers mtime --config

# Two at a time, a file's tests together; one thread each, since processes that share cores wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile -q

# The first chapter and the primary tests before all others: they can be read while the rest is computed.
# A smoke run's whole book is there as soon.
FIRST := $(if $(filter smoke,$(PROFILE)),,--prioritize _build/$(PROFILE)/first/_build/html/index.html)

book: setup
	$(SNAKEMAKE) profile=$(PROFILE) $(FIRST)

paper: setup # from the recorded runs, into _build/paper/_build/html; TRAIN=yes, or experiments' names, trains what is missing
	$(SNAKEMAKE) profile=paper train=$(TRAIN)

test: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	@echo "make test: the package"
	$(PYTEST) --ignore tests/browser
	@echo "make test: the whole pipeline at the smoke profile"
	$(SNAKEMAKE) profile=smoke
	@echo "make test: the committed notebooks"
	$(PYTEST) --nbval-lax --nbval-current-env --nbval-cell-timeout 600 notebooks
	@echo "make test: the built pages in a browser"
	SUBLIM_BOOK=_build/smoke/_build/html $(PYTEST) tests/browser

test-slurm: setup # as root, with Debian's slurm-wlm and munge; skipped elsewhere
	$(PY) -m pytest -rs tests/slurm

bench: setup # minutes, on a machine that does nothing else; writes bench/results.json and its page
	$(PY) -m bench

test-faults: setup # kills, full disks, damaged files, lying mirrors; parts of it as root
	$(PY) -m pytest -rs tests/faults

test-environment: setup # the user's settings, homes, dates and browsers must not change the book
	$(PY) -m pytest -rs tests/environment

test-trial: setup # twenty seeds of the page that runs in the browser beside the package's own; needs Chromium and npm
	$(PY) -m pytest -rs -s tests/trial

test-mutants: setup # half an hour: seeds faults one at a time, and says whether the notebooks and the unit tests notice
	$(PY) -m tests.mutants

setup: # does nothing where .venv is this folder's, whole, and as the lock says
	@sh setup.sh "$(PYTHON)"

pdf: setup # of the built book, again: `make book` makes it where a browser is installed
	$(PY) -m sublim_utils pdf _build/html

lock: # after a change of dependencies; needs uv
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --constraint constraints.txt --output-file requirements.lock

clean:
	rm -rf _build results/smoke .snakemake
