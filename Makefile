# `make help` lists the targets. All that they write is inside this checkout, but for what the roles declare.
PORT ?= 8080
DATA ?= 0
ENVIRONMENT ?= dev

PLAYBOOK = .venv/bin/ansible-playbook
RUN = .venv/bin/python tests/run.py

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test check lint unit faults sanity molecule bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/run.stamp ## Set up what is missing and deploy EmoRobCare on this machine (PORT=8080)
	$(PLAYBOOK) site.yml -i inventories/$(ENVIRONMENT) -e fleet_port=$(PORT)

demo-down: .venv/run.stamp ## Remove what demo deployed; its data and models too with DATA=1
	$(PLAYBOOK) playbooks/down.yml -i inventories/$(ENVIRONMENT) -e fleet_data=$(DATA)

test: .venv/test.stamp ## Run everything that CI runs
	$(RUN) test

check: .venv/test.stamp ## Run what needs no Docker: linters, types, documentation, unit tests
	$(RUN) check

lint unit faults sanity molecule: .venv/test.stamp
	$(RUN) $@

bench: .venv/test.stamp ## Measure, and write bench/results.json and a table
	.venv/bin/python tests/bench/run.py

lock: .venv/test.stamp ## Bring the lock files to the newest versions that pyproject.toml allows
	.ci/lock

clean: ## Remove .venv, caches and test output
	rm -rf .venv .ansible .cache .mypy_cache .pytest_cache .ruff_cache tests/output

.venv/run.stamp: requirements.txt .ci/venv
	@.ci/venv requirements.txt
	@touch $@

.venv/test.stamp: requirements-test.txt .venv/run.stamp
	@.ci/venv requirements-test.txt
	@touch $@
