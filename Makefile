# Everything a newcomer needs: `make demo` and `make test`. Each installs what is missing first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SERVERS := $(VENV)/.servers
DOCS := $(VENV)/.docs
JAVASCRIPT := scripts/javascript
NODE_MODULES := $(JAVASCRIPT)/node_modules
NODE_INSTALLED := $(NODE_MODULES)/.installed
EXAMPLE := examples/awesome-ml-model
# DVC and Dagster report usage to their makers unless they are told not to.
export DVC_NO_ANALYTICS := 1
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
# Where it is set, as in many containers, each program would compile all that it imports: the tests
# take twice as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo ui servers test test-registry test-example test-versions check check-python check-page docs bench faults screenshots format vendor lock dist clean

help:
	@echo "make demo    install, then run the main job on the sample photographs"
	@echo "make ui      see and run it in a browser, on 127.0.0.1:3000 or HOST=… PORT=…"
	@echo "make test    install, then run the tests, also those of $(EXAMPLE)"
	@echo "make servers install what tests start and this machine lacks: sshd, PostgreSQL and Chromium with apt-get, Azurite with npm"
	@echo "make test-versions  the lowest and the newest dependencies, on the oldest and newest Python"
	@echo "make check   formatting, lint, types, and that the site can be built"
	@echo "make docs    build the site from docs/, into site/: open site/index.html"
	@echo "make bench   measure beside dvc and other tools, into bench/RESULTS.md; ARGS='PART … --help'"
	@echo "make faults  break commands on purpose, in 15 minutes: ARGS='--help' lists the parts"
	@echo "make screenshots  take the pictures of docs/pictures anew, in Chromium"
	@echo "make setup   install only"
	@echo "make format  format the code"
	@echo "make vendor  take the libraries of the page from npm, as $(JAVASCRIPT)/package-lock.json pins them"
	@echo "make dist    build an sdist and a wheel, into dist/"
	@echo "make lock    pin the newest dependencies that fit, into requirements*.lock"

# pip installs uv, and uv the rest, several packages at a time.
INSTALL = $(BIN)/python -m scripts.environments pip install --python $(BIN)/python
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Installing what is needed into $(VENV), once; this takes a minute or two"
	$(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock | $(BIN)/python -m pip install --quiet \
		--disable-pip-version-check --require-hashes -r /dev/stdin
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# The servers that tests push to; nobody else needs them.
$(SERVERS): $(INSTALLED) requirements-servers.lock
	$(INSTALL) --require-hashes -r requirements-servers.lock
	@touch $@

# What builds the site.
$(DOCS): $(INSTALLED) requirements-docs.lock
	$(INSTALL) --require-hashes -r requirements-docs.lock
	@touch $@

# What checks the page: Node.js as a Python package, so that a machine needs none of its own.
$(NODE_INSTALLED): $(INSTALLED) requirements-page.lock $(addprefix $(JAVASCRIPT)/,package.json package-lock.json)
	$(INSTALL) --require-hashes -r requirements-page.lock
	$(BIN)/npm ci --prefix $(JAVASCRIPT) --loglevel=error
	@touch $@

BIOME = $(BIN)/node $(NODE_MODULES)/@biomejs/biome/bin/biome
BIOME_ARGS := --config-path=$(JAVASCRIPT)/lint.json registry_assets/look/page $(JAVASCRIPT)/*.json
TSC = $(BIN)/node $(NODE_MODULES)/typescript/lib/tsc.js --project $(JAVASCRIPT)

setup: $(INSTALLED)
	@$(BIN)/registry init . >/dev/null

demo: setup
	@$(BIN)/registry demo

# Given to make only: some shells have a HOST of their own in the environment.
given = $(if $(filter command,$(origin $1)),$2 $($1))
ui: setup
	@$(BIN)/registry ui $(call given,HOST,--host) $(call given,PORT,--port)

# Those that are no Python packages: tests name what is missing, and install nothing themselves.
servers: $(SERVERS)
	@$(BIN)/python -m tests.remotes.servers

ifeq ($(ARGS),)
# Side by side, as those of the example mostly wait for servers. What cannot be installed fails the
# tests that need it.
test: $(SERVERS) $(DOCS)
	@$(BIN)/python -m tests.remotes.servers || true
	@$(MAKE) --no-print-directory --jobs 2 test-registry test-example
else
test: test-registry
endif

# One more than CI has cores, as each waits a third of its time: for disks, servers, Dagster's clock.
test-registry: $(SERVERS) $(DOCS)
	$(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

# All that it says at once: else it would stand in between.
test-example:
	@said=$$($(MAKE) --no-print-directory -C $(EXAMPLE) test 2>&1); code=$$?; echo "$$said"; exit $$code

test-versions: $(INSTALLED)
	$(BIN)/python -m scripts.versions $(ARGS)

# Side by side, as mypy takes as long as all the rest.
check: $(DOCS)
	@$(MAKE) --no-print-directory --jobs 2 check-python check-page docs

check-python: $(DOCS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-page: $(NODE_INSTALLED)
	$(BIOME) ci $(BIOME_ARGS)
	$(TSC)
	$(BIN)/python -m scripts.vendor --check

# Strict, as mkdocs.yml says: a link or anchor that leads nowhere fails it.
docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

bench: $(INSTALLED)
	$(BIN)/python bench/run.py $(ARGS)

faults: $(SERVERS)
	$(BIN)/python -m faults.run $(ARGS)

screenshots: $(SERVERS)
	$(BIN)/python -m scripts.screenshots

format: $(INSTALLED) $(NODE_INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIOME) check --write $(BIOME_ARGS)

vendor: $(NODE_INSTALLED)
	$(BIN)/python -m scripts.vendor

# The lock holds versions and hashes and no address, so that any package index can serve it.
LOCK := $(BIN)/uv pip compile --universal --python-version 3.10 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-strip-extras --no-annotate --no-header \
	--prerelease=if-necessary-or-explicit --upgrade --quiet
lock: $(INSTALLED)
	$(LOCK) pyproject.toml --group dev --output-file requirements.lock
	$(LOCK) --group servers --constraints requirements.lock --output-file requirements-servers.lock
	$(LOCK) --group docs --constraints requirements.lock --output-file requirements-docs.lock
	$(subst 3.10,3.11,$(LOCK)) --group peers --output-file requirements-peers.lock
	$(LOCK) --group page --constraints requirements.lock --output-file requirements-page.lock

dist: $(INSTALLED)
	$(BIN)/python -m hatchling build --clean

clean:
	rm -rf $(VENV) $(NODE_MODULES) build dist site .mypy_cache .pytest_cache .ruff_cache
	@$(MAKE) --no-print-directory -C $(EXAMPLE) clean
