# dataMortem: `make help` lists the targets.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_DIR := $${DATAMORTEM_HOME:-var}
PORT ?= 8000

.DEFAULT_GOAL := help
.PHONY: help demo test test-services test-kill lint run bench lock format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "dataMortem needs Python 3.11 or later: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "No virtual environment could be made. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

demo: $(VENV)/.installed ## Set up everything and show the main job on a fictional intrusion
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py demo

test: $(VENV)/.installed-dev ## Set up everything and pass the tests on the embedded default
	$(BIN)/pytest -n 2 $(ARGS)

test-services: $(VENV)/.installed-dev ## The same tests on PostgreSQL, started by this target
	.ci/with-postgres $(BIN)/pytest -n 2 $(ARGS)

test-kill: $(VENV)/.installed-dev ## Kill workers and readers 200 times at random moments, on both databases
	DATAMORTEM_KILLS=200 $(BIN)/pytest -n 0 cases/tests/test_kill.py $(ARGS)
	DATAMORTEM_KILLS=200 .ci/with-postgres $(BIN)/pytest -n 0 cases/tests/test_kill.py $(ARGS)

lint: $(VENV)/.installed-dev ## ruff, mypy, import contracts, migrations, deployment checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check
	PUBLIC_URL=https://datamortem.example ALLOWED_HOSTS=datamortem.example DATABASE_URL=postgres://datamortem@localhost/datamortem \
	  $(BIN)/python manage.py check --deploy --fail-level WARNING

run: $(VENV)/.installed ## Serve the site and work off the runs, on http://127.0.0.1:8000 (PORT=…)
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py worker & worker=$$!; trap 'kill $$worker 2>/dev/null; wait' EXIT; trap : INT TERM; \
	  $(BIN)/gunicorn datamortem.wsgi --bind 127.0.0.1:$(PORT) --worker-class gthread --workers 1 --threads 8 --limit-request-line 8190 \
	    --no-control-socket

bench: $(VENV)/.installed-dev ## Measure what docs/benchmarks.md claims
	$(BIN)/python -m benchmarks $(ARGS)

format: $(VENV)/.installed-dev ## Put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Compile requirements*.in into pinned files with hashes (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements.in -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements-dev.in -o requirements-dev.txt

clean: ## Remove the virtual environment and caches; evidence and database stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
