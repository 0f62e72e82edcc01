#!/usr/bin/env bash
# Builds all of a release into dist/, from a clean commit; docs/releasing.md says what it is, and what comes afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source hosting/scripts/npm.sh

die() { echo "release: $*" >&2; exit 1; }

version=$(sed -nE 's/^version = "(.+)"$/\1/p' runtime/pyproject.toml)
notes=$(awk -v version="$version" '/^## / { within = $2 == version; next } within' CHANGELOG.md | sed '/./,$!d')
[ -z "$(git status --porcelain)" ] || die "there are changes that are not committed: what is built would be in no commit."
[ -n "$notes" ] || die "CHANGELOG.md has no section $version, or nothing in it."

# All times in what is built are that of the commit, so that the same commit gives the same files.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
dist=$scratch/dist

# With the locked build tools of .venv, and the wheel from the source distribution, which shows that it is whole.
for project in . runtime; do
    .venv/bin/uv build --quiet --no-config --no-build-isolation --python .venv/bin/python --out-dir "$dist" "$project"
done
rm -f "$dist/.gitignore"

# The packages of npm have no version where they lie; they get it here.
cp -R runtime/node/packages/@callboard/runtime "$scratch/package"
cp LICENSE "$scratch/package"
cp -R callboard/projects/node_tools "$scratch/tools"
npm pkg set "version=$version" --prefix "$scratch/package"
npm pkg set "version=$version" --prefix "$scratch/tools"
npm pack "$scratch/package" --silent --pack-destination "$dist" >/dev/null

# What .dockerignore lets in, as the folder that an image is built from.
mapfile -t let_in < <(sed -n 's/^!//p' .dockerignore)
git -c tar.umask=0022 archive --format=tar --output "$dist/callboard-$version-image.tar" HEAD "${let_in[@]}"

npm sbom --prefix "$scratch/tools" --package-lock-only --sbom-format=cyclonedx --sbom-type=application >"$scratch/sbom.json"
.venv/bin/python hosting/scripts/sbom.py "$dist/callboard-$version.cdx.json" "$scratch/sbom.json"

echo "$notes" >"$dist/release-notes.md"
(cd "$dist" && sha256sum -- * >"$scratch/SHA256SUMS" && mv "$scratch/SHA256SUMS" .)
rm -rf dist
mv "$dist" dist
cat dist/SHA256SUMS
