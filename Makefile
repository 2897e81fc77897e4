PYTHON ?= python3
BIN = .venv/bin
# Programs run as modules, from this folder's source: so they still do after the folder has moved.
RUN = $(BIN)/python -m
export PYTHONPATH := $(CURDIR)/src$(if $(PYTHONPATH),:$(PYTHONPATH))
# A .venv whose Python is gone, or another one than it was made with, is made again.
WORKS := $(shell $(BIN)/python -c 'import pip, filelock' 2>/dev/null && echo yes)

# TORCH_INDEX: where to take PyTorch from, if not from where pip takes the rest (not tried)

help:      ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 12
run: .venv/ready      ## train on MNIST: runs notebooks/main.ipynb into runs/main/
	$(RUN) digitgan run notebooks/main.ipynb
	@echo 'Look at runs/main/main.ipynb (make lab opens JupyterLab), progression.gif and the other files beside it.'
	@echo 'runs/main/picker.html is the digit picker of your generator: open it in any browser, or send it to a friend.'
test: .venv/ready      ## the tests
	$(RUN) pytest
torture: .venv/ready      ## the long versions: 30 kills, 120,000 hostile inputs; writes asset/results/faults.csv
	$(RUN) pytest tests/robustness --torture -n 0
lint: .venv/ready      ## ruff over code and notebooks, mypy over the package
	$(RUN) ruff check && $(RUN) ruff format --check && $(RUN) mypy
lab: .venv/ready      ## open JupyterLab on main.ipynb
	$(RUN) jupyterlab notebooks/main.ipynb
app: .venv/ready      ## the picker and the drawing pad as a web page, on this machine only
	$(RUN) voila notebooks/handwriting.ipynb --Voila.ip=127.0.0.1
pretrained: .venv/ready      ## train the shipped generator (20 to 60 minutes on one core; stopped, it continues), its encoder and page
	OMP_NUM_THREADS=1 $(RUN) digitgan train --config asset/configs/pretrained.json
	cp runs/pretrained/generator.safetensors asset/pretrained/cdcgan.safetensors
	OMP_NUM_THREADS=1 $(BIN)/python -c "from digitgan.handwriting import encoder; from digitgan import load_generator; \
	  encoder.train_encoder(load_generator(), encoder.ENCODER)"
	$(RUN) digitgan page --out asset/picker.html
OLDER = dcgan fcnn fcnn-mended cnn linear cdcgan-multiply cdcgan-gp cdcgan-clipped resize
systems: $(addprefix system-,$(OLDER))      ## train the shipped generators of the older systems (days on one core; stopped, they continue)
system-%: .venv/ready
	OMP_NUM_THREADS=1 $(RUN) digitgan train --system $* --snapshot-interval 1 --run-dir runs/compare/$*
	$(BIN)/python -c "from digitgan import load_generator, save_generator; \
	  save_generator(load_generator('runs/compare/$*/generator.safetensors'), 'asset/pretrained/$*.safetensors', half=True)"
assets: pretrained      ## make the committed notebooks, generators and pictures again (9 hours; wants Chromium)
	rm -rf runs/main && $(RUN) digitgan run notebooks/main.ipynb --in-place
	cp runs/main/progression.gif asset/
	rm -rf runs/main-fp32 && $(RUN) digitgan run notebooks/main.ipynb -p precision fp32 -p run_dir runs/main-fp32 --output runs/main-fp32/main.ipynb
	$(RUN) pytest tests/browser -n 0 --screenshots runs/screenshots && cp runs/screenshots/picker.png runs/screenshots/pad.png asset/
	$(RUN) digitgan run notebooks/compare.ipynb -p measure True && $(RUN) digitgan run notebooks/compare.ipynb --in-place
	cp runs/compare/pipeline.png asset/ && cp runs/compare/compare.png asset/systems.png
	rm -rf runs/recipe && $(RUN) digitgan run notebooks/recipe.ipynb -p measure True -p grow True -p long True
	$(RUN) digitgan run notebooks/main.ipynb -p epochs 16 -p seed 0 1 2 --output runs/seeds --jobs 2
	cp runs/seeds/table.csv asset/results/seeds.csv
	$(RUN) digitgan run notebooks/handwriting.ipynb -p measure True -p recognise True
	for n in more-data neighbours stacked lessons/5-hacks; do $(RUN) digitgan run notebooks/$$n.ipynb -p measure True; done
	$(RUN) digitgan run notebooks/own-images.ipynb -p measure True -p fashion /usr/share/datasets/fashion-mnist
	for n in recipe scorecard benchmark handwriting scale more-data own-images neighbours stacked lessons/5-hacks; do $(RUN) digitgan run notebooks/$$n.ipynb --in-place; done
	cp runs/handwriting/walk.gif asset/
	$(MAKE) results
results: .venv/ready      ## write asset/results/README.md from the executed notebooks
	$(RUN) digitgan.app.results
clean:      ## forget the environment; runs/ stays
	rm -rf .venv
.venv/ready: pyproject.toml $(if $(WORKS),,again)
	@echo 'Installing into .venv: torch is large, this takes some minutes.'
	$(PYTHON) -m venv $(if $(WORKS),,--clear) .venv
	$(if $(TORCH_INDEX),$(RUN) pip install torch torchvision --index-url $(TORCH_INDEX))
	$(RUN) pip install --editable '.[dev]'
	@touch $@

again:

.PHONY: help run test torture lint lab app pretrained systems assets results clean again
