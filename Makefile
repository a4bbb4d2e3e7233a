# Everything runs in .venv, which is set up when first needed and again when the requirements change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WARP := $(VENV)/.installed-warp
ENV ?= HalfCheetah-v5
SEED ?= 0

.PHONY: train setup test test-slow lint bench bench-gpu faults clean
.DEFAULT_GOAL := train

train: $(STAMP)
	$(BIN)/hyperrl train hyper-td3 --env $(ENV) --preset demo --seed $(SEED)

setup: $(STAMP)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(WARP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	status=0; for part in update contraction peak loop ppo vecenv contexts context-evaluation hyper-zero meta architectures startup; do $(BIN)/hyperrl bench $$part || status=1; done; exit $$status

# What needs a GPU, in about ten minutes. The return that eight seeds are to reach is decided by a command of
# its own that takes ten more: hyperrl bench gpu-learning
bench-gpu: $(WARP)
	status=0; $(BIN)/hyperrl bench gpu --rounds 5 --stacks 1 8 || status=1; $(BIN)/hyperrl bench warp --device cuda || status=1; $(BIN)/hyperrl bench gpu-learning --minutes 3 || status=1; exit $$status

faults: $(STAMP)
	$(BIN)/hyperrl bench faults

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find hyperrl agents envs tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("hyperrl needs Python 3.11 or later, for example: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c requirements.lock -e '.[dev]'
	touch $(STAMP)

# The GPU simulation, which also runs on a processor: what the everyday tests do without.
$(WARP): $(STAMP)
	$(BIN)/python -m pip install --quiet -c requirements.lock -e '.[dev,warp]'
	touch $(WARP)
