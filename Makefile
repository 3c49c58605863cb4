# VENV chooses the environment's folder; COLLECTION a folder of photographs of your own for the demo.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
COLLECTION ?=
# Every bundled network of portraits and digits, each after those that it uses. portraits_referee and
# portraits_samm_unaligned, which only comparisons ask for, are trained by their names.
PORTRAITS := classifier parser landmarks generator conventional_encoder domain_guided_encoder linknet \
	psp e4e restyle sam_encoder invertibility samm invgan invgan_augmented invgan_naive patches
TRAININGS ?= $(PORTRAITS:%=portraits_%) digits_invgan
# Freed memory is kept, not handed back: large tensors are otherwise mapped anew at every operation.
export MALLOC_MMAP_THRESHOLD_ ?= 34359738368
export MALLOC_TRIM_THRESHOLD_ ?= 34359738368

# Tests keep their databases in memory where they can, and leave the cores to the processes.
export PYTEST_DEBUG_TEMPROOT ?= $(shell test -w /dev/shm && echo /dev/shm)
THREADS ?= 1
TEST := OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -q

.PHONY: demo demo-faces portraits train ui test test-slow check catalogue format docs reference install install-dev install-docs constraints bench compare bench-inversion clean

demo: install  ## the whole chain on drawn portraits, from files to an exported edit set; no download
	$(BIN)/invertory demo $(if $(COLLECTION),faces --collection "$(COLLECTION)")

demo-faces: install  ## the same on photographs, with weights that are fetched
	$(BIN)/invertory demo faces $(if $(COLLECTION),--collection "$(COLLECTION)")

portraits: install  ## a contact sheet and a labelled collection of procedural portraits
	$(BIN)/invertory portraits

train: install  ## every bundled network of portraits and digits, in order; a second call goes on with what is left
	for name in $(TRAININGS); do $(BIN)/invertory train $$name || exit; done

ui: install  ## the Dagster UI on loopback, with every recipe loaded
	$(BIN)/invertory ui

test: install-dev  ## all tests but the slow proofs
	$(TEST) -m "not slow"

test-slow: install-dev  ## the proofs that take minutes
	$(TEST) -m slow

check: install-dev  ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/invertory recipes check

catalogue: install-dev  ## what recipes may name, as data: after adding a method, generator or trainer
	$(BIN)/python -m invertory.pipelines.cataloguing

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install-docs  ## this documentation as a site in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: install-dev  ## the pages of docs/ that are made of the code
	$(BIN)/python -m docs.generate

bench: install-dev  ## figures of docs/measured.md, each by its own command
	$(BIN)/python benchmarks/chain.py

compare: install-dev  ## every method on the same held-out images, and which claims held here
	$(BIN)/python -m benchmarks.compare --page docs/results.md $(if $(DOMAIN),--domain $(DOMAIN))

bench-inversion: install-dev  ## images per second of the inversion engine and of the published loop
	$(BIN)/python benchmarks/inversion.py

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev
install-docs: $(VENV)/.installed-docs

$(VENV)/.uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv pip
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.uv
	$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[ui,s3]' \
		|| $(BIN)/python -m pip install -c constraints.txt -e '.[ui,s3]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]' \
		|| $(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/.uv
	$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[docs]' \
		|| $(BIN)/python -m pip install -c constraints.txt -e '.[docs]'
	touch $@

constraints:  ## pin the newest versions that fit all extras together: names and versions only
	$(BIN)/uv pip compile -q --python $(BIN)/python pyproject.toml --all-extras --upgrade --no-annotate \
		--no-header --no-emit-index-url --no-emit-find-links -o constraints.txt

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
