# Every command that README, CI and people use. `make` alone lists them.
#
#   make demo                 trains on two workers and leaves a grid of generated images
#   make demo DATA=my-images  the same on your own folder, archive or IDX file
#   make test                 what CI runs

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
DATA ?=
PYTEST_ARGS ?=
# Of `make dist`: the name of the published image and the address of the repository.
IMAGE ?=
SOURCE ?=
TOPIC ?=
# Processes of pytest: one more than cores, because the one that starts Ray mostly waits.
TEST_PROCESSES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
BIN := .venv/bin
TOOLS := $(CURDIR)/.tools/bin
UV_VERSION := 0.13.9
# Folders of tests/tools: for `make test`, and for starting a Kubernetes.
TEST_TOOLS := s3 helm kubeconform kubescore kustomize rayjob actionlint registry
CLUSTER_TOOLS := etcd coredns kubernetes kuberay netpol
# pytest ends with 5 if PYTEST_ARGS chose none of a command's tests.
NONE_IS_FINE = $(if $(PYTEST_ARGS),|| test $$? = 5)
# What these tests need beside .venv.
BESIDE := $(foreach name,release tracking export,.tools/$(name)/.installed)
# Tests of mark `live` that watch the clock, so that nothing may run beside them.
ALONE := tests/dashboards/test_live.py tests/chaos/test_images_seen.py

# Built tools come first; BIN is for the programs that tests start by name (`ray`, `dcgan-train`).
export PATH := $(TOOLS):$(CURDIR)/$(BIN):$(PATH)

pytest = $(BIN)/python -m pytest -q --numprocesses $(TEST_PROCESSES) --no-loadscope-reorder
# In memory if there is room for 2 GiB: the tests write 16,000 small files.
FAST_TMP = $(if $(shell [ -w /dev/shm ] && [ "$$(df --output=avail /dev/shm | tail -1)" -gt 2097152 ] \
  2>/dev/null && echo yes),/dev/shm,$${TMPDIR:-/tmp})
FAST := not s3 and not prometheus and not cluster and not training and not helm and not slow
say = @printf '\033[1m==>\033[0m %s\n'
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help
help: ## List these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  \033[1mmake %-10s\033[0m %s\n", $$1, $$2}' Makefile

# --- set-up ---------------------------------------------------------------------------------------

$(BIN)/pip:
	$(say) "Making .venv with $(PYTHON)"
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "$(PYTHON): not found; install Python 3.11, 3.12 or 3.13, or name one:" \
	    "make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "$$("$(PYTHON)" --version 2>&1) is $(PYTHON); expected Python 3.11, 3.12 or 3.13." \
	    "Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make a virtual environment; install Debian's python3-venv:" \
	    "apt-get install python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv

# A stamp is newer than the lock it was installed from, so a second `make` does nothing. The
# development lock contains the runtime lock.
.venv/.runtime: requirements.lock pyproject.toml | $(BIN)/pip
	$(say) "Installing requirements.lock into .venv (about 3 GB on disk, minutes the first time)"
	@$(install) --require-hashes -r requirements.lock
	@$(install) --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements-dev.lock requirements.lock pyproject.toml | $(BIN)/pip
	$(say) "Installing requirements-dev.lock into .venv (about 3 GB on disk, minutes the first time)"
	@$(install) --require-hashes -r requirements-dev.lock
	@$(install) --no-deps --no-build-isolation -e .
	@touch .venv/.runtime $@

.PHONY: venv
venv: .venv/.dev ## Make .venv with everything, from the hashed lock

.PHONY: tools
tools: ## Build the servers and checkers of the tests into .tools/bin (needs Go)
	$(say) "Building the tests' tools into .tools/bin"
	@bash tests/tools/build.sh $(TEST_TOOLS)
	@command -v prometheus >/dev/null || { \
	  echo "prometheus: not found; install Debian's:" \
	    "apt-get install --no-install-recommends prometheus" >&2; exit 1; }

# Libraries that tests of mark `live` use beside .venv, without what it has: tracking services and an
# MLflow server; the runtimes of exported generators.
.tools/%/.installed: tests/tools/%/requirements.txt .venv/.dev
	$(say) "Installing $< into .tools/$*"
	@rm -rf .tools/$*
	@$(install) --require-hashes --no-deps --target .tools/$* -r $<
	@touch $@

# Without them, tests are skipped, unless DCGAN_REQUIRE_TOOLS is 1.
.PHONY: tools-or-skip
tools-or-skip:
	@$(MAKE) tools || { test "$${DCGAN_REQUIRE_TOOLS:-}" != 1 && \
	  echo "The tests of missing tools are skipped, each by name." >&2; }

# --- use ------------------------------------------------------------------------------------------

.PHONY: demo
demo: .venv/.runtime ## Train for minutes on two workers; DATA=<folder, archive or IDX> for yours
	@.venv/bin/python -m job demo $(if $(DATA),--data "$(DATA)")

# --- checks ---------------------------------------------------------------------------------------

.PHONY: test
test: ## Lint, types, then all tests; PYTEST_ARGS="-k word" for some of them
	@$(MAKE) --jobs 2 .venv/.dev tools-or-skip
	@$(MAKE) lint
	$(say) "All tests"
	@$(pytest) --durations=10 $(PYTEST_ARGS)

.PHONY: test-fast
test-fast: .venv/.dev ## Tests without server, Ray, training and slow programs: a minute
	$(say) "Unit tests"
	@folder=$$(mktemp --directory --tmpdir="$(FAST_TMP)") && trap 'rm -rf "$$folder"' EXIT && \
	  TMPDIR="$$folder" $(pytest) --timeout-method=signal -m "$(FAST)" $(PYTEST_ARGS)

.PHONY: e2e
e2e: .venv/.dev $(BESIDE) ## Install on Kubernetes, of KUBECONFIG or started here (root; first 30 minutes)
	@bash tests/tools/build.sh $(TEST_TOOLS) helm3 $(if $(KUBECONFIG),,$(CLUSTER_TOOLS))
	$(say) "The image, the chart on a cluster, the dashboards of a run with faults"
	@DCGAN_E2E=1 $(BIN)/python -m pytest -q --durations=10 tests/container_image tests/e2e \
	  $(ALONE) $(PYTEST_ARGS) $(NONE_IS_FINE)
	$(say) "Tests that take too long for each change"
	@DCGAN_E2E=1 $(pytest) --durations=10 -m live $(addprefix --ignore=,$(ALONE)) $(PYTEST_ARGS) \
	  $(NONE_IS_FINE)

.PHONY: chaos
chaos: .venv/.dev ## 20 random kills, 100,000 hostile files, all faults of several hosts (root)
	@$(MAKE) tools
	$(say) "100,000 hostile files of each kind"
	@$(BIN)/python -m tests.fuzz --inputs 100000
	$(say) "20 random kills"
	@$(BIN)/python -m tests.chaos.kills --kills 20
	$(say) "Several hosts"
	@$(BIN)/python -m tests.chaos.hosts

.PHONY: lint
lint: .venv/.dev ## ruff and mypy (strict on job/config, job/storage and job/data)
	$(say) "ruff check, ruff format --check, mypy"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

.PHONY: format
format: .venv/.dev ## Put the code in the one format, and fix what ruff can
	$(say) "ruff format, ruff check --fix"
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# The libraries that bench/train_step.py compares with.
.tools/contenders/.installed: bench/train-step-requirements.txt | $(BIN)/pip
	$(say) "Installing bench/train-step-requirements.txt into .tools/contenders (8 GB)"
	@rm -rf .tools/contenders && $(BIN)/python -m venv .tools/contenders
	@.tools/contenders/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.PHONY: bench
bench: .venv/.dev .tools/contenders/.installed ## Measure speed into docs/performance.md; TOPIC=start for one
	@$(BIN)/python -m bench $(TOPIC)

# --- upkeep ---------------------------------------------------------------------------------------

.tools/uv-$(UV_VERSION)/bin/uv: | $(BIN)/pip
	$(say) "Installing uv $(UV_VERSION) into .tools"
	@$(BIN)/python -m venv .tools/uv-$(UV_VERSION)
	@.tools/uv-$(UV_VERSION)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# One universal resolution: the same files install on Python 3.11 to 3.13, Linux and macOS. The
# others keep to the versions of the first, but for the site's, which is installed alone.
compile = .tools/uv-$(UV_VERSION)/bin/uv pip compile --universal --python-version 3.11 \
  --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
  --custom-compile-command "make lock" --quiet $(if $(UPGRADE),--upgrade)
project = pyproject.toml --group build

.PHONY: lock
lock: .tools/uv-$(UV_VERSION)/bin/uv ## Write the lock files; UPGRADE=1 for newer versions
	$(say) "Resolving requirements*.lock and release/requirements.lock"
	@$(compile) $(project) --output-file requirements.lock
	@$(compile) $(project) --extra dev --constraints requirements.lock \
	  --output-file requirements-dev.lock
	@$(compile) $(project) --extra gpu --constraints requirements.lock \
	  --output-file requirements-gpu.lock
	@$(compile) release/requirements.in --output-file release/requirements.lock
	@$(compile) --group docs --output-file requirements-docs.lock
	@for name in tracking export; do \
	  cd $(CURDIR)/tests/tools/$$name; \
	  sed -n 's/ *\\$$//; /^[a-z]/{/^pillow==/!p}' $(CURDIR)/requirements.lock >.constraints; \
	  $(CURDIR)/$< pip compile requirements.in --constraints .constraints --universal \
	    --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	    --no-emit-find-links --quiet $(if $(UPGRADE),--upgrade) --custom-compile-command "make lock" \
	    $$(sed -n 's/^\([A-Za-z0-9_.-]*\)==.*/--no-emit-package \1/p' $(CURDIR)/requirements.lock) \
	    --output-file requirements.txt; rm .constraints; \
	done

.tools/docs/.installed: requirements-docs.lock | $(BIN)/pip
	$(say) "Installing requirements-docs.lock into .tools/docs"
	@$(BIN)/python -m venv --clear .tools/docs
	@.tools/docs/bin/pip install --quiet --disable-pip-version-check --require-hashes \
	  -r requirements-docs.lock
	@touch $@

.PHONY: docs
docs: .tools/docs/.installed ## Build the documentation's site into site/; broken links are errors
	$(say) "Building site/"
	@NO_MKDOCS_2_WARNING=1 .tools/docs/bin/mkdocs build --strict

.PHONY: generate
generate: .venv/.dev ## Write the generated files in docs, charts and k8s
	@bash tests/tools/build.sh helm
	@$(BIN)/python docs/generate.py
	@$(BIN)/python charts/generate.py
	@$(BIN)/python k8s/generate.py

.tools/release/.installed: release/requirements.lock | $(BIN)/pip
	$(say) "Installing release/requirements.lock into .tools/release"
	@$(BIN)/python -m venv --clear .tools/release
	@.tools/release/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.PHONY: dist
dist: .venv/.dev .tools/release/.installed ## Build wheel, sdist, chart, SBOM and licences into dist
	@bash tests/tools/build.sh helm
	$(say) "Building dist"
	@$(BIN)/python -m release.dist --out dist $(if $(IMAGE),--image "$(IMAGE)") \
	  $(if $(SOURCE),--source "$(SOURCE)")

.PHONY: clean
clean: ## Remove .venv, .tools, .demo, site and caches
	$(say) "Removing .venv, .tools, .demo, site and caches"
	@rm -rf .venv .tools .demo site build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
