# Few commands; CI runs the same ones. Python 3.11+, Rust 1.88+, a C compiler
# and make are all that must be there before.

PYTHON ?= python3
MODELS ?= model_repo/

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
CORE := serving/_core.abi3.so
CORE_SOURCES := $(wildcard core/Cargo.toml core/Cargo.lock core/*/Cargo.toml core/*/build.rs protos/*.binpb) \
	$(shell find core/engine/src core/seam/src -name '*.rs')

# What the gRPC port serves, in the order it is listed.
PROTOS := inference.proto tensorflow/serving.proto grpc/health/v1/health.proto \
	grpc/reflection/v1/reflection.proto grpc/reflection/v1alpha/reflection.proto
# The client's part of them.
CLIENT_PROTOS := client/src/serving_client/inference.binpb
# TFX's, which no port serves.
METADATA := tensorflow_metadata/proto/v0

# Whether the tests that take long run too; CI sets CI.
ALL ?= $(CI)
LONG := browser or kserve or mlflow or tfs or slow
BESIDE := $(if $(ALL),not alone,not (alone or $(LONG)))
SERIAL := $(if $(ALL),alone,alone and not ($(LONG)))
# The files to look for those in: collecting all takes as long as running them.
ALONE = $(if $(PYTEST_ARGS),,$(shell grep -rlw --include='test_*.py' 'pytest\.mark\.alone' tests))
# Tests run side by side, a file in one process: most of them wait more than they compute.
WORKERS ?= 3

export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# What Python the bindings are for: they compile before there is one, and once for whoever calls Cargo.
export PYO3_CONFIG_FILE := $(CURDIR)/core/pyo3.txt
# onnxruntime reports home unless told not to, before its import.
export ORT_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Compiled modules are kept, whatever the caller's own variables say: without them every process that a
# test starts compiles all that it imports again, half of its CPU.
export PYTHONDONTWRITEBYTECODE :=

# Modules are compiled when they are needed. With LOCKED, as in .ci/run, the versions that `make lock`
# found last; without, the newest that fit.
INSTALL := install --quiet --no-compile $(if $(LOCKED),--constraint .ci/constraints.txt)
PIP_INSTALL := $(BIN)/python -m pip $(INSTALL)
# The Python's own pip, where it is new enough to install elsewhere (22.3) and whole: it spares
# unpacking one to begin with.
OUTER_PIP := $(PYTHON) -m pip --python $(BIN)/python
# Cargo takes all cores for itself, whatever else this make does beside it.
CARGO := cd core && env -u MAKEFLAGS cargo
# Without libFuzzer itself, which needs a compiler of C++.
FUZZ := cd core/fuzz && CUSTOM_LIBFUZZER_PATH=/none env -u MAKEFLAGS cargo
MATURIN := env -u MAKEFLAGS $(BIN)/maturin
# Say nothing unless it fails.
quietly = @out=$$(mktemp) && { $(1) >$$out 2>&1 || { cat $$out; rm -f $$out; exit 1; }; }; rm -f $$out
# What failed (pytest's status 1) beside others, or while the machine was busy: again, one by one.
# What fails there too fails the run.
again = { test $(1) = 1 || exit $(1); echo '== failed; again, by themselves'; \
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 3 -m '$(2)' $(PYTEST_ARGS); }
# Targets that wait for different things (the network, the compiler) at the same time.
side_by_side = @+$(MAKE) --no-print-directory -j2 $(1)
# The packages of some of pyproject.toml's extras, and those that the gateway always needs; of our own
# client, which lies here, what it needs and is built with.
packages = $(BIN)/python -c 'import shlex, sys, tomllib; \
	ours, client = [tomllib.load(open(file, "rb")) for file in ("pyproject.toml", "client/pyproject.toml")]; \
	project, its = ours["project"], client["project"]; \
	extras = project["optional-dependencies"]; \
	asked = project["dependencies"] + [one for extra in sys.argv[1:] for one in extras[extra]]; \
	others = [one for one in asked if not one.startswith(its["name"])]; \
	print(shlex.join(others + its["dependencies"] + client["build-system"]["requires"]))' $(1)
install = $(call packages,$(1)) | xargs $(PIP_INSTALL) && $(PIP_INSTALL) --no-deps --no-build-isolation --editable client
# The gateway itself with its core, as it lies here; its packages are there already.
editable = $(call quietly,PIP_NO_DEPS=1 PIP_NO_COMPILE=0 $(MATURIN) develop)

.DELETE_ON_ERROR:
.PHONY: help run test test-core test-python check protos format bench lock build clean first-time pages

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: first-time $(STAMPS)/run $(CORE) ## set everything up and serve model_repo/ in the foreground
	@exec $(BIN)/serving start $(MODELS)

first-time:
	@test -e $(STAMPS)/run || echo 'Setting up, once: about two minutes on two cores, most of it the compiler.'

test: test-core test-python ## set everything up and run all tests

test-core: $(STAMPS)/dev
	@echo '== core: cargo test'
	@$(CARGO) test --quiet --workspace

test-python: $(STAMPS)/dev $(CORE)
	@echo '== gateway: pytest'
	@for tool in h2load nghttpd wrk; do command -v $$tool >/dev/null || \
		echo "   $$tool is not installed: only benchmarks that use it are left out, no test"; done
	@for tool in chromium chromedriver; do command -v $$tool >/dev/null || \
		echo "   $$tool is not installed (Debian: chromium, chromium-driver): tests marked browser, of the console, are left out"; done
	@for tool in prometheus promtool; do command -v $$tool >/dev/null || \
		echo "   $$tool is not installed (Debian: prometheus): the tests in tests/monitoring that use it are left out"; done
	@$(if $(ALL),,echo "   left out, since they take long: tests marked kserve, mlflow, tfs (clients and servers in environments of their own), browser and slow; with them: make test ALL=1")
	@$(BIN)/python -m pytest -p tests.entered -n $(WORKERS) --dist loadfile --max-worker-restart 0 \
		-m '$(BESIDE)' $(PYTEST_ARGS) || $(call again,$$?,$(BESIDE))
	@$(BIN)/python -m pytest -m '$(SERIAL)' $(PYTEST_ARGS) $(ALONE) || $(call again,$$?,$(SERIAL))

check: $(STAMPS)/dev $(CORE) ## formatting, lints, types and the order of the rooms
	@echo '== core: format and lints'
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings
	@echo '== core: the fuzzers still know the engine'
	@if said=$$($(FUZZ) fetch --locked 2>&1); then $(FUZZ) check --quiet --locked --target-dir ../target; \
		else case "$$said" in *'lock file'*) echo "$$said"; exit 1;; esac; \
		echo '   their crates are not here: nothing has looked'; fi
	@echo '== core: licences and sources of what it is built of'
	@$(BIN)/python -m tests.package.dependencies
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --offline check bans licenses sources; \
		else echo '   cargo-deny is not installed: only the line above has looked'; fi
	@echo '== gateway: format, lints, types, imports'
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@# After it, for both keep what they know of the sources in one cache.
	@+$(MAKE) --no-print-directory $(STAMPS)/stub
	PYTHONPATH=. $(BIN)/lint-imports

protos: $(STAMPS)/dev ## compile protos/ anew, after a change there
	$(BIN)/python -m grpc_tools.protoc -I protos --include_imports --descriptor_set_out=$(CLIENT_PROTOS) inference.proto
	$(BIN)/python -m grpc_tools.protoc -I protos --include_imports --descriptor_set_out=protos/inference.binpb \
		$(PROTOS)
	$(BIN)/python -m grpc_tools.protoc -I protos --include_imports \
		--descriptor_set_out=serving/statistics/tensorflow_metadata.binpb \
		$(METADATA)/statistics.proto $(METADATA)/anomalies.proto

format: $(STAMPS)/dev ## format all sources
	$(CARGO) fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

bench: $(STAMPS)/bench ## the short benchmarks, as one table (BENCH_ARGS=--full for the long form)
	@echo '== core: as the wheel ships it, fat link-time optimisation'
	$(MATURIN) develop --skip-install --release
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

lock: $(STAMPS)/dev ## the Python packages that CI installs, at their newest (.ci/constraints.txt)
	$(BIN)/python -m tests.package.constraints

build: $(STAMPS)/python pages ## the release wheels, the gateway's and its client's, in dist/
	@echo '== client'
	@$(PIP_INSTALL) 'flit_core>=3.12,<5'
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist ./client
	@echo '== wheel: fat link-time optimisation, some minutes'
	$(MATURIN) build --release --locked --out dist --interpreter $(BIN)/python

clean: ## remove what the commands made
	rm -rf $(VENV) build dist core/target $(CORE) serving/protocols/pages/bundle serving/control/console/bundle \
		.pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# -- steps, each done once ----------------------------------------------------

$(STAMPS)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, not %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@command -v cargo >/dev/null || { echo 'cargo is needed: Rust 1.88 or later'; exit 1; }
	@echo '== environment: $(VENV)'
	@$(PYTHON) -m venv --without-pip $(VENV)
	@if $(OUTER_PIP) --version >/dev/null 2>&1; then pip='$(OUTER_PIP)'; \
		elif $(BIN)/python -m ensurepip --default-pip >/dev/null; then pip='$(BIN)/python -m pip'; \
		else echo 'pip is needed, or what brings it (Debian: python3-venv)'; exit 1; fi && \
		$$pip $(INSTALL) --upgrade pip 'maturin>=1.9.4,<2'
	@mkdir -p $(STAMPS) && touch $@

# With maturin's own words, so that it finds its work done; the environment is made meanwhile.
$(STAMPS)/core: $(CORE_SOURCES)
	@command -v cargo >/dev/null || { echo 'cargo is needed: Rust 1.88 or later'; exit 1; }
	@echo '== core: compiling'
	@$(CARGO) rustc --quiet -p serving-seam --lib -- -C strip=symbols
	@mkdir -p $(STAMPS) && touch $@

$(CORE): $(STAMPS)/core | $(STAMPS)/python
	$(call quietly,$(MATURIN) develop --skip-install)
	@touch $@

$(STAMPS)/packages-%: pyproject.toml client/pyproject.toml | $(STAMPS)/python
	@echo '== environment: packages'
	@$(call install,$(subst +, ,$*))
	@touch $@

$(STAMPS)/run: pyproject.toml client/pyproject.toml
	$(call side_by_side,$(STAMPS)/core $(STAMPS)/packages-cpu+client pages)
	$(editable)
	@touch $(CORE) $@

$(STAMPS)/dev: pyproject.toml client/pyproject.toml
	$(call side_by_side,$(STAMPS)/core $(STAMPS)/packages-cpu+client+dev pages)
	$(editable)
	@touch $(CORE) $@ $(STAMPS)/run

# Swagger UI for the page /docs and charts for the console, fetched beside other work; without them
# there are plain pages.
pages: | $(STAMPS)/python
	@$(BIN)/python deploy/pages/fetch.py
	@$(BIN)/python deploy/pages/fetch_charts.py

# That the core is as its stub says; as long as neither changes, once.
$(STAMPS)/stub: serving/_core.pyi $(CORE)
	$(BIN)/python -m mypy.stubtest serving._core
	@touch $@

$(STAMPS)/bench: pyproject.toml client/pyproject.toml
	$(call side_by_side,$(STAMPS)/core $(STAMPS)/packages-cpu+client+bench+otel)
	$(editable)
	@touch $(CORE) $@ $(STAMPS)/run
