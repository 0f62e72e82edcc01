#!/usr/bin/env bash
# Sets everything up below .venv: a Python of 3.12 or later, the locked packages, Callboard itself; then `callboard
# setup` does the rest. It needs git, make, any python3 and, for what is missing on the machine, root or sudo. Once all
# is set up, it uses no network.
# Programs named as arguments are installed too, each from the Debian package of its name; if that fails, it goes on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source hosting/scripts/uv.sh

# Two set-ups at once (make -j) would build the same folder: the second waits, and then finds it done.
exec 9<.
flock 9

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
apt_updated=

# Installs Debian packages. What apt-get says is shown only if it fails.
apt_install() {
    local root=() log=$scratch/apt.log
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || return 1
        root=(sudo)
    fi
    {
        { [ -n "$apt_updated" ] || "${root[@]}" apt-get update -qq; } && apt_updated=1 \
            && "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
                apt-get install -y -qq --no-install-recommends "$@" </dev/null
    } >"$log" 2>&1 && return
    tail -n 5 "$log" >&2
    return 1
}

# Tells whether $1 runs and is a Python that the locked packages are made for. Being on PATH proves nothing: the shims
# of version managers are on it and fail.
suits() {
    "$1" -c 'import sys; sys.exit(not ((3, 12) <= sys.version_info[:2] < (3, 15) and sys.implementation.name == "cpython"))' \
        >/dev/null 2>&1
}

makes_venvs() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Prints a suitable Python that can create environments, else one that cannot, else nothing.
find_python() {
    local name path bare=
    for name in python3.13 python3.12 python3.14 python3; do
        while read -r path; do
            suits "$path" || continue
            if makes_venvs "$path"; then echo "$path"; return; fi
            bare=${bare:-$path}
        done < <(type -ap "$name"; printf '%s\n' "/usr/bin/$name" "/usr/local/bin/$name")
    done
    echo "$bare"
}

any_python() {
    local path
    for path in $(type -ap python3) /usr/bin/python3; do
        if "$path" -c 'import ensurepip, venv' >/dev/null 2>&1; then echo "$path"; return; fi
    done
    return 1
}

# Creates an empty .venv with pip in it.
make_venv() {
    local python version uv log=$scratch/uv.log
    rm -rf .venv
    python=$(find_python)
    if [ -z "$python" ] && ! command -v uv >/dev/null && ! any_python >/dev/null; then
        say "no usable Python here; installing the system's"
        apt_install python3-venv || say "python3-venv could not be installed"
        python=$(find_python)
    fi
    if [ -n "$python" ] && ! makes_venvs "$python"; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        say "installing python$version-venv, which $python lacks"
        apt_install "python$version-venv" || say "python$version-venv could not be installed"
    fi
    if [ -n "$python" ] && makes_venvs "$python"; then
        say "making .venv with $python"
        "$python" -m venv .venv
        return
    fi
    say "no usable Python of 3.12 or later here; fetching one with uv"
    { uv=$(find_uv "$(any_python || echo python3)" "$scratch") && "$uv" venv --quiet --seed --python 3.12 .venv; } 2>"$log" \
        && return
    # Of the causes that uv lists, the last is the root.
    [ ! -s "$log" ] || say "that failed: $(tail -n 1 "$log" | sed -E 's/^ *((cause|error|ERROR): *)?//')"
    die "needs Python 3.12 or later with its venv module, and none could be fetched. Install one (Debian, Ubuntu: apt-get install python3 python3-venv), then repeat."
}

# Prints a hash of what .venv was made from. Scripts in it hold its path, so it is made again in a moved folder.
packages_stamp() { { cat requirements.lock; .venv/bin/python -VV; pwd; } 2>/dev/null | sha256sum; }
project_stamp() { cat pyproject.toml runtime/pyproject.toml | sha256sum; }

install_packages() {
    pip() { PIP_USER=0 .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input "$@"; }
    if [ ! -f .venv/packages.stamp ] || [ "$(packages_stamp)" != "$(cat .venv/packages.stamp)" ]; then
        make_venv
        say "installing the locked packages (about 250 MB, a minute or two)"
        pip install --require-hashes -r requirements.lock \
            || die "the locked packages could not be installed (reason above)."
        packages_stamp >.venv/packages.stamp
    fi
    if [ ! -f .venv/project.stamp ] || [ "$(project_stamp)" != "$(cat .venv/project.stamp)" ]; then
        pip install --no-index --no-deps --no-build-isolation -e . \
            || die "Callboard itself could not be installed (reason above)."
        project_stamp >.venv/project.stamp
    fi
}

# Compiles all modules, even where Python is told not to write compiled files: each process would compile them again.
compile_rooms() {
    .venv/bin/python -m compileall -q worker.py activities api callboard examples tests/bench workflows \
        >/dev/null || say "some files do not compile; they say so when they are run"
}

install_packages
compile_rooms
.venv/bin/callboard setup --yes >/dev/null || say "going on without it"
for program; do
    command -v "$program" >/dev/null && continue
    say "installing $program"
    apt_install "$program" || say "$program could not be installed; what calls it will fail"
done
