# Few commands; CI runs the same ones. Python 3.11+, Rust 1.88+, a C compiler
# and make are all that must be there before.

PYTHON ?= python3
MODELS ?= model_repo/

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
CORE := serving/_core.abi3.so
CORE_SOURCES := $(wildcard core/Cargo.toml core/Cargo.lock core/*/Cargo.toml core/*/build.rs protos/*.proto) \
	$(shell find core/engine/src core/seam/src -name '*.rs')
# The extension's profile: quick to link, close to the wheel's speed. The engine's own tests and
# lints use Cargo's dev profile: overflow checks on, and seconds after a change.
PROFILE := thin

# Whether the tests that take long run too; CI sets CI.
ALL ?= $(CI)

export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# onnxruntime reports home unless told not to, before its import.
export ORT_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DELETE_ON_ERROR:
.PHONY: help run test test-core test-python check format bench build clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(STAMPS)/run $(CORE) ## set everything up and serve model_repo/ in the foreground
	@exec $(BIN)/serving start $(MODELS)

test: test-core test-python ## set everything up and run all tests

test-core: $(STAMPS)/python
	@echo '== core: cargo test'
	cd core && cargo test --workspace

test-python: $(STAMPS)/dev $(CORE)
	@echo '== gateway: pytest'
	@for tool in h2load nghttpd wrk; do command -v $$tool >/dev/null || \
		echo "   $$tool is not installed: only benchmarks that use it are left out, no test"; done
	@for tool in prometheus promtool; do command -v $$tool >/dev/null || \
		echo "   $$tool is not installed (Debian: prometheus): the tests in tests/monitoring that use it are left out"; done
	@$(if $(ALL),,echo "   left out, since they take long: tests marked kserve, mlflow (clients and servers in environments of their own) and slow; with them: make test ALL=1")
	$(BIN)/python -m pytest $(if $(ALL),,-m 'not kserve and not mlflow and not slow') $(PYTEST_ARGS)

check: $(STAMPS)/dev $(CORE) ## formatting, lints, types and the order of the rooms
	@echo '== core: format and lints'
	cd core && cargo fmt --all --check
	cd core && cargo clippy --workspace --all-targets -- -D warnings
	@echo '== gateway: format, lints, types, imports'
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports

format: $(STAMPS)/dev ## format all sources
	cd core && cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

bench: $(STAMPS)/bench ## the short benchmarks, as one table (BENCH_ARGS=--full for the long form)
	@echo '== core: as the wheel ships it, fat link-time optimisation'
	$(BIN)/maturin develop --skip-install --release
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

build: $(STAMPS)/python ## the release wheel, in dist/
	@echo '== wheel: fat link-time optimisation, some minutes'
	$(BIN)/maturin build --release --locked --out dist --interpreter $(BIN)/python

clean: ## remove what the commands made
	rm -rf $(VENV) build dist core/target $(CORE) .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis

# -- steps, each done once ----------------------------------------------------

$(STAMPS)/python:
	@echo '== environment: $(VENV)'
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, not %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@command -v cargo >/dev/null || { echo 'cargo is needed: Rust 1.88 or later'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet 'maturin>=1.9.4,<2'
	@mkdir -p $(STAMPS) && touch $@

$(CORE): $(CORE_SOURCES) | $(STAMPS)/python
	@echo '== core: the extension, thin link-time optimisation'
	$(BIN)/maturin develop --skip-install --profile $(PROFILE)
	@touch $@

$(STAMPS)/run: pyproject.toml $(STAMPS)/python | $(CORE)
	@echo '== environment: the gateway and onnxruntime'
	$(BIN)/maturin develop --profile $(PROFILE) --extras cpu,client
	@touch $@

$(STAMPS)/dev: $(STAMPS)/run
	@echo '== environment: development tools'
	$(BIN)/maturin develop --profile $(PROFILE) --extras cpu,client,dev
	@touch $@

$(STAMPS)/bench: $(STAMPS)/run
	@echo '== environment: what the benchmarks compare with'
	$(BIN)/maturin develop --profile $(PROFILE) --extras cpu,client,bench,otel
	@touch $@
