#!/usr/bin/env bash
# Pins the images of the compose files to what their tags name today: asks the registries for their digests, and writes
# these into `.env` as variables (`TEMPORAL_DIGEST=@sha256:…`), which the compose files append to the images' names. All
# else in `.env` stays. Run it again to take newer ones; delete the lines whose names end with _DIGEST to undo it.
#
#   bash hosting/scripts/pin-images.sh [FOLDER]    FOLDER has the compose files and `.env`; by default, the repository
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}"

fail() { echo "pin-images: $*" >&2; exit 1; }
command -v docker >/dev/null || fail "the program docker is not installed. It is needed to ask the registries."
[ -f .env ] || fail "there is no file .env in $PWD. docs/install.md says what has to be in it."

# NAME:TAG${X_DIGEST:-} in compose files, NAME:TAG${X_DIGEST} in the Dockerfile.
images=$(grep --no-filename --only-matching --extended-regexp '[a-z][a-z0-9./-]*:[A-Za-z0-9._-]+\$\{[A-Z_]+_DIGEST(:-)?\}' \
    docker-compose.yml hosting/docker-compose.tls.yml hosting/Dockerfile | sed --regexp-extended 's/\$\{([A-Z_]+)(:-)?\}/ \1/' | sort --unique)
[ -n "$images" ] || fail "no compose file in $PWD has an image with a variable for its digest."

new=$(mktemp .env.XXXXXX)
trap 'rm -f "$new"' EXIT
chmod --reference=.env "$new"
grep --invert-match --extended-regexp '^[A-Z_]+_DIGEST=' .env >"$new" || true
[ -z "$(tail --bytes=1 "$new")" ] || echo >>"$new"
while read -r image variable; do
    # The digest of the list of all platforms, so that it is the same for each of them.
    digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}') ||
        fail "the digest of $image cannot be found (reason above). Nothing was changed."
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || fail "docker named '$digest' as the digest of $image. Nothing was changed."
    echo "$variable=@$digest" >>"$new"
    echo "$image is $digest"
done <<<"$images"
# One variable that stands for two images would pin one of them to the other.
twice=$(grep --only-matching --extended-regexp '^[A-Z_]+_DIGEST' "$new" | sort | uniq --repeated)
[ -z "$twice" ] || fail "$twice stands for more than one image. Nothing was changed."
mv "$new" .env
trap - EXIT
