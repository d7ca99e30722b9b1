# Everything there is to run. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SHORT := METERWAY_DIALECT_EXAMPLES=5000 METERWAY_FUZZ_INPUTS=200000 $(BIN)/pytest -m "not long and not programs"
# Tests that watch the clock run one after the other, those of many processes beside each other.
ALONE := tests/chaos/test_cuts.py tests/chaos/test_outage.py tests/door tests/pipeline tests/rows tests/stores/redis tests/upstream
CROWDED := tests/chaos tests/workflows
BESIDE := -n 2 --dist loadfile --no-loadscope-reorder

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

$(READY): pyproject.toml constraints.txt deploy/setup-venv.sh
	@bash deploy/setup-venv.sh $(VENV)
	@touch $@

.venv-fast/.ready: $(READY) $(shell git ls-files gateway) pyproject.toml deploy/setup-fast.sh deploy/native.py benchmarks/training.py benchmarks/servers.py
	@bash deploy/system-needs.sh fast
	@bash deploy/setup-fast.sh .venv-fast
	@touch $@

fast: .venv-fast/.ready  ## the same gateway with its hot rooms compiled (needs a C compiler), in .venv-fast

setup: $(READY)  ## create .venv with everything pinned

run: $(READY)  ## set up, then serve the quick start on http://127.0.0.1:8080
	@exec bash deploy/quickstart.sh

sim: $(READY)  ## run the provider simulator alone on port 9000
	@exec $(BIN)/meterway sim --port 9000

check: $(READY)  ## format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY)  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

system-needs:
	@bash deploy/system-needs.sh

test: $(READY) system-needs  ## every test of the short programme (under 20 minutes on 2 cores)
	$(SHORT) $(BESIDE) tests $(CROWDED:%=--ignore=%) $(ALONE:%=--ignore=%)
	$(SHORT) $(BESIDE) $(CROWDED) $(ALONE:%=--ignore=%)
	$(SHORT) $(ALONE)

test-fast: $(READY) fast system-needs  ## the tests of the gateway against what `make fast` has compiled
	@bash deploy/test-fast.sh .venv .venv-fast

test-clients: $(READY)  ## real programs (Claude Code, Codex, opencode, aider, pydantic-ai, openai-agents, llm) on targets of other dialects
	$(BIN)/pytest tests/e2e -m programs --timeout 600

test-long: $(READY) system-needs  ## the long programme: more examples, more kills, soak
	$(BIN)/pytest -m long --timeout 3600

goldens: $(READY)  ## write the approved translations anew, for a person to read the difference
	$(BIN)/python -m tests.dialects.goldens

bench: $(READY) fast  ## ratios against nginx (BENCH_PEERS=1: also LiteLLM and Portkey), the loop of agents, into benchmarks/results/
	@bash deploy/system-needs.sh bench
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.agents

micro: $(READY)  ## microbenchmarks of the stations, no sockets
	$(BIN)/python -m benchmarks.micro

clean:  ## remove .venv and caches
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help setup fast run sim check fix goldens system-needs test test-clients test-fast test-long bench micro clean
