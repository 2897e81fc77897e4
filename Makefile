PYTHON ?= python3
BIN = .venv/bin

help:      ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 12
run: .venv/ready      ## train on MNIST: runs notebooks/main.ipynb into runs/main/
	$(BIN)/digitgan run notebooks/main.ipynb
	@echo 'Look at runs/main/main.ipynb (make lab opens JupyterLab), progression.gif and the other files beside it.'
test: .venv/ready      ## the tests
	$(BIN)/python -m pytest
torture: .venv/ready      ## the long versions: 30 kills, 100,000 hostile inputs; writes asset/results/faults.csv
	$(BIN)/python -m pytest tests/robustness --torture -n 0
lint: .venv/ready      ## ruff over code and notebooks, mypy over the package
	$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy
lab: .venv/ready      ## open JupyterLab on main.ipynb
	$(BIN)/jupyter lab notebooks/main.ipynb
app: .venv/ready      ## the picker and the drawing pad as a web page, on this machine only
	$(BIN)/voila notebooks/handwriting.ipynb --Voila.ip=127.0.0.1
pretrained: .venv/ready      ## train the shipped generator (20 to 60 minutes on one core; stopped, it continues)
	OMP_NUM_THREADS=1 $(BIN)/digitgan train --config asset/configs/pretrained.json
	cp runs/pretrained/generator.safetensors asset/pretrained/cdcgan.safetensors
assets: pretrained      ## make the committed notebooks, generators and pictures again (6 hours; wants Chromium)
	rm -rf runs/main && $(BIN)/digitgan run notebooks/main.ipynb --in-place
	cp runs/main/progression.gif asset/
	$(BIN)/python -m pytest tests/browser -n 0 --screenshots runs/screenshots && cp runs/screenshots/picker.png runs/screenshots/pad.png asset/
	rm -rf runs/compare && $(BIN)/digitgan run notebooks/compare.ipynb --in-place
	cp runs/compare/compare.png runs/compare/compare.gif runs/compare/pipeline.png asset/
	rm -rf runs/recipe && $(BIN)/digitgan run notebooks/recipe.ipynb -p measure True -p long True
	$(BIN)/digitgan run notebooks/main.ipynb -p epochs 16 -p seed 0 1 2 --output runs/seeds --jobs 2
	cp runs/seeds/table.csv asset/results/seeds.csv
	$(BIN)/digitgan run notebooks/handwriting.ipynb -p measure True
	for n in recipe scorecard benchmark handwriting scale; do $(BIN)/digitgan run notebooks/$$n.ipynb --in-place; done
	cp runs/handwriting/walk.gif asset/
	for s in fcnn cnn; do cp runs/compare/$$s-120s/generator.safetensors asset/pretrained/$$s.safetensors; done
clean:      ## forget the environment; runs/ stays
	rm -rf .venv
.venv/ready: pyproject.toml
	@echo 'Installing into .venv: torch is large, this takes some minutes.'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $@

.PHONY: help run test torture lint lab app pretrained assets clean
