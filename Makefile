# Every command of the project; `make help` lists them. CI runs the same ones (.ci/run).

PYTHON ?= python3
IMAGES ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Triton's server has a folder of its own: its wheel asks for other versions of what Lenswatch uses.
TRITON_WHEEL := $(shell sed -n 's/^WHEEL = "\(.*\)"/\1/p' workers/local/triton.py)
TRITON := .lenswatch/triton-server
TRITON_INSTALLED := $(TRITON)/.$(subst ==,-,$(TRITON_WHEEL))

AUDIT := .lenswatch/audit

# In every process of the tests: threads that spin while they wait for one another's cores take twice the time.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

# torch first and by itself, so that a CPU build from a configured index or folder is taken where there is one.
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)

# Our own constraints take the place of those that a user's pip configuration may hold.
PIP := PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_USER=0 $(BIN)/python -m pip --disable-pip-version-check

SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)

# $(call apt,CHECK,PACKAGE,WHY): install a Debian package where CHECK fails, saying so first.
apt = @$(1) >/dev/null 2>&1 || { echo "Installing $(2) with apt-get: $(3)"; \
	$(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends $(2); }

python_says = $(shell $(PYTHON) -c "import sys, sysconfig; print($(1))")
python_version = $(call python_says,'%d.%d' % sys.version_info[:2])
python_library = LD_LIBRARY_PATH=$(call python_says,sysconfig.get_config_var('LIBDIR')) \
	$(PYTHON) -c "import ctypes; ctypes.CDLL('libpython$(python_version).so.1.0')"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install system up demo test lint types layers check fmt audit bench chaos soak lanes hostile fuzz e2e screenshots big clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: install ## start everything on this machine and score sample images (ARGS=--once: then stop)
	@$(BIN)/lenswatch up $(ARGS)

demo: install ## the same with your own images: make demo IMAGES=folder
	@test -d "$(IMAGES)" || { echo "usage: make demo IMAGES=folder"; exit 2; }
	@$(BIN)/lenswatch up --images "$(IMAGES)" $(ARGS)

# Files in their own order: the long ones come first, and the short ones at the end keep both processes busy.
test: install ## the whole test suite, with coverage, on two processes (ARGS=... goes to pytest)
	$(ONE_THREAD) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(ARGS)

lint: $(INSTALLED) ## style and likely mistakes (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED) ## types (mypy, strict); served models one by one, for they share a file name
	$(BIN)/mypy
	@for model in $(wildcard triton_models/*/*/model.py); do $(BIN)/mypy $$model || exit 1; done

layers: $(INSTALLED) ## who may import whom (import-linter)
	$(BIN)/lint-imports

check: lint types layers test ## all of the above, as CI does

fmt: $(INSTALLED) ## format the code and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

audit: $(INSTALLED) ## known vulnerabilities in the pinned dependencies (asks the package index)
	$(PIP) check
	@$(PYTHON) -m venv $(AUDIT)
	@PIP_CONSTRAINT=/dev/null $(AUDIT)/bin/python -m pip install --quiet pip-audit
	$(AUDIT)/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

bench: install ## images per second and the share of each stage
	@$(BIN)/lenswatch bench --images 200 $(ARGS)

chaos: install ## break everything on purpose under load, one fault a row; half an hour (ARGS="--only Redis")
	$(call apt,test -e /usr/lib/*/faketime/libfaketime.so.1,libfaketime,one of the faults is a clock that jumps)
	@$(BIN)/python -m tests.chaos faults $(ARGS)

soak: install ## does memory grow over 10,000 events?
	@$(BIN)/python -m tests.chaos soak $(ARGS)

lanes: install ## latency of live uploads, alone and beside a backfill of 5,000
	@$(BIN)/python -m tests.chaos lanes $(ARGS)

hostile: install ## hostile files through the whole stack, a table, and every promise checked (ARGS="--shared DIR")
	@$(BIN)/python -m tests.chaos.hostile $(ARGS)

fuzz: $(INSTALLED) ## coverage-guided fuzzing of what reads untrusted bytes; an hour (ARGS="--seconds 60")
	@for target in decode events exif provenance; do $(BIN)/python -m tests.fuzz $$target $(ARGS) || exit 1; done

e2e: install ## a reviewer's hour in Debian's Chromium, and every page for accessibility (ARGS=... goes to pytest)
	$(call apt,test -x /usr/bin/chromium,chromium,the tests drive it through the review desk)
	$(BIN)/pytest -m browser tests/browser $(ARGS)

screenshots: install ## pictures of every page, light and dark, into docs/desk
	$(call apt,test -x /usr/bin/chromium,chromium,it draws the pages)
	@$(BIN)/python -m tests.browser $(ARGS)

big: install ## five million scores and 100,000 open reviews, and how long each page takes on them; 30 GB
	@$(BIN)/python -m tests.big load
	@$(BIN)/python -m tests.big measure $(ARGS)

clean: ## remove the virtual environment, Triton's server and caches; data in .lenswatch stays
	rm -rf $(VENV) $(TRITON) $(AUDIT) *.egg-info build dist htmlcov .coverage* .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .import_linter_cache
	find pipeline workers tests migrations triton_models -name __pycache__ -type d -prune -exec rm -rf {} +

install: $(INSTALLED) $(TRITON_INSTALLED) ## what the other commands do first: environment and Triton's server

system:
	$(call apt,exiftool -ver,libimage-exiftool-perl,ExifTool reads the EXIF of every upload)
	$(call apt,$(PYTHON) -c "import ensurepip",python3-venv,it creates virtual environments)
	$(call apt,echo '#include <cmath>' | c++ -E -x c++ -,g++,it compiles PDQ and the fast trunk)
	$(call apt,$(python_library),libpython$(python_version),Triton runs models in it)

$(INSTALLED): pyproject.toml constraints.txt | system
	@echo "Installing Lenswatch into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet $(TORCH)
	@$(PIP) install --quiet --editable '.[local,dev]'
	@touch $@

$(TRITON_INSTALLED): | $(INSTALLED)
	@echo "Installing $(TRITON_WHEEL) into $(TRITON)"
	@rm -rf $(TRITON)
	@$(PIP) install --quiet --no-deps --target $(TRITON) '$(TRITON_WHEEL)'
	@touch $@
