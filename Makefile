# `make help` lists the targets. All that they write is inside this checkout, but for what the roles declare.
PORT ?= 8080
DATA ?= 0
ENVIRONMENT ?= dev

PLAYBOOK = .venv/bin/ansible-playbook
RUN = .venv/bin/python tests/run.py

.DEFAULT_GOAL := help
.PHONY: help demo demo-down pin-model test test-all check lint unit browser faults stacks slow sanity molecule bench bench-models bench-images bench-release bench-depot bench-docker-host lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/run.stamp ## Set up what is missing and deploy EmoRobCare on this machine (PORT=8080)
	$(PLAYBOOK) site.yml -i inventories/$(ENVIRONMENT) -e fleet_port=$(PORT)

demo-down: .venv/run.stamp ## Remove what demo deployed; its data and models too with DATA=1
	$(PLAYBOOK) playbooks/down.yml -i inventories/$(ENVIRONMENT) -e fleet_data=$(DATA)

pin-model: .venv/run.stamp ## Find out the pins of a model: MODEL=org/repo (or SOURCE=url) NAME=… VERSION=…
	@mkdir -p .cache; rm -f .cache/pin.yml
	@$(PLAYBOOK) playbooks/pin.yml -i localhost, -e pin_dest=$(CURDIR)/.cache/pin.yml \
	  -e "pin_name='$(NAME)' pin_version='$(VERSION)'" \
	  $(if $(MODEL),-e "pin_model='$(MODEL)'") $(if $(REVISION),-e "pin_revision='$(REVISION)'") \
	  $(if $(INCLUDE),-e "pin_include='$(INCLUDE)'") $(if $(EXCLUDE),-e "pin_exclude='$(EXCLUDE)'") \
	  $(if $(SOURCE),-e "pin_sources='$(SOURCE)'") $(if $(HUB_URL),-e "pin_hub_url='$(HUB_URL)'") >&2
	@echo models: && sed '1d; s/^/  /' .cache/pin.yml

test: .venv/test.stamp ## Run everything that CI runs
	$(RUN) test

test-all: .venv/test.stamp ## Run that, and what takes long
	$(RUN) test-all

check: .venv/test.stamp ## Run what needs no Docker: linters, types, documentation, unit tests
	$(RUN) check

lint unit browser faults stacks slow sanity molecule: .venv/test.stamp
	$(RUN) $@

bench: .venv/test.stamp ## Measure, and write bench/results.json and a table
	.venv/bin/python tests/bench/run.py

bench-models: .venv/test.stamp ## Measure model_pull beside others; write bench/models.json, docs/measurements.md
	.venv/bin/python tests/bench/models.py

bench-images: .venv/test.stamp ## Measure images beside naive ones; write bench/images.json, docs/measurements.md
	.venv/bin/python tests/bench/images.py

bench-release: .venv/test.stamp ## Measure releases beside others; write bench/release.json, docs/measurements.md
	.venv/bin/python tests/bench/release.py

bench-depot: .venv/test.stamp ## Measure depots beside others; write bench/depot.json, docs/measurements.md
	.venv/bin/python tests/bench/depot.py

bench-docker-host: .venv/test.stamp ## Measure restarts of the engine; write bench/docker-host.json, docs/measurements.md
	.venv/bin/python tests/bench/docker_host.py

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
