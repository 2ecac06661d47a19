CARGO ?= cargo
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
VENV := $(TARGET)/venv

# The Python that the tests run the programs in tests/reference with.
export MESSENGER_TEST_PYTHON := $(VENV)/bin/python

# The C core takes ten minutes to compile; ccache remembers it over a clean tree.
ifneq ($(shell command -v ccache),)
export CMAKE_C_COMPILER_LAUNCHER ?= ccache
export CMAKE_CXX_COMPILER_LAUNCHER ?= ccache
endif

# cargo spreads the work over the cores by itself: make's -j must neither reach
# it nor run two cargos beside each other.
unexport MAKEFLAGS
.NOTPARALLEL:

.DEFAULT_GOAL := help
.PHONY: help run test check docs bench compare build-needs test-needs

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Where make run keeps what survives a restart.
run: export MESSENGER_DATA_DIR ?= $(or $(XDG_STATE_HOME),$(HOME)/.local/state)/messenger
run: build-needs ## build and run the demo: everything in one process
	$(CARGO) build --release --locked
	$(TARGET)/release/messenger demo

# One profile everywhere: another one would compile the C core again.
test: build-needs test-needs ## install what the tests need and run them all
	$(CARGO) test --release --locked
	$(CARGO) test --release --locked --features shuttle --lib shuttle

check: build-needs ## formatting and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets --locked -- -D warnings

docs: build-needs ## write the generated parts of docs/ anew
	UPDATE_DOCS=1 $(CARGO) test --release --locked --test integration -- docs::configuration docs::limits differences

bench: build-needs ## measure the fan-out; ARGS="--readers 1000" for other loads
	$(CARGO) build --release --locked
	$(TARGET)/release/messenger bench fanout $(ARGS)

compare: build-needs ## hold Rust and Python side by side; ARGS="--peer tonic"
	$(CARGO) build --release --locked
	@docker/install.sh python $(VENV)
	$(TARGET)/release/messenger compare --python $(VENV)/bin/python \
		--work $(TARGET)/compare --out $(TARGET)/comparison $(ARGS)

build-needs:
	@docker/install.sh build

test-needs:
	@docker/install.sh tests $(VENV)
