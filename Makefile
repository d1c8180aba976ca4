# Two commands: `make book` does the whole replication, `make test` checks everything.
PYTHON ?= python3
PROFILE ?= laptop
TRAIN ?= no
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: book paper test test-slurm test-faults bench setup pdf lock clean
.DEFAULT_GOAL := book

# A killed run leaves snakemake's lock and half-written outputs behind; both would stop the next one.
# Whether a run is there is the store's to say, so a chapter's inputs change; only what is newer makes it run again.
SNAKEMAKE := snakemake --cores all --quiet rules host --nolock --rerun-incomplete --rerun-triggers mtime --config

book: setup
	$(SNAKEMAKE) profile=$(PROFILE)

paper: setup # from the recorded runs, into _build/paper/_build/html; TRAIN=yes trains what is missing
	$(SNAKEMAKE) profile=paper train=$(TRAIN)

test: setup
	ruff check .
	ruff format --check .
	pytest --ignore tests/browser
	$(SNAKEMAKE) profile=smoke
	pytest --nbval-lax --nbval-current-env --nbval-cell-timeout 600 notebooks
	SUBLIM_BOOK=_build/smoke/_build/html pytest tests/browser

test-slurm: setup # as root, with Debian's slurm-wlm and munge; skipped elsewhere
	pytest -rs tests/slurm

bench: setup # minutes, on a machine that does nothing else; writes bench/results.json and its page
	python -m bench

test-faults: setup # kills, full disks, damaged files, lying mirrors; parts of it as root
	pytest -rs tests/faults

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name it with PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	touch $@

pdf: setup # of the built book, again: `make book` makes it where a browser is installed
	python -m sublim_utils pdf _build/html

lock: # after a change of dependencies; needs uv
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --constraint constraints.txt --output-file requirements.lock

clean:
	rm -rf _build results/smoke .snakemake
