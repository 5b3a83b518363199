# One way to do each chore. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEER := var/bench/peer
.DEFAULT_GOAL := help

.PHONY: help setup setup-dev check format test test-unit test-chaos demo up down logs bench bench-matching bench-index fuzz contract lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.runtime ## install what the services run on, with checked hashes

setup-dev: $(VENV)/.dev ## install what the checks and tests need, too

$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 cannot make a venv; on Debian: apt install python3-venv"; exit 1; }
	@echo "Installing from requirements.lock (about two minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

check: setup-dev ## formatting, lint, types, imports, the generated contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m infra.contract check
	TWINTALLY_SECRET_KEY=k TWINTALLY_OWNER_PASSWORD=o TWINTALLY_WORKER_PASSWORD=w TWINTALLY_API_PASSWORD=a \
		$(BIN)/docker-compose config --quiet

format: setup-dev ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

contract: setup ## write the JSON Schemas and the AsyncAPI document again from the event classes
	$(BIN)/python -m infra.contract write

test: setup-dev ## the whole test suite, real parts included
	$(BIN)/python -m pytest $(ARGS)

test-unit: setup-dev ## the tests that need no server
	$(BIN)/python -m pytest tests/unit tests/contract $(ARGS)

test-chaos: setup-dev ## 1,000 kills while posts stream in (about two hours); KILLS=50 SEED=7 for a part of it
	$(BIN)/python -m pytest -m long tests/chaos
	$(BIN)/python -m tests.chaos.play $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

fuzz: setup-dev ## 100,000 mutated pictures through decoding, fingerprints and disclosure (some minutes); ARGS="--mutations 1000 --seed 7"
	$(BIN)/python -m tests.fuzz.play $(ARGS)

demo: setup ## play a real job on the whole house; KEEP=1 leaves it running
	$(BIN)/twintally demo $(if $(KEEP),--keep)

up: setup ## start the local stack with all services
	$(BIN)/twintally stack up

down: setup ## stop the local stack
	$(BIN)/twintally stack down

logs: setup ## show the last lines of every log of the local stack; make logs NAME=intake for one
	$(BIN)/twintally stack logs $(NAME)

lock: ## resolve the dependencies again (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header requirements.in -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header -c requirements.lock requirements-dev.in -o requirements-dev.lock

bench: setup ## what an image costs, then the whole path (some 40 minutes; see docs/bench.md); ARGS for the path
	$(BIN)/python -m infra.bench.images
	$(BIN)/python -m infra.bench.path $(ARGS)

bench-matching: setup $(PEER)/.installed ## our search beside python-threatexchange's PDQ; needs a C++ compiler once; ARGS="--photos DIR"
	$(BIN)/python -m infra.bench.matching $(ARGS)

$(PEER)/.installed: infra/bench/matching/requirements.lock
	@command -v c++ >/dev/null || { echo "The peer's pdqhash comes as source: a C++ compiler is needed; on Debian: apt install g++"; exit 1; }
	@echo "Installing the peer into $(PEER), apart from everything else"
	@rm -rf $(PEER) && $(PYTHON) -m venv $(PEER)
	@$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< || { echo "The peer cannot be built: see above; pdqhash needs a C++ compiler and Python's headers"; exit 1; }
	@touch $@

bench-index: setup ## what a search costs among 1e4, 1e5 and 1e6 references; PHOTOS=DIR (a few hundred), ARGS="--minutes 30"
	$(BIN)/python -m infra.bench.index $(if $(PHOTOS),--photos "$(PHOTOS)") $(ARGS)

clean: ## remove what was installed and written here
	rm -rf $(VENV) var build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
