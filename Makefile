# dataMortem: `make help` lists the targets.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_DIR := $${DATAMORTEM_HOME:-var}
PORT ?= 8000
SERVICES ?= .ci/with-postgres .ci/with-search --whole

.DEFAULT_GOAL := help
.PHONY: help demo test test-services test-schema test-kill test-soak s3-server test-api audit lint run bench lock format clean \
  db-current db-history db-heads db-migrate db-revision db-rollback db-stamp db-merge db-shell \
  db-backup db-restore db-check db-sql db-adopt

help: ## List the targets
	@awk -F ':.*## ' '/^##@ / {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' \
	  $(MAKEFILE_LIST)

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
	$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

test-services: $(VENV)/.installed-dev ## The same tests on PostgreSQL and OpenSearch, and the stack of docker/compose.yml; starts them
	$(SERVICES) $(BIN)/pytest -n 2 --dist worksteal $(ARGS)

test-schema: $(VENV)/.installed-dev ## The long tests of the schema's history, on both databases; ten million rows (6 GB)
	$(BIN)/pytest -n 2 -m schema $(ARGS)
	DATAMORTEM_EVENTS=$${DATAMORTEM_EVENTS:-10000000} .ci/with-postgres $(BIN)/pytest -n 2 -m schema $(ARGS)

test-kill: $(VENV)/.installed-dev ## Kill workers and readers 200 times at random moments, on both databases
	DATAMORTEM_KILLS=200 $(BIN)/pytest -n 0 cases/tests/test_kill.py $(ARGS)
	DATAMORTEM_KILLS=200 .ci/with-postgres $(BIN)/pytest -n 0 cases/tests/test_kill.py $(ARGS)

test-soak: $(VENV)/.installed-dev ## Read 200 files while workers are killed 50 times, on both carriers and both databases
	DATAMORTEM_RUNS=$${DATAMORTEM_RUNS:-200} DATAMORTEM_KILLS=$${DATAMORTEM_KILLS:-50} \
	  $(BIN)/pytest -n 0 cases/tests/test_soak.py $(ARGS)
	DATAMORTEM_RUNS=$${DATAMORTEM_RUNS:-200} DATAMORTEM_KILLS=$${DATAMORTEM_KILLS:-50} \
	  .ci/with-postgres $(BIN)/pytest -n 0 cases/tests/test_soak.py $(ARGS)

s3-server: $(BIN)/python ## Build the S3 server (Go 1.25 or later) that tests of evidence in a bucket run on; some minutes
	GOBIN=$(CURDIR)/$(BIN) CGO_ENABLED=0 go install -ldflags='-s -w' github.com/versity/versitygw/cmd/versitygw@v1.8.0

test-api: $(VENV)/.installed-dev ## Try 5,000 requests made from the OpenAPI document, and the bounds of every value
	DATAMORTEM_CASES=$${DATAMORTEM_CASES:-5000} $(BIN)/pytest -n 0 datamortem/tests/test_openapi.py $(ARGS)

audit: $(VENV)/.installed-dev ## Known vulnerabilities of what is pinned; 2 where the package index cannot say
	@$(BIN)/python .ci/audit $(ARGS)

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
	  $(BIN)/gunicorn datamortem.wsgi --bind 127.0.0.1:$(PORT)

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

##@ The schema's history (docs/migrations.md); with COMPOSE=1 inside the compose stack

# Words of the operator reach a command as its argument, never as text of the shell or of make.
export DB_MSG := $(value MSG)
export DB_REV := $(value REV)
export DB_FILE := $(value FILE)
export DB_RANGE := $(value RANGE)
export DB_STEPS := $(if $(filter undefined,$(origin STEPS)),1,$(value STEPS))
unexport MSG REV FILE RANGE STEPS
chosen = $(filter 1 yes true,$(1))
COMPOSE_WEB ?= docker compose -f docker/compose.yml run --rm $$([ -t 0 ] || echo -T) web
MANAGE = $(if $(call chosen,$(COMPOSE)),$(COMPOSE_WEB) python,$(BIN)/python) manage.py
READY = $(if $(call chosen,$(COMPOSE)),,$(VENV)/.installed)
AGREED = $(if $(call chosen,$(YES)), --yes)
needs = @[ -n "$$DB_$(1)" ] || { echo 'Missing: make $@ $(1)=$(2)' >&2; exit 2; }

db-current: $(READY) ## Where the database stands
	@$(MANAGE) db current

db-history: $(READY) ## All revisions, with what is applied
	@$(MANAGE) db history

db-heads: $(READY) ## The newest revisions
	@$(MANAGE) db heads

db-migrate: $(READY) ## Go to the newest revision, or to another (REV=…)
	@$(MANAGE) db upgrade$(AGREED) "$${DB_REV:-head}"

db-revision: $(READY) ## Write what changed in the models (MSG="…"; EMPTY=1: one to fill by hand)
	$(call needs,MSG,"Add a phone number")
	@$(MANAGE) db revision$(if $(call chosen,$(EMPTY)), --empty) --message="$$DB_MSG"

db-rollback: $(READY) ## Go back one revision, or several (STEPS=3; YES=1 accepts what is lost)
	@$(MANAGE) db downgrade$(AGREED) --steps="$$DB_STEPS"

db-stamp: $(READY) ## Record a revision without touching a table (REV=head)
	$(call needs,REV,head)
	@$(MANAGE) db stamp "$$DB_REV"

db-merge: $(READY) ## Join several heads (MSG="…")
	$(call needs,MSG,"Merge heads")
	@$(MANAGE) db merge --message="$$DB_MSG"

db-shell: $(READY) ## The database's own shell
	@$(MANAGE) dbshell

db-backup: $(READY) ## Back up the database while it is in use
	@$(MANAGE) db backup

db-restore: $(READY) ## Put a backup back (FILE=…; YES=1 accepts what it replaces)
	$(call needs,FILE,var/backups/…)
	@$(MANAGE) db restore$(AGREED) "$$DB_FILE"

db-check: $(READY) ## Compare models, migrations and the real database
	@$(MANAGE) db check

db-sql: $(READY) ## Write the SQL of the history without a server (RANGE=FROM:TO)
	@$(MANAGE) db sql "$${DB_RANGE:-base:head}"

db-adopt: $(READY) ## Look at a database of the old system; YES=1 takes it over
	@$(MANAGE) adopt$(AGREED)
