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
OLDER = dcgan fcnn fcnn-mended cnn linear cdcgan-multiply cdcgan-gp cdcgan-clipped resize
systems: $(addprefix system-,$(OLDER))      ## train the shipped generators of the older systems (days on one core; stopped, they continue)
system-%: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/digitgan train --system $* --snapshot-interval 1 --run-dir runs/compare/$*
	$(BIN)/python -c "from digitgan import load_generator, save_generator; \
	  save_generator(load_generator('runs/compare/$*/generator.safetensors'), 'asset/pretrained/$*.safetensors', half=True)"
assets: pretrained      ## make the committed notebooks, generators and pictures again (6 hours; wants Chromium)
	rm -rf runs/main && $(BIN)/digitgan run notebooks/main.ipynb --in-place
	cp runs/main/progression.gif asset/
	$(BIN)/python -m pytest tests/browser -n 0 --screenshots runs/screenshots && cp runs/screenshots/picker.png runs/screenshots/pad.png asset/
	$(BIN)/digitgan run notebooks/compare.ipynb -p measure True && $(BIN)/digitgan run notebooks/compare.ipynb --in-place
	cp runs/compare/compare.png runs/compare/pipeline.png asset/
	rm -rf runs/recipe && $(BIN)/digitgan run notebooks/recipe.ipynb -p measure True -p long True
	$(BIN)/digitgan run notebooks/main.ipynb -p epochs 16 -p seed 0 1 2 --output runs/seeds --jobs 2
	cp runs/seeds/table.csv asset/results/seeds.csv
	$(BIN)/digitgan run notebooks/handwriting.ipynb -p measure True
	for n in recipe scorecard benchmark handwriting scale; do $(BIN)/digitgan run notebooks/$$n.ipynb --in-place; done
	cp runs/handwriting/walk.gif asset/
clean:      ## forget the environment; runs/ stays
	rm -rf .venv
.venv/ready: pyproject.toml
	@echo 'Installing into .venv: torch is large, this takes some minutes.'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $@

.PHONY: help run test torture lint lab app pretrained systems assets clean
