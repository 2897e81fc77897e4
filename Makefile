PYTHON ?= python3
BIN = .venv/bin

help:      ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 12
run: .venv/ready      ## train on MNIST: runs notebooks/main.ipynb into runs/main/
	$(BIN)/digitgan run notebooks/main.ipynb --output runs/main/main.ipynb
test: .venv/ready      ## the tests
	$(BIN)/python -m pytest
lint: .venv/ready      ## ruff over code and notebooks
	$(BIN)/ruff check && $(BIN)/ruff format --check
lab: .venv/ready      ## open JupyterLab on main.ipynb
	$(BIN)/jupyter lab notebooks/main.ipynb
clean:      ## forget the environment; runs/ stays
	rm -rf .venv
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv && echo 'Installing into .venv: torch is large, this takes some minutes' && $(BIN)/python -m pip install --editable '.[dev]' && touch $@

.PHONY: help run test lint lab clean
