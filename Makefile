# The few commands of this project. `make help` lists them. Everything they need is installed by `make setup`.
SHELL := /bin/bash
SITE ?= demo
FUZZ_SECONDS ?= 600
SEED ?= 1
VENV := .venv
PY := $(VENV)/bin/python
EDGEWRIGHT := $(VENV)/bin/edgewright

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test lint unit molecule e2e fuzz bench clean

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## Install what building and booting need (Debian packages, .venv/bin/edgewright)
	@.ci/setup

setup-test: ## Install what the tests need on top
	@.ci/setup test

demo: setup ## Build the image of inventories/$(SITE), boot it without a network, ask its model a question
	@$(EDGEWRIGHT) demo -i inventories/$(SITE)

test: setup-test ## Lint, unit tests, Molecule, and the end-to-end boot
	@.ci/test

lint: setup-test ## Linters and type checks
	@.ci/test lint

unit: setup-test ## Unit tests
	@.ci/test unit

molecule: setup-test ## Every role in a container that is like a blank machine
	@.ci/test molecule

e2e: setup-test ## Build the images and boot them
	@.ci/test e2e

fuzz: setup-test ## Import damaged virtual machines for FUZZ_SECONDS (600), other ones for each SEED
	@$(PY) -m ansible_collections.edgewright.edge.tests.fuzz.machine_sources --seconds $(FUZZ_SECONDS) --seed $(SEED)

bench: setup-test ## Measure builds, boots, flashing and inference side by side with the alternatives
	@$(PY) image-builder/bench/run.py --json build/bench.json

clean: ## Delete caches and outputs (not the store of downloads)
	@$(EDGEWRIGHT) clean --stages --output -i inventories/$(SITE)
