# Two commands matter: `make demo` runs the whole toolkit on an example, `make test` checks it. Both make .venv first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# More options for pip, for example: make install PIP_OPTIONS='--extra-index-url ADDRESS-OF-PYTORCH-CPU-BUILDS'
PIP_OPTIONS ?=
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --no-input $(PIP_OPTIONS) \
	-c constraints/cpu.txt
NEEDS := pyproject.toml constraints/cpu.txt
DEMO ?= demo
# Where `make pictures` keeps the demos whose reports are pictured.
PICTURED ?= pictured
# What `make golden` compares with, where the goldens of both go, and real input for them where there is any.
BASE ?= HEAD
GOLDENS ?= goldens
SHARED ?= $(wildcard shared/data)
# What the installation writes last, so that an interrupted one is taken up again.
RUNNABLE := $(VENV)/.polycli-runnable
COMPLETE := $(VENV)/.polycli-complete
INTEROP := .venv-interop
CATALOGUES := .venv-catalogues
BROWSER := .venv-browser
GOLDEN := $(BIN)/python tests/golden/make_goldens.py

.PHONY: help install demo test test-slow test-docs test-wheel docs pictures test-interop test-browser stress attack golden reproduce-mpp study-rollouts reproduce-xval race \
	reproduce-astroclip lint format \
	bench clean

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

install: $(COMPLETE)  ## make .venv with everything, for use and for development

demo: $(RUNNABLE)  ## simulate, prepare, pretrain and eval MPP, into demo/
	$(BIN)/polycli demo mpp --output $(DEMO)

test: lint  ## linters and all fast tests
	$(BIN)/pytest -m "not slow and not attack and not interop and not browser and not docs and not wheel" --numprocesses 2 --dist loadfile

test-slow: $(COMPLETE)  ## the tests that take minutes
	$(BIN)/pytest -m slow

test-docs: $(COMPLETE)  ## run every block of README and docs as it stands, trainings too; POLYCLI_DOCS_SHORT=1 trains two steps
	$(BIN)/pytest -m docs --numprocesses 2 --dist worksteal --verbose -o faulthandler_timeout=3550 tests/docs

test-wheel: $(COMPLETE)  ## install the wheel in a fresh environment on each Python that is claimed: demo, help, completion; PIP_OPTIONS as for install
	PIP_OPTIONS='$(PIP_OPTIONS)' $(BIN)/pytest -m wheel -o faulthandler_timeout=3500 tests/install

docs: $(COMPLETE)  ## build the site into site/: every page, with references made from the program; fails for a broken link or another host
	$(BIN)/python -m tools.pages
	$(BIN)/python -m zensical build --strict
	$(BIN)/python -m tools.check_site site

# Demos of all families, trained once; from then on only their pictures are taken again.
pictures: docs $(BROWSER)/.complete  ## take the documentation's pictures of reports and the site with Chromium, after a demo of each family
	for family in mpp xval astroclip; do test -e $(PICTURED)/$$family/report/report.html || $(BIN)/polycli demo $$family --output $(PICTURED)/$$family; done
	$(BROWSER)/bin/python tests/browser/pictures.py $(PICTURED) site docs/images

test-interop: $(INTEROP)/.complete $(CATALOGUES)/.complete  ## compare with packages that clash with ours and each other, in environments of their own
	$(INTEROP)/bin/pytest -m interop --ignore tests/interop/catalogues tests/interop
	$(CATALOGUES)/bin/pytest -m interop -o faulthandler_timeout=900 tests/interop/catalogues

test-browser: $(COMPLETE) $(BROWSER)/.complete  ## use the page of `serve` in Chromium, which is installed where that is allowed
	command -v chromium chromium-browser google-chrome >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& apt-get install -y --no-install-recommends chromium >/dev/null; } || echo "no Chromium: the tests will be skipped" >&2
	PYTHONPATH=. POLYCLI_PYTHON=$(BIN)/python $(BROWSER)/bin/pytest -m browser --confcutdir=tests/browser tests/browser

stress: $(COMPLETE)  ## kill and stop runs and embeds at random instants, some 300 times; up to 20 minutes on a quiet machine
	$(BIN)/pytest -m stress -o faulthandler_timeout=3600 tests/stress

golden: $(COMPLETE)  ## compare short runs of all families, bit for bit, with another commit's: make golden BASE=COMMIT
	mkdir -p $(GOLDENS)
	tree=$$(mktemp -d); trap 'git worktree remove --force "$$tree"' EXIT; git worktree add --quiet --detach "$$tree" $(BASE); \
		$(GOLDEN) $(GOLDENS)/base.json --tree "$$tree" $(addprefix --shared ,$(SHARED)); \
		$(GOLDEN) $(GOLDENS)/here.json $(addprefix --shared ,$(SHARED)); \
		$(GOLDEN) --compare $(GOLDENS)/base.json $(GOLDENS)/here.json

attack: $(COMPLETE)  ## damaged and forged files of every kind, some 2,800; 10 minutes on 2 cores
	$(BIN)/pytest -m attack -s -o faulthandler_timeout=1700 tests/attacks

reproduce-mpp: $(RUNNABLE)  ## the MPP transfer study: pretrained against scratch on withheld physics, into reproductions/mpp
	$(BIN)/polycli study mpp --recipe mpp_transfer_study --output reproductions/mpp --jobs 2

study-rollouts: $(RUNNABLE)  ## every switch against growing forecasts, alone and together, into reproductions/rollouts
	@echo "32 runs of 55 s of training and about 20 s of start and scores, one core each: 40 core-minutes; what is done stays done"
	OMP_NUM_THREADS=1 $(BIN)/polycli study mpp --recipe mpp_rollout_study --output reproductions/rollouts --jobs 2

reproduce-xval: $(RUNNABLE)  ## the xVal study: encodings compared on small data, into reproductions/xval
	$(BIN)/polycli study xval --recipe xval_study --output reproductions/xval --jobs 2

race: $(RUNNABLE)  ## the race of number encodings, eight and digits with a loss between them, into reproductions/xval_race
	@echo "102 runs of about 25 s of training and 8 s of start and scores, one core each: 55 core-minutes; what is done stays done"
	OMP_NUM_THREADS=1 $(BIN)/polycli study xval --recipe xval_race_study --output reproductions/xval_race --jobs 2

reproduce-astroclip: $(RUNNABLE)  ## the AstroCLIP study: a simulated survey through all stages, into reproductions/astroclip
	$(BIN)/polycli study astroclip --recipe astroclip_study --output reproductions/astroclip

lint: $(COMPLETE)  ## ruff, mypy, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(COMPLETE)  ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(COMPLETE)  ## every speed that the documentation quotes
	for benchmark in benchmarks/[a-z]*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark; done

clean:  ## remove .venv and what the tools left; runs and stores stay
	rm -rf site docs/reference $(VENV) $(INTEROP) $(CATALOGUES) $(BROWSER) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "polycli needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNNABLE): $(NEEDS) | $(BIN)/python
	$(PIP_INSTALL) -e .
	touch $@

$(COMPLETE): $(NEEDS) | $(BIN)/python
	$(PIP_INSTALL) -e '.[dev]'
	touch $(RUNNABLE) $@

# Playwright alone: the page is served by $(VENV), and Chromium is the system's.
$(BROWSER)/.complete: tests/browser/requirements.txt
	$(PYTHON) -m venv $(BROWSER)
	$(BROWSER)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-input $(PIP_OPTIONS) -r $<
	touch $@

# Our constraints hold there too, but for what the other packages pin themselves.
$(INTEROP)/.complete $(CATALOGUES)/.complete: %/.complete: $(NEEDS) tests/interop/requirements.txt tests/interop/catalogues/requirements.txt
	$(PYTHON) -m venv $*
	grep -v '^fsspec==' constraints/cpu.txt >$*/constraints.txt
	$*/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-input $(PIP_OPTIONS) \
		-c $*/constraints.txt -e . -r $(if $(filter $(CATALOGUES),$*),tests/interop/catalogues,tests/interop)/requirements.txt
	touch $@
