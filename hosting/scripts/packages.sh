#!/usr/bin/env bash
# Fetches the packages that tests install into environments of projects (tests/packages/*.lock) into .venv/packages: as
# wheels, but for what a project is to build. A package index of the tests serves them from there. Run it after
# setup.sh. When all are fetched, it uses no network. What projects in TypeScript need is installed, too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source hosting/scripts/npm.sh

exec 9<.
flock 9

say() { echo "packages: $*" >&2; }
pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check --no-input "$@" --no-deps --require-hashes; }

.venv/bin/callboard setup --yes --typescript >/dev/null || say "going on without it"

# .venv is created again for another Python, and these packages are removed with it.
wanted=$(cat tests/packages/*.lock tests/packages/node/package-lock.json | sha256sum)
[ "$wanted" != "$(cat .venv/packages/stamp 2>/dev/null)" ] || exit 0
say "fetching the packages that tests install (about 160 MB)"
rm -rf .venv/packages
mkdir .venv/packages
for lock in tests/packages/*.lock; do
    case $lock in */python312.lock | */sources.lock) continue ;; esac
    if ! pip wheel --wheel-dir .venv/packages --requirement "$lock"; then
        say "$lock could not be fetched (reason above); tests that install from it will fail"
        wanted=
    fi
done
[ -n "$wanted" ] || exit 0 # The next run tries again.
# A project may require another Python of this host than ours.
for minor in 3.12 3.13 3.14; do
    pip download --dest .venv/packages --requirement tests/packages/current.lock --python-version "$minor" \
        --only-binary :all: || say "there are none for Python $minor (reason above)"
done
# Resolving needs a package that is only installed on another Python than ours, and that cannot be built here.
if ! pip download --dest .venv/packages --requirement tests/packages/python312.lock --python-version 3.12 \
    --only-binary :all:; then
    say "tests/packages/python312.lock could not be fetched (reason above); tests that install from it will fail"
    wanted=
fi
# A project builds this package itself, as for everybody else.
rm -f .venv/packages/fuzzysearch-*.whl
if ! pip download --dest .venv/packages --requirement tests/packages/sources.lock --no-binary fuzzysearch; then
    say "tests/packages/sources.lock could not be fetched (reason above); tests that install from it will fail"
    wanted=
fi
# The compilers of TypeScript.
cp -R tests/packages/node .venv/packages/node
if ! npm ci --prefix .venv/packages/node --ignore-scripts --no-audit --no-fund; then
    say "tests/packages/node could not be fetched (reason above); tests of types will fail"
    wanted=
fi
[ -n "$wanted" ] || exit 0
echo "$wanted" >.venv/packages/stamp
