# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Every target sets up what it needs: the environment in .venv is made when it is missing or broken, and brought up to
# date when pyproject.toml or constraints.txt is newer than its stamp.
#
#   make test TESTS=tests/house          a part of the tests (any pytest arguments)
#   make setup PYTHON=python3.12         another Python, for a new .venv
#   make test JOBS=8                     more worker processes

PYTHON ?= python3
JOBS   ?= 2
TESTS  ?= tests

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.shark-turbine-stamp
PEERS := $(VENV)/.shark-turbine-peers-stamp

.DEFAULT_GOAL := help
.PHONY: help setup demo edge test check format docs notebooks bench ops constraints

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv with everything that the other targets need

demo: $(STAMP)  ## compile PyTorch models ahead of time and just in time, run them, compare with eager PyTorch
	$(BIN)/python examples/aot_mlp/mlp_export_simple.py
	$(BIN)/python examples/aot_mlp/mlp_export_dynamic.py
	$(BIN)/python examples/eager_mlp/mlp_eager_simple.py

edge: $(STAMP)  ## compile models for other machines, run them on an emulated Arm (fetches qemu: 100 MB, once)
	$(BIN)/python examples/edge/run_on_aarch64.py

test: $(STAMP)  ## run every test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(TESTS)

check: $(STAMP)  ## lint, formatting, the house's import contracts, types
	@status=0; \
	for tool in 'ruff check .' 'ruff format --check .' \
	            'lint-imports' 'lint-imports --config .importlinter-cycles.toml' 'pyright'; do \
	  echo "== $$tool"; $(BIN)/$$tool || status=1; \
	done; exit $$status

format: $(STAMP)  ## apply what `make check` can mend by itself
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Everything is read anew: a warning about a page that did not change is a warning still. Notebooks run once.
docs: $(STAMP)  ## build the documentation site into docs/_build/html, and check its links
	@rm -rf docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -E -b html -d docs/_build/doctrees docs docs/_build/html
	$(BIN)/python docs/check_site.py docs/_build/html
	@echo "open docs/_build/html/index.html"

notebooks: $(STAMP)  ## write the .ipynb of docs/notebooks from their text
	$(BIN)/python docs/notebooks/pair.py

bench: $(PEERS)  ## run the scripts of benchmarks/, one after the other, and the comparison with other runtimes
	@for script in $(sort $(wildcard benchmarks/*.py)); do \
	  echo "== $$script"; $(BIN)/python "$$script" || exit 1; \
	done
	@for module in benchmarks.peers benchmarks.peers.scaling; do \
	  echo "== $$module"; $(BIN)/python -m "$$module" || exit 1; \
	done; echo "benchmarks run: $(words $(wildcard benchmarks/*.py)) scripts, 2 comparisons"

ops: $(STAMP)  ## walk over PyTorch's own operator samples and write docs/op-table.md (an hour)
	@walk=$$(mktemp) && $(BIN)/python tests/ops/walk.py --json "$$walk" \
	&& $(BIN)/python tests/ops/table.py "$$walk" && rm "$$walk"

constraints: $(PEERS)  ## write what is installed in .venv into constraints.txt
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/python -m pip freeze --all --exclude pip --exclude shark-turbine \
	   | sed 's/+[a-z0-9.]*$$//' | LC_ALL=C sort -f; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt && touch $(STAMP)

# A .venv that is there is kept and updated in place; only one whose Python no longer runs is made anew.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "shark_turbine needs Python 3.11 or newer, and '$(PYTHON)' is not: say make PYTHON=python3.11" >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the tested set into $(VENV): about 1 GB to download the first time, some minutes."
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[examples,test,check,docs,torch-mlir]'
	@touch $(STAMP)

# The runtimes that ours is compared with.
$(PEERS): $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[peers]'
	@touch $(PEERS)
