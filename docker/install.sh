#!/bin/sh
# Installs what a step needs, and only what is missing. make, CI and the
# dockerfiles all call this script, so that there is one list of packages.
#
#   docker/install.sh build           what cargo build needs, Rust included
#   docker/install.sh python [VENV]   the Python programs' environment, in
#                                     target/venv by default
#   docker/install.sh tests [VENV]    what cargo test needs: Chromium, PostgreSQL,
#                                     RabbitMQ unless AMQP_URL names one, libfaketime,
#                                     PgBouncer and that environment
#   docker/install.sh runtime         what the finished binary needs
#
# A relative VENV counts from the repository's root.
# PYTHON=/path/to/python3 picks the interpreter for the tests.
set -eu

cd "$(dirname "$0")/.."

# What each step needs. A new need is one more line: the Debian package, and
# the command or the library file that shows that it is there.
build_needs() {
    need_command g++ g++
    need_command cmake cmake
    need_command make make
    # For TLS; the crate that links it asks pkg-config where it is.
    need_command pkg-config pkg-config
    need_package openssl libssl-dev
}

runtime_needs() {
    need_library libstdc++6 libstdc++.so.6
    need_library libssl3 libssl.so.3
    # The authorities that --tls trusts.
    need_file ca-certificates /etc/ssl/certs/ca-certificates.crt
}

python_needs() {
    python=$(find_python) || missing="$missing python3 python3-venv"
}

tests_needs() {
    need_command chromium chromium
    # The documentation's commands are run as they stand.
    need_command curl curl
    need_command jq jq
    # Debian keeps the server's programs out of the PATH.
    command -v initdb >/dev/null 2>&1 || need_file postgresql '/usr/lib/postgresql/*/bin/initdb'
    need_file libfaketime '/usr/lib/*/faketime/libfaketimeMT.so.1'
    # The proxy of the compose file.
    need_file haproxy /usr/sbin/haproxy
    # Between the log and its database.
    need_file pgbouncer /usr/sbin/pgbouncer
    # The tests start a broker of their own, unless somebody names one.
    [ -n "${AMQP_URL-}" ] || need_file rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server
}

# The protos whose Python stubs the tests import. health.proto is not among
# them: the grpcio-health-checking package brings its own.
test_protos="messenger.proto subscribe.proto todo.proto fin.proto message_service.proto"

requirements=tests/reference/requirements.txt

say() {
    echo "install.sh: $*" >&2
}

die() {
    say "$@"
    exit 1
}

# need_command PACKAGE COMMAND
need_command() {
    command -v "$2" >/dev/null 2>&1 || missing="$missing $1"
}

# need_package PKG-CONFIG-NAME PACKAGE
need_package() {
    pkg-config --exists "$1" 2>/dev/null || missing="$missing $2"
}

# need_library PACKAGE FILE
need_library() {
    # ldconfig is often not in the PATH of ordinary users.
    { PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -qF "$2"; } 2>/dev/null ||
        missing="$missing $1"
}

# need_file PACKAGE PATTERN
need_file() {
    # shellcheck disable=SC2086 # a pattern, expanded on purpose
    ls $2 >/dev/null 2>&1 || missing="$missing $1"
}

# Debian's python3 comes without the parts that fill a virtual environment, so
# being there is not enough. protobuf wants 3.10.
find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3; do
        if "$candidate" -c 'import sys, venv, ensurepip
sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# The official way, for systems whose packages have no Rust that is new enough.
rustup_line="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"

# The oldest Rust that compiles this. The dockerfiles copy Cargo.toml later: their
# base image has a Rust, and cargo itself checks the version then.
rust_wanted() {
    version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml 2>/dev/null) || version=
    echo "${version:-0}"
}

# The version of the Rust that cargo build would use; nothing without one. Where
# rustup is without a toolchain, its rustc and cargo are there and fail.
rust_version() {
    # shellcheck disable=SC2086 # CARGO may carry arguments
    ${CARGO:-cargo} --version >/dev/null 2>&1 || return 0
    "${RUSTC:-rustc}" --version 2>/dev/null | sed -n 's/^rustc \([0-9.]*\).*/\1/p'
}

# at_least VERSION WANTED
at_least() {
    [ -n "$1" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# The version that apt would install: candidate PACKAGE
candidate() {
    LC_ALL=C apt-cache policy "$1" 2>/dev/null |
        sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}\([0-9][0-9.]*\).*/\2/p'
}

# The packages with a Rust that is new enough: rust_packages WANTED
rust_packages() {
    if [ -n "$(candidate rustup)" ]; then
        echo rustup
        return
    fi
    # Debian keeps a newer Rust beside the release's own for its browsers.
    if at_least "$(candidate rustc)" "$1"; then
        echo rustc cargo rustfmt rust-clippy
    elif at_least "$(candidate rustc-web)" "$1"; then
        echo rustc-web cargo-web rustfmt-web rust-web-clippy
    else
        return 1
    fi
}

install_rust() {
    # Where rustup's own installer puts it; a shell that was open before does not know.
    PATH="$PATH:${CARGO_HOME:-${HOME-}/.cargo}/bin"
    wanted=$(rust_wanted)
    have=$(rust_version)
    ! at_least "$have" "$wanted" || return 0
    lack="Rust is missing, $wanted or newer is needed."
    [ -z "$have" ] || lack="Rust $have ($(command -v "${RUSTC:-rustc}")) is too old, $wanted or newer is needed."
    if ! command -v rustup >/dev/null 2>&1; then
        { command -v apt-get && as_root true; } >/dev/null 2>&1 ||
            die "$lack Get it with: $rustup_line"
        apt_update
        packages=$(rust_packages "$wanted") ||
            die "$lack This system's packages have none. Get it with: $rustup_line"
        # They replace packages of an older Rust. Downloads of crates and of
        # rustup check certificates.
        # shellcheck disable=SC2086 # a list of packages, split on purpose
        apt_install $packages ca-certificates
        hash -r
    fi
    # Debian's rustup comes without a toolchain.
    if command -v rustup >/dev/null 2>&1 && [ -z "$(rust_version)" ]; then
        say "$lack rustup gets the stable one"
        rustup default stable >&2 ||
            die "$lack rustup could not get it; try again with: rustup default stable"
    fi
    have=$(rust_version)
    at_least "$have" "$wanted" ||
        die "$lack Get it with: rustup update stable && rustup default stable"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# Once in a run. Old lists may do, so a failure is not the end.
apt_update() {
    [ -z "${updated-}" ] || return 0
    updated=yes
    as_root apt-get -q update >&2 || say "apt-get update failed, trying with the old lists"
}

# apt_install PACKAGE...
apt_install() {
    how="get them with: apt-get install $*"
    command -v apt-get >/dev/null 2>&1 ||
        die "missing: $*. There is no apt-get here: install their counterparts with this system's package manager."
    as_root true 2>/dev/null ||
        die "missing: $*. Neither root nor sudo without a password: $how"
    apt_update
    say "installing: $*"
    # RUNLEVEL=1: packages with a service of their own do not start it.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -y \
        -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@" >&2 ||
        die "missing: $*. apt-get could not install them; $how"
}

# install_packages STEP
install_packages() {
    missing=
    "$1_needs"
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086 # a list of packages, split on purpose
    apt_install $missing
    missing=
    "$1_needs"
    [ -z "$missing" ] || die "installed, yet this step still lacks:$missing (too old, or not in the PATH?)"
}

# Everything that the environment is made from: when it changes, so does this.
fingerprint() {
    for proto in $test_protos; do
        cksum "proto/$proto"
    done
    cksum "$requirements" docker/install.sh
}

# make_venv FOLDER
make_venv() {
    venv=$1
    stamp=$venv/messenger.stamp
    if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint)" ]; then
        return
    fi
    install_packages python
    say "making the Python environment $venv"
    rm -f "$stamp"
    "$python" -m venv "$venv" || die "$python could not make $venv"
    "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
        -r "$requirements" >&2 ||
        die "pip could not install $requirements; it needs PyPI, or a mirror named in PIP_INDEX_URL"
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    for proto in $test_protos; do
        "$venv/bin/python" -m grpc_tools.protoc -I proto \
            --python_out="$site" --grpc_python_out="$site" "proto/$proto" ||
            die "no Python stubs for proto/$proto"
    done
    # Last, so that an interrupted run is not taken for a finished one.
    fingerprint >"$stamp"
}

case "${1-}" in
    build)
        install_packages build
        install_rust
        ;;
    runtime) install_packages runtime ;;
    python) make_venv "${2:-target/venv}" ;;
    tests)
        install_packages tests
        make_venv "${2:-target/venv}"
        ;;
    *)
        echo "usage: docker/install.sh build | python [VENV] | tests [VENV] | runtime" >&2
        exit 2
        ;;
esac
