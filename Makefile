# make demo   the main job, from the text on this machine to a served BERT (6 to 16 minutes on 2 cores)
# make test   the tests (15 to 30 minutes on 2 cores)
# Both make their own environment in .venv; PYTHON chooses the interpreter it is made from.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= --output demo
BIN := $(VENV)/bin

.PHONY: demo test lint clean

demo: $(VENV)/demo.done
	$(BIN)/python docs/demo/run.py $(DEMO)

test: $(VENV)/test.done
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# A stamp says that a step is whole: it is done again after an interruption, and when the requirements change.
$(VENV)/venv.done:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo.done: setup.cfg constraints.txt | $(VENV)/venv.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/test.done: setup.cfg constraints.txt | $(VENV)/venv.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo
