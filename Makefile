# make demo | test | check | test-gpu | test-gguf | test-llamafactory.  Without make: see README.md (python -m venv, pip install, stylellm demo).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check test-gpu test-gguf test-llamafactory clean

# torch first: its CPU build, where pip is pointed at one, is not replaced by what others ask for.
$(STAMP): requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -r requirements.txt
	touch $(STAMP)

$(VENV)/.dev: $(STAMP)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $(VENV)/.dev

demo: $(STAMP)
	$(BIN)/stylellm demo

# What make test leaves out: tests that need a GPU, or minutes of installing.
ELSEWHERE := gpu or llamacpp or llamafactory

# Two processes of one thread each: threads that wait for one another take longer over models as small as these.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not ($(ELSEWHERE))"

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not (slow or corpus or $(ELSEWHERE))"

test-gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m gpu

# Compiles llama-cpp-python: about 15 minutes on one core.
test-gguf: $(VENV)/.dev
	$(BIN)/python -m pip install -q "llama-cpp-python>=0.3.16"
	$(BIN)/python -m pytest -m llamacpp

# Installs LLaMA-Factory beside it, several GB (STYLELLM_LLAMAFACTORY_VENV names one that is there).
test-llamafactory: $(VENV)/.dev
	test -n "$(STYLELLM_LLAMAFACTORY_VENV)" || $(BIN)/python scripts/train_llamafactory.py --install
	$(BIN)/python -m pytest -m llamafactory

clean:
	rm -rf $(VENV) build output prepared .pytest_cache .mypy_cache .ruff_cache
