# Two commands: `make book` does the whole replication, `make test` checks everything.
PYTHON ?= python3
PROFILE ?= laptop
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: book test setup lock clean
.DEFAULT_GOAL := book

book: setup
	snakemake --cores all --quiet rules host --config profile=$(PROFILE)

test: setup
	ruff check .
	ruff format --check .
	pytest --ignore tests/book
	pytest --nbval-lax --nbval-current-env --nbval-cell-timeout 600 notebooks
	snakemake --cores all --quiet rules host --config profile=smoke
	SUBLIM_BOOK=_build/smoke/_build/html pytest tests/book

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name it with PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
	touch $@

lock: # after a change of dependencies; needs uv
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --constraint constraints.txt --output-file requirements.lock

clean:
	rm -rf _build results/smoke .snakemake
