CARGO ?= cargo
BUILT := $(abspath $(or $(CARGO_TARGET_DIR),target))
VENV := $(BUILT)/venv

# Modules of the integration tests that need no more than the build does: chat,
# bridge, and the HTTP front. Whoever needs more fails there, on any machine. Not
# among them, since they take too long: cases::many and cases::shutdown.
QUICK := cases::bridge cases::bridge_faults cases::bridge_wait cases::front cases::health cases::layout \
	cases::limits cases::order cases::slow cases::transport

# Where rustup puts cargo; a shell that was open before does not know.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

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
.PHONY: help run test test-quick check doc docs deny msrv bench chaos rolling mutants histories fuzz soak overload shuttle compare shadow build-needs test-needs

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Compile only what changed. Not where speed is measured (bench, compare), since it
# costs some, and not in .ci/run, which compiles everything once.
run test test-quick check doc: export CARGO_INCREMENTAL ?= 1

# Where make run keeps what survives a restart.
run: export MESSENGER_DATA_DIR ?= $(or $(XDG_STATE_HOME),$(HOME)/.local/state)/messenger
run: build-needs ## build and run the demo: everything in one process
	$(CARGO) build --release --locked
	$(BUILT)/release/messenger demo

# One profile everywhere: another one would compile the C core again.
test: build-needs test-needs ## install what the tests need and run them all
	$(CARGO) test --release --locked
	$(CARGO) test --release --locked --features shuttle --lib shuttle

test-quick: build-needs ## unit tests, chat and bridge: needs no more than the build
	$(CARGO) test --release --locked --lib --test integration --no-run
	$(CARGO) test --release --locked --lib
	MESSENGER_TEST_QUICK=1 $(CARGO) test --release --locked --test integration -- $(QUICK)

# The second time without the laboratory, as the images are built.
check: build-needs ## formatting and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets --locked -- -D warnings
	$(CARGO) clippy --release --no-default-features --locked -- -D warnings

doc: export RUSTDOCFLAGS ?= -D warnings
doc: build-needs ## the documentation of the code, without warnings
	$(CARGO) doc --release --locked --no-deps --document-private-items

# Not in CI: new advisories must not turn it red without a commit.
deny: build-needs ## advisories, licences and sources of all dependencies
	@$(CARGO) deny --version >/dev/null 2>&1 || \
		{ echo 'make deny needs cargo-deny: cargo install cargo-deny --locked' >&2; exit 1; }
	$(CARGO) deny --locked check

MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"$$/\1/p' Cargo.toml)

msrv: build-needs ## compile with the oldest Rust that Cargo.toml promises
	@rustup run $(MSRV) rustc --version >/dev/null 2>&1 || \
		{ echo 'make msrv needs rustup and Rust $(MSRV): rustup toolchain install --profile minimal $(MSRV)' >&2; exit 1; }
	rustup run $(MSRV) cargo check --release --all-targets --locked --target-dir $(BUILT)/msrv

docs: build-needs ## write the generated parts of docs/ anew
	UPDATE_DOCS=1 $(CARGO) test --release --locked --test integration -- docs::configuration docs::limits differences

# A variable that is not given has the default that the test knows.
CHAOS := $(foreach name,MINUTES SECONDS SEED WORLD RUNS JUDGE KEEP THREADS MUTANT,\
	$(if $($(name)),MESSENGER_CHAOS_$(name)=$($(name))))

chaos: build-needs test-needs ## services under faults, judged; MINUTES=15 SEED= WORLD= SECONDS=30
	$(CARGO) test --release --locked --test integration --no-run
	$(CHAOS) $(CARGO) test --release --locked --test integration -- \
		--ignored --exact --nocapture chaos::cases::$(if $(JUDGE),judge_again,chaos)

rolling: build-needs test-needs ## three servers of one chat are replaced under 500 messages/s and 1,000 readers
	$(CARGO) test --release --locked --test integration -- \
		--ignored --nocapture several::rolling

mutants: build-needs test-needs ## plants defects, one at a time, which the runs of chaos have to find; MUTANT= RUNS=20
	$(CARGO) test --release --locked --test integration --no-run
	$(CHAOS) $(CARGO) test --release --locked --test integration -- \
		--ignored --exact --nocapture chaos::mutants::each_is_found

histories: build-needs test-needs ## record runs without faults anew, for faults to be planted in
	UPDATE_HISTORIES=1 $(CARGO) test --release --locked --test integration -- planted::each_promise

FUZZ := $(foreach name,TARGET RUNS SEED FILE KEEP,\
	$(if $($(name)),MESSENGER_FUZZ_$(name)=$($(name))))

fuzz: build-needs ## what comes from outside, as random bytes; RUNS=10000000 SEED= TARGET=
	$(CARGO) test --release --locked --test integration --no-run
	$(FUZZ) $(CARGO) test --release --locked --test integration -- \
		--ignored --exact --nocapture fuzz::long

bench: build-needs ## measure the fan-out; ARGS="--readers 1000" for other loads
	$(CARGO) build --release --locked
	$(BUILT)/release/messenger bench fanout $(ARGS)

soak: export MESSENGER_SOAK_MINUTES = $(or $(MINUTES),60)
soak: build-needs ## steady load for MINUTES=60; table and plot in target/soak
	$(CARGO) test --release --locked --test integration -- --nocapture soak::under

overload: export MESSENGER_OVERLOAD_SECONDS = $(or $(SECONDS),60)
overload: build-needs ## ten times what a fifth of a core carries, SECONDS=60; target/soak
	$(CARGO) test --release --locked --test integration -- \
		--ignored --nocapture soak::overload soak::limit

# Two thirds of a minute for each million.
shuttle: export MESSENGER_SHUTTLE_SCHEDULES = $(or $(SCHEDULES),1000000)
shuttle: build-needs ## explore SCHEDULES=1000000 interleavings of threads, thrice
	$(CARGO) test --release --locked --features shuttle --lib shuttle

compare: build-needs ## hold Rust and Python side by side; ARGS="--peer tonic"
	$(CARGO) build --release --locked
	@docker/install.sh python $(VENV)
	$(BUILT)/release/messenger compare --python $(VENV)/bin/python \
		--work $(BUILT)/compare --out $(BUILT)/comparison $(ARGS)

shadow: build-needs ## Python and ours behind one proxy that shows what differs; ARGS="--answer right"
	$(CARGO) build --release --locked
	@docker/install.sh python $(VENV)
	$(BUILT)/release/messenger shadow --python $(VENV)/bin/python \
		--work $(BUILT)/compare $(ARGS)

build-needs:
	@docker/install.sh build

test-needs:
	@docker/install.sh tests $(VENV)
