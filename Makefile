# Two commands do everything: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STUDY ?= demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: help run test quick lint type golden accuracy replay screenshots site install browser database clean

help:
	@echo "make run    install, size a 125M model, run a short search, print its frontier and report"
	@echo "make test   install what tests need, then lint, types and all tests"
	@echo "make quick  the fast tests only"
	@echo "make accuracy  write docs/accuracy.md anew: predicted against published"
	@echo "make replay  write docs/replay.md, docs/verdicts.md and docs/proxies.md anew: the search on tables of trained models"
	@echo "make site   build the documentation site into build/site"
	@echo "make screenshots  take the README's pictures anew from the example study"
	@echo "make lint | type | golden | clean"

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit("sizer needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test,lint,site]'
	@touch $@

install: $(VENV)/.installed

run: $(VENV)/.installed
	$(BIN)/sizer estimate --params 125M --bits 4 --device raspberry-pi-5
	$(BIN)/sizer search run --device raspberry-pi-5 --max-size 1MB --trials 10 --steps 200 --study $(RUN_STUDY)

browser:
	@sh .ci/install-chromium

database:
	@sh .ci/install-postgresql

# Searches of two tests at a time: with threads that spin while they wait, each takes five times as long.
test: $(VENV)/.installed-test browser database lint type
	GOMP_SPINCOUNT=1000 $(BIN)/python -m pytest -m "not timing" --numprocesses 2 --dist loadfile
	$(BIN)/python -m pytest -m timing

quick: $(VENV)/.installed-test
	GOMP_SPINCOUNT=1000 $(BIN)/python -m pytest -m "not slow and not timing and not browser" --numprocesses 2 --dist loadfile

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.installed-test
	$(BIN)/mypy

golden: $(VENV)/.installed-test
	$(BIN)/python -m pytest tests/reports tests/test_cli.py --overwrite-golden

accuracy: $(VENV)/.installed-test
	$(BIN)/python -m sizer.calibration.held_out
	$(BIN)/python benchmarks/accuracy/accuracy.py

replay: $(VENV)/.installed-test
	$(BIN)/python benchmarks/replay/replay.py
	$(BIN)/python benchmarks/replay/verdicts.py
	$(BIN)/python benchmarks/replay/scaled.py

# mkdocs 1.6 and a plugin print notices about its future, which these variables switch off
site: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict
	@echo "build/site/index.html (its search needs a server: cd build/site && python -m http.server --bind 127.0.0.1)"

screenshots: $(VENV)/.installed-test browser
	$(BIN)/python benchmarks/explorer/screenshots.py

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
