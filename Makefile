# make demo: train, sample and judge a generator on real digits. make test: the tests.
# Both make the virtual environment first if it is not there; a second call installs nothing.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test test-slow check bench bench-speed bench-peak bench-scaling bench-quality bench-drawing bench-samplers bench-recipes bench-gans bench-latent bench-coverage docs

demo: $(VENV)/.installed-offline
	$(BIN)/safelight demo

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n auto --dist loadfile

test-slow: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -n auto --dist load

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

# Each prints JSON. DATA is a folder that holds cifar10.zip, flowers5.zip and mnist/.
DATA ?= ../shared/data
OUT ?= runs/bench
bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/moments.py
	$(BIN)/python benchmarks/equality.py $(DATA)/cifar10.zip --out $(OUT)/equality
	$(BIN)/python benchmarks/memorisation.py level
	$(BIN)/python benchmarks/memorisation.py learn --out $(OUT)/memorisation
	$(BIN)/python benchmarks/frechet.py
	$(BIN)/python benchmarks/few.py digits --features pixels
	$(BIN)/python benchmarks/few.py $(DATA)/cifar10.zip --pictures 1000
	$(BIN)/python benchmarks/evaluate_cost.py memory
	$(BIN)/python benchmarks/evaluate_cost.py rate $(DATA)/cifar10.zip
	$(BIN)/python benchmarks/evaluate_cost.py bf16 $(DATA)/cifar10.zip
	$(BIN)/python benchmarks/fd_curve.py $(DATA)/cifar10.zip --out $(OUT)/fd-curve
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/prepare.py speed $(DATA)/cifar10.zip
	$(BIN)/python benchmarks/prepare.py memory $(DATA)/flowers5.zip
	$(BIN)/python benchmarks/prepare.py kills $(DATA)/flowers5.zip
	$(BIN)/python benchmarks/prepare.py scale $(DATA)/flowers5.zip
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/profile_cost.py $(DATA)/cifar10.zip
	$(BIN)/python benchmarks/mirror.py digits $(DATA)/mnist $(DATA)/cifar10.zip $(DATA)/flowers5.zip
	$(BIN)/python benchmarks/train_memory.py $(DATA)/cifar10.zip
	$(BIN)/python benchmarks/recognised.py digits --split 70/5/25 --budget 150s --n 500 \
	    --features classifier --out $(OUT)/digits
	$(BIN)/python benchmarks/recognised.py $(DATA)/mnist --budget 15m --n 2000 --out $(OUT)/mnist
	$(BIN)/python benchmarks/editing.py $(OUT)/mnist $(DATA)/mnist:test

# KID against evaluations of the network, every sampler on one model of RUN.
RUN ?= runs/mnist-small
bench-samplers: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/samplers.py $(RUN) --out $(OUT)/samplers-$(notdir $(RUN))

bench-speed: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/speed.py $(DATA)/cifar10.zip
	$(BIN)/python benchmarks/speed.py $(DATA)/flowers5.zip --side 64 --steps 1

# The bar is 0.55 of the peak, and is not reached.
bench-peak: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/peak.py $(DATA)/cifar10.zip

# What should be linear: seconds against size, and the exponent.
bench-scaling: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/scaling.py $(DATA)/flowers5.zip

bench-drawing: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/drawing.py batches
	$(BIN)/python benchmarks/drawing.py guidance
	$(BIN)/python benchmarks/drawing.py faults --features $(DATA)/cifar10.zip

# Some ten hours on two quiet cores, and it goes on where it was.
bench-quality: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/quality.py $(DATA)/cifar10.zip --out $(OUT)/quality

bench-recipes: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/recipes.py $(DATA)/mnist --budget 10m --out $(OUT)/recipes

bench-gans: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/gans.py $(DATA)/cifar10.zip --classes cat frog --out $(OUT)/gans

bench-latent: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/latent.py quality $(DATA)/flowers5.zip --out $(OUT)/latent
	$(BIN)/python benchmarks/latent.py memory $(DATA)/flowers5.zip --size 128 --out $(OUT)/latent-128

# Hours, and it goes on where it was: how often each interval holds the truth.
bench-coverage: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/coverage.py --out $(OUT)/coverage

$(VENV)/.installed-%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	touch $@
