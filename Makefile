# make demo   the main job, from the text on this machine to a served BERT (about 10 minutes on 2 cores)
# make test   the tests (about 10 minutes on 2 cores)
# Both make their own environment in .venv; PYTHON chooses the interpreter it is made from.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= --output demo
BIN := $(VENV)/bin

.PHONY: demo test lint clean

demo: $(VENV)/demo.done
	$(BIN)/python docs/demo/run.py $(DEMO)

test: $(VENV)/test.done
	$(BIN)/python -m pytest

lint: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp a set of dependencies: installed again when the requirements change, and after an interruption.
$(VENV)/demo.done: setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/test.done: setup.cfg constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo
