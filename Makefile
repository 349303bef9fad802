# make demo   the whole chain on synthetic angiograms; open demo/report.html
# make test   the test suite
# make predict IN=frame.png   the vessels of frames, DICOM files or folders of them, into predictions/
# make lint   style, types and the direction of imports
#
# Each sets up .venv first, once. Another interpreter: make test PYTHON=python3.12
# Another build of torch, on the first run: make test TORCH="torch==2.13.0 --index-url ADDRESS" (see README)

PYTHON ?= python3
VENV ?= .venv
TORCH ?=
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tests on real angiograms run where these are found, and are skipped elsewhere.
ifndef VASOMIM_DATA
ifneq ($(wildcard ../shared/data),)
export VASOMIM_DATA := $(abspath ../shared/data)
endif
endif

.DEFAULT_GOAL := test
.PHONY: demo test lint predict

demo: $(READY)
	$(BIN)/vasomim demo --out demo

predict: $(READY)
	$(BIN)/vasomim predict $(IN) --out predictions

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	"got Python " + sys.version.split()[0] + ", need 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH),$(BIN)/python -m pip install $(TORCH))
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@
