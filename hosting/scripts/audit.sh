#!/usr/bin/env bash
# Looks for known holes of the packages in requirements.lock, which has those of all lock files of the services, in the
# advisory service that uv asks (OSV, or the one of UV_AUDIT_SERVICE). Fails if there are any, or if it was not reached.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source hosting/scripts/uv.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
uv=$(find_uv .venv/bin/python "$scratch") || { echo "audit: needs uv, which is not on PATH and could not be installed with pip; install it, then repeat" >&2; exit 2; }

# uv audits what a project or a script depends on: here, a script that depends on what is locked, and nothing else.
.venv/bin/python - > "$scratch/locked.py" <<'EOF'
import json, pathlib, re
locked = re.findall(r"^(\w[^\\]*?) *\\?$", pathlib.Path("requirements.lock").read_text(), re.MULTILINE)
listed = [f"#   {json.dumps(each)}," for each in locked]
print("# /// script", '# requires-python = ">=3.12"', "# dependencies = [", *listed, "# ]", "# ///", sep="\n")
EOF

code=0
"$uv" audit --preview-features audit-command ${UV_AUDIT_SERVICE:+--service-url "$UV_AUDIT_SERVICE"} \
    --script "$scratch/locked.py" || code=$?
if ((code > 1)); then
    echo "audit: the locked packages were NOT checked: no advisory service was reached, or uv has failed (see above)" >&2
fi
exit "$code"
