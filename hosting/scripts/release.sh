#!/usr/bin/env bash
# Builds the parts of a release from a clean commit; docs/releasing.md says what comes before and after.
#
#   bash hosting/scripts/release.sh packages    wheels, source distributions, SBOM and checksums, into dist/
#   bash hosting/scripts/release.sh image       the image of the services, callboard:VERSION
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() { echo "release: $*" >&2; exit 1; }

version=$(sed -nE 's/^version = "(.+)"$/\1/p' runtime/pyproject.toml)
[ -z "$(git status --porcelain)" ] || die "there are changes that are not committed: what is built would be in no commit."
grep -qxE "## $version( .*)?" CHANGELOG.md || die "CHANGELOG.md has no section $version."

# All times in what is built are that of the commit, so that the same commit gives the same files.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

build() {
    # With the locked build tools of .venv, and the wheel from the source distribution, which shows that it is whole.
    .venv/bin/uv build --quiet --no-config --no-build-isolation --python .venv/bin/python --out-dir dist "$1"
}

packages() {
    rm -rf dist
    build .
    build runtime
    .venv/bin/python hosting/scripts/sbom.py "dist/callboard-$version.cdx.json"
    rm -f dist/.gitignore
    (cd dist && sha256sum -- *.whl *.tar.gz *.json >SHA256SUMS && cat SHA256SUMS)
}

image() {
    local engine
    engine=$(command -v docker || command -v podman) \
        || die "the image was NOT built: it needs docker or podman, and neither is installed."
    "$engine" build --file hosting/Dockerfile --tag "callboard:$version" --build-arg SOURCE_DATE_EPOCH \
        --label "org.opencontainers.image.version=$version" \
        --label "org.opencontainers.image.revision=$(git rev-parse HEAD)" .
    echo "built the image callboard:$version"
}

case ${1:-} in
packages | image) "$1" ;;
*) die "say packages or image." ;;
esac
