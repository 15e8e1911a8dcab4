# Wayfare: `make run` and `make test` need Python 3.11-3.13, git and make, and set up everything else in .venv.

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) and print("$(p)")' 2>/dev/null)))
BIN := .venv/bin
UV := $(BIN)/uv
ARGS ?=

# A system upgrade may take away the Python that .venv was made with, or put another in its place
BROKEN := $(if $(shell $(BIN)/python -Ic 'import wayfare; print("sound")' 2>/dev/null),,broken)
RUNNING := $(wildcard $(or $(WAYFARE_HOME),.wayfare)/postgres/postmaster.pid)

# Many short processes run the same code, and where this is set each would compile it anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: $(BROKEN) setup run down test chaos lint compose-check bench image env lock lock-check docs docs-check pictures clean help

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.ready: requirements.txt scripts/bootstrap.py pyproject.toml $(BROKEN)
	@test -n "$(PYTHON)" || { echo "Wayfare needs Python 3.11, 3.12 or 3.13 on the PATH (or PYTHON=/path/to/python)"; exit 1; }
	@echo "Setting up .venv (once; about a minute)"
	@test -x $(UV) -a -z "$(BROKEN)" || $(PYTHON) scripts/bootstrap.py
	@VIRTUAL_ENV=.venv $(UV) pip sync --quiet --require-hashes --compile-bytecode requirements.txt
	@VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv-spark/.ready: requirements-spark.txt $(BROKEN) | .venv/.ready
	@echo "Setting up .venv-spark, the Spark server of the tests (once; a download of half a gigabyte)"
	@$(UV) venv --quiet --clear --python $(PYTHON) .venv-spark
	@VIRTUAL_ENV=.venv-spark $(UV) pip sync --quiet --require-hashes requirements-spark.txt
	@touch $@

setup: .venv/.ready  ## set up .venv, or bring it to the lock, and start nothing

run: .venv/.ready  ## set up, start everything, land a demo, publish every analysis (ARGS=--exit: then stop)
	@$(BIN)/wayfare up --demo $(ARGS)

down: $(and $(BROKEN),$(RUNNING),.venv/.ready)  ## stop what `make run` started
	@test -n "$(BROKEN)" -a -z "$(RUNNING)" || $(BIN)/wayfare down

test: .venv/.ready .venv-spark/.ready  ## run the tests
	@$(BIN)/python scripts/run_tests.py $(ARGS)

chaos: .venv/.ready  ## kill services at random under load, then compare (ARGS="--minutes 10 --broker rabbitmq --seed 7")
	@PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

lint: .venv/.ready lock-check docs-check  ## format, lint, types, lock and generated pages
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

compose-check: .venv/.ready  ## have podman-compose and dclint read docker-compose.yaml (needs podman; PyPI and npm)
	@$(BIN)/python scripts/check_compose.py

bench: .venv/.ready .venv-spark/.ready  ## measure the speed claims, ratios side by side (ARGS="--rows 1000000")
	@$(BIN)/python -m bench $(ARGS)

image: .venv/.ready  ## build the container image and run the compose file's services in it (root; needs podman, runc and more: see scripts/check_image.py)
	@$(BIN)/python scripts/check_image.py

env:  ## write .env with generated secrets for docker-compose.yaml
	@$(PYTHON) scripts/make_env.py

lock: .venv/.ready  ## compile requirements.txt, -production.txt and -spark.txt from their .in
	@$(BIN)/python scripts/lock.py

lock-check: .venv/.ready
	@$(BIN)/python scripts/lock.py --check

docs: .venv/.ready  ## write the generated pages
	@$(BIN)/python -m wayfare.documentation

docs-check: .venv/.ready
	@$(BIN)/python -m wayfare.documentation --check

pictures: .venv/.ready  ## draw the pictures of the analyses' pages from a demonstration
	@$(BIN)/python scripts/pictures.py $(ARGS)

clean: down  ## remove .venv and everything Wayfare wrote
	rm -rf .venv .venv-spark .wayfare
