# The commands of this repository. `make` alone lists them; the text behind ## is the list.
# Every folder that is written to (.venv, .cache, .stack) is ignored by git.

PYTHON ?= python3
KILLS ?= 100
TIMES ?= 20
HANDOVERS ?= 5
ARGS ?=

VENV := .venv
CACHE := $(or $(CDC_CACHE),.cache)
STATE := $(or $(CDC_STACK_DIR),.stack)
STACK = $(PYTHON) infra/stack
PIP = -m pip --disable-pip-version-check install

READY := $(VENV)/.installed
CQRS_4 := $(CACHE)/venvs/cqrs-4/.installed
CQRS_5 := $(CACHE)/venvs/cqrs-5/.installed
WITHOUT_SERVERS := $(wildcard tests/unit tests/vectors tests/properties)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: pythons ids help setup venvs up down status demo test unit crash poison duel outage campaign handover snapshot giants mariadb-11-8 bench fmt lint clean python

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  make up SERVERS="mysql mariadb"   chooses the databases'
	@echo '  make up CONNECT=1                 adds Kafka Connect with Debezium'
	@echo '  make test ARGS="-k word -x"       hands options to pytest'
	@echo '  make crash N=500                  kills and cuts that often; goes on where it was cut off'
	@echo '  PYTHON=python3.12 make setup      chooses the Python (3.11 or newer)'

demo: $(READY) $(CQRS_5) ## the main job on real servers: write, tail, kill, nothing lost, nothing twice
	@SERVERS=mariadb $(STACK) up
	@$(VENV)/bin/python infra/demo

test: lint $(CQRS_4) $(CQRS_5) ## everything CI runs; ends with pytest's own closing line
	@code=0; \
	{ SERVERS="mariadb mysql" $(STACK) up && $(STACK) fetch connect && $(VENV)/bin/python -m pytest $(ARGS); } || code=$$?; \
	if [ "$$CI" = true ]; then $(STACK) down >$(STATE)/down.log 2>&1 || code=$$(($$code ? $$code : 1)); fi; \
	exit $$code

unit: $(READY) ## the tests that need no server
	@$(VENV)/bin/python -m pytest $(WITHOUT_SERVERS) $(ARGS)

crash: $(READY) ## N (100) kills, freezes, cuts and stalls under load, of tailer, broker and database; resumable
	@$(VENV)/bin/python tests/crash/campaign.py --faults $(or $(N),$(KILLS)) $(ARGS)

poison: $(READY) ## rows nobody takes under each on_error, the tailer killed at every step, on both servers
	@SERVERS="mariadb mysql" $(STACK) up
	@CDC_EVERY_MOMENT=1 $(VENV)/bin/python -m pytest tests/crash/test_crash_poison.py $(ARGS)
	@$(VENV)/bin/python tests/crash/poison.py

duel: $(READY) ## two instances under a supervisor that restarts always, for five minutes
	@$(VENV)/bin/python tests/crash/duel.py $(ARGS)

outage: $(READY) ## broker and database frozen, then shut down, five minutes each: the tailer waits, and holds no more memory
	@$(VENV)/bin/python tests/crash/outage.py $(ARGS)

campaign: $(READY) ## outages of the database under load, each kind TIMES times, then the handovers; goes on where it was cut off
	@$(VENV)/bin/python tests/campaign --times $(TIMES) $(ARGS)
	@$(MAKE) --no-print-directory handover

handover: $(READY) ## from Debezium to the tailer and back under load, HANDOVERS (5) times each way on each server and without GTIDs
	@$(STACK) up --only kafka
	@$(STACK) fetch connect
	@$(VENV)/bin/python -m tests.handover --times $(HANDOVERS)

snapshot: $(READY) ## a first start on 1,000,000 rows under load, killed ten times, on each server and without GTIDs
	@SERVERS="mariadb mysql" $(STACK) up
	@$(VENV)/bin/python -m tests.snapshots $(ARGS)

giants: $(READY) ## one transaction of 2,000,000 rows and others too large for memory, killed inside, on servers of their own
	@SERVERS="mariadb mysql" $(STACK) up
	@$(VENV)/bin/python -m tests.giants $(ARGS)

mariadb-11-8: $(READY) ## the live cases of the log against a MariaDB 11.8 of their own
	@CDC_LIVE_SERVERS=mariadb118 $(VENV)/bin/python -m pytest tests/integration/test_log_live.py $(ARGS)

pythons: python ## the write library's tests on Python 3.11 to 3.14, where these are to be had; names those it did not find
	@$(PYTHON) tests/tools/pythons.py

ids: $(READY) ## ten million event ids over eight processes: none twice, rising in each
	@$(VENV)/bin/python tests/tools/ids.py

bench: $(READY) $(CQRS_5) ## how fast, beside BinLogStreamReader and a transactional send(); writes .stack/bench.json
	@$(STACK) up --only kafka
	@$(VENV)/bin/python tests/bench $(ARGS)

up: python ## start MariaDB, MySQL and Kafka in the background, or what of them died; writes .stack/env
	@$(STACK) up

down: python ## stop them, and no other servers
	@$(STACK) down

status: python ## how they are
	@$(STACK) status

setup: $(READY) ## .venv with everything in it, so .venv/bin/cdc works
	@echo "ready: $(VENV)/bin/cdc"

venvs: $(CQRS_4) $(CQRS_5) ## the venvs with real python-cqrs 4 and 5 that tests and demo use
	@echo "ready: $(CACHE)/venvs"

lint: $(READY) ## ruff, mypy, import-linter
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

fmt: $(READY) ## format, and repair what ruff can repair
	@$(VENV)/bin/ruff check --fix-only --quiet .
	@$(VENV)/bin/ruff format .

clean: python ## stop the servers, delete their data and all that tools left; keeps .venv and downloads (.cache)
	@$(STACK) reset
	@rm -rf .stack .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	@find . -path ./$(VENV) -prune -o -path ./.cache -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo 'Python 3.11 or newer is needed, and "$(PYTHON)" is not: choose one with PYTHON=...' >&2; exit 1; }

# A stamp is written last, so that an install that was cut short is done again.
$(READY): pyproject.toml | python
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) -e '.[dev]'
	@touch $@

$(CACHE)/venvs/%/.installed: infra/venvs/%.txt pyproject.toml | python
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP) -r $<
	@$(@D)/bin/python -W ignore -c 'import asyncmy, cqrs, di, sqlalchemy; import cdc.outbox'
	@touch $@
