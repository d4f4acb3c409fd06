# One word each, from nothing but Python 3.11 or 3.12: the first call makes .venv from the hashed requirements.lock.
PY  ?= $(shell for p in python3.11 python3.12 python3 python; do \
         $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
ARGS ?=
WORKERS ?= 2
MLFLOW_PORT ?= 5000
DEMO_PORT ?= 7860

# Nothing is sent anywhere.
export DO_NOT_TRACK := 1
export KEDRO_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
export HF_HUB_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help run test lint viz mlflow demo bench results notebook docs torture

help: ## show these lines
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

run: .venv/.stamp ## train on clear streets and pseudo weather, score in unseen weather, write the report (ARGS="--params seed=1")
	$(BIN)/kedro run --pipeline=drsf $(ARGS)

test: .venv/.stamp ## run every test (WORKERS=2 processes)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/.stamp ## check style, types and the arrows between the layers
	$(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

viz: .venv/.stamp ## draw the pipelines with previews of all artifacts, in the browser
	$(BIN)/kedro viz run --include-hooks $(ARGS)

mlflow: .venv/.stamp ## show and compare tracked runs, in the browser (MLFLOW_PORT=5001)
	$(BIN)/dg_project mlflow --port $(MLFLOW_PORT) $(ARGS)

demo: .venv/.stamp ## paint weather on a photo, see what the trained detectors find, in the browser (DEMO_PORT=7861)
	$(BIN)/dg_project demo --port $(DEMO_PORT) $(ARGS)

bench: .venv/.stamp ## methods x seeds to one table; stop it any time, it resumes
	$(BIN)/kedro run --pipeline=benchmark $(ARGS)

results: .venv/.stamp ## write the generated tables of README.md and docs/ from benchmarks/results (ARGS="--record NAME --of ablation")
	$(BIN)/python -m dg_project.reports.results_page $(ARGS)

torture: .venv/.stamp ## kill, fill, stop and mislead small runs and check what is left; it resumes (hours; ARGS="--kinds input")
	nice $(BIN)/python tools/torture $(ARGS)

notebook: .venv/.stamp ## open the tours in notebooks/
	$(BIN)/jupyter lab notebooks $(ARGS)

docs: .venv/.stamp ## build the documentation as a site: open site/index.html (ARGS=--quick: run no notebook)
	$(BIN)/uv pip install -q --python $(BIN)/python --group docs && $(BIN)/python tools/docs $(ARGS)

.venv/.stamp: requirements.lock pyproject.toml
	@test -n "$(PY)" || { echo "Python 3.11 or 3.12 is needed; say where: make PY=/path/to/python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PY) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
