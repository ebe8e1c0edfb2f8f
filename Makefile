# Every target sets itself up: Python 3.10 to 3.12, make and a package registry are enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.10 || command -v python3)
# Those of `make test-pythons`; each may be a path.
PYTHONS ?= python3.10 python3.11 python3.12
PYTHON_VERSION = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
# NumPy and others have newer versions that Python 3.10 cannot have.
PINS = $(if $(filter 3.10,$(PYTHON_VERSION)),constraints-3.10.txt,constraints.txt)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The environment with TFX, whose wheels for glibc older than 2.38 are of Python 3.9 and 3.10.
TFX_PYTHON ?= $(shell { python3.10 --version >/dev/null 2>&1 && command -v python3.10; } || \
	ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.10.*/bin/python 2>/dev/null | tail -1)
TFX := build/tfx
TFX_STAMP := $(TFX)/.installed
TFX_RUN := $(CURDIR)/build/tfx-run
# `make tfx-pins`: dill is what tfx-bsl imports without asking for it; the versions that are not
# those of constraints-3.10.txt; docs/tfx.md says why.
TFX_WANTED := tfx==1.16.0 dill==0.3.1.1 pytest
TFX_OVERRIDES := 'absl-py==1.4.0' 'numpy>=1.26,<2' 'protobuf==6.33.6'
TFX_OWN_PINS := absl-py|numpy|pandas|protobuf

# The built-in log of the demo and the settings that keep it short.
DEMO_OUTPUT ?= runs/demo
DEMO_EVENTS ?= synthetic:users=4000,items=1000,run_length=1.2
DEMO_FLAGS ?= --set=train.max_epochs=10

.PHONY: help install demo test test-pythons test-slow test-documents test-gpu benchmark-gpu reliability soak docs lint format pins tfx-install tfx-test tfx-pins clean distclean

help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Builds .venv with the pinned packages and the `recall` command.

$(STAMP): setup.py constraints.txt constraints-3.10.txt pyproject.toml
	@case "$(PYTHON_VERSION)" in 3.10 | 3.11 | 3.12) ;; *) \
		echo "Python 3.10, 3.11 or 3.12 is needed, '$(PYTHON)' is not. Install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1;; esac
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(PINS) setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(PINS) \
		--no-build-isolation -e '.[dev]'
	@touch $@
	@echo "Installed. Try: $(BIN)/recall --help"

demo: install ## The main job on a built-in log, then a look at what it learned (runs/demo).
	$(BIN)/recall run --events=$(DEMO_EVENTS) --output=$(DEMO_OUTPUT) $(DEMO_FLAGS)
	$(BIN)/recall demo --run=$(DEMO_OUTPUT)

test: install ## The fast tests.
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not documents and not reliability and not soak"

test-pythons: ## The fast tests on each of PYTHONS="python3.10 python3.11 python3.12".
	@set -e; for python in $(PYTHONS); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') || \
			{ echo "No '$$python' here. Install it, or name others: make test-pythons PYTHONS=/path/to/python3.12" >&2; exit 1; }; \
		echo "== Python $$version"; \
		$(MAKE) --no-print-directory test PYTHON=$$python VENV=build/python-$$version; \
	done

# What XLA compiled stays in a process for good (findings/tf_xla_programs_stay.sh): all of it in one
# took more than 12 GB.
test-slow: install ## The heavy tests, each file in a process of its own.
	@failed=; for file in $$(grep -rl 'mark\.slow' tests --include='*_test.py' | sort); do \
		echo "== $$file"; \
		$(BIN)/python -m pytest -q -m slow $$file || failed="$$failed $$file"; \
	done; test -z "$$failed" || { echo "Failed:$$failed" >&2; exit 1; }

test-documents: install ## Runs every command and code block of the pages.
	$(BIN)/python -m pytest -q -m documents tests/documents

docs: install ## The pages as a site, with checked links (build/site/index.html).
	$(BIN)/mkdocs --quiet build

test-gpu: install ## The fast tests of the model library and of evaluation, on the GPU that TensorFlow sees.
	$(BIN)/python -m pytest -q -m "not slow" tests/recall tests/pipelines/evaluation

benchmark-gpu: install ## What one GPU, or several, give, as JSON; 8 minutes at most.
	$(BIN)/python -m tests.benchmarks.gpu $(GPU_FLAGS)

reliability: install ## Counts what holds under faults and load; 17 to 20 minutes on two cores.
	$(BIN)/python -m pytest -q -m reliability tests/reliability

soak: install ## Clients, swaps and changes for 30 minutes (SOAK_MINUTES=1 for one): no error, memory level.
	$(BIN)/python -m pytest -q -s -m soak tests/reliability

tfx-install: $(TFX_STAMP) ## Builds build/tfx, an environment with TFX (Python 3.10: TFX_PYTHON=...).

# Every package is pinned: without --no-deps pip would refuse what docs/tfx.md says of the versions.
$(TFX_STAMP): constraints-tfx.txt setup.py
	@"$(TFX_PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null || \
		{ echo "TFX needs Python 3.10, '$(TFX_PYTHON)' is not. Install it, or name it: make tfx-install TFX_PYTHON=/path/to/python3.10" >&2; exit 1; }
	test -x $(TFX)/bin/python || $(TFX_PYTHON) -m venv $(TFX)
	$(TFX)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints-tfx.txt
	$(TFX)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation -e .
	@touch $@
	@echo "Installed. Try: $(TFX)/bin/recall tfx --help"

tfx-test: install tfx-install ## A pipeline under TFX, and its release served from .venv.
	rm -rf $(TFX_RUN)
	RECALL_TFX_RUN=$(TFX_RUN) $(TFX)/bin/python -m pytest -q -W ignore tests/pipelines/tfx
	RECALL_TFX_RUN=$(TFX_RUN) $(BIN)/python -m pytest -q tests/pipelines/tfx/served_test.py

lint: install ## Format check and lint.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: install ## Formats the code and mends what the linter can mend.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pins: ## Renews constraints.txt (PYTHON=python3.10: constraints-3.10.txt) with the newest versions allowed.
	rm -rf build/pins && $(PYTHON) -m venv build/pins
	build/pins/bin/python -m pip install --quiet 'setuptools<82' wheel
	build/pins/bin/python -m pip install --quiet --no-build-isolation -e '.[dev]'
	{ echo '# Every package of the environment, pinned. BUILD.md says how to renew this file.'; \
		build/pins/bin/python -m pip freeze --all --exclude pip --exclude-editable | sort -f; } > $(PINS)
	rm -rf build/pins

tfx-pins: ## Renews constraints-tfx.txt from constraints-3.10.txt and what TFX needs.
	rm -rf build/tfx-pins && $(PYTHON) -m venv build/tfx-pins
	build/tfx-pins/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	grep -vE '^(#|($(TFX_OWN_PINS))==)' constraints-3.10.txt > build/tfx-pins/overrides.txt
	printf '%s\n' $(TFX_OVERRIDES) >> build/tfx-pins/overrides.txt
	printf '%s\n' $(TFX_WANTED) > build/tfx-pins/wanted.txt
	{ echo '# Every package of the environment with TFX, pinned. docs/tfx.md says how to renew this file.'; \
		build/tfx-pins/bin/uv pip compile --quiet setup.py --extra train build/tfx-pins/wanted.txt \
			--override build/tfx-pins/overrides.txt --python-version 3.10 \
			--python-platform x86_64-manylinux_2_28 --no-annotate --no-header; } > constraints-tfx.txt
	rm -rf build/tfx-pins

clean: ## Removes builds and caches; keeps .venv and runs/.
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find recall serving pipelines tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## As clean, and removes the environment.
	rm -rf $(VENV)
