# Everything that people and CI do with this project; each target makes what it needs.
#   make squad   install, then fine-tune a real BERT on this machine
#   make test    all tests (BERTJOB_TEST_DATA=… for those on real SQuAD)
#   make faults  all combinations of injected faults, hours
#   make acceptance ENGINE=sarus IMAGE=load/library/bertjob:0.1.0 [SITE=my.yaml]   does an engine do what is needed? docs/acceptance.md
#   make check   the fast gate: style, types, imports, shell, docs
#   make bench   speed, as ratios of paired rounds
#   make proof   pre-train from raw text to SQuAD, some 10 minutes on two cores (BERTJOB_TEST_DATA=…)
#   make locks   the hashes of container/*.lock again, after a change of versions there
#   make regen   write again what is generated: examples, key reference, schemas
.PHONY: setup squad test faults acceptance check bench proof locks regen
.DEFAULT_GOAL := check

PYTHON ?= python3
# The CPU build where pip finds one; another version or index by TORCH=… and pip's own variables.
TORCH ?= torch==2.13.0
BIN := .venv/bin
SHELLS := $(shell git ls-files '*.sh' '*.sbatch' .ci/run ':!tests/lint' 2>/dev/null) # tests/lint holds faulty scripts on purpose

setup: .venv/ready

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bertjob needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet '$(TORCH)'
	DS_BUILD_OPS=0 $(BIN)/pip install --quiet --editable '.[demo,dev]'
	$(BIN)/python -m compileall -q bertjob  # also where PYTHONDONTWRITEBYTECODE is set: start-up time
	touch $@

squad: setup
	$(BIN)/bertjob run squad-demo

test: setup  # two workers: tests on the cluster mostly wait, and the others compute meanwhile
	$(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder

faults: setup  # hours: every fault with every launcher and engine, several times; docs/faults.md keeps the table
	$(BIN)/python -m pytest -m "(fault or faults) and not acceptance" --faults-table docs/faults.md

acceptance: setup  # minutes an engine; ENGINE, IMAGE, SITE and WORK come by the environment: docs/acceptance.md
	$(BIN)/python -m pytest -m acceptance -p no:cacheprovider --no-header tests/acceptance

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck $(SHELLS)
	$(BIN)/python -m pytest tests/test_docs.py

bench: setup
	$(BIN)/python -m tests.bench

proof: setup
	$(BIN)/python -m tests.bench.proof

locks: setup  # needs the indices that the locks name; LOCKS=container/requirements.lock for one of them
	$(BIN)/python -m tests.locks $(LOCKS)

regen: setup
	$(BIN)/python -m tests.regen
