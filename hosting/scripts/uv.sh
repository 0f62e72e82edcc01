# Sourced by setup.sh and lock.sh. `find_uv PYTHON SCRATCH` prints the path of a uv: the one on PATH, else one that is
# installed with PYTHON's pip into the folder SCRATCH, which the caller removes.

find_uv() {
    local python=$1 scratch=$2
    if command -v uv; then
        return
    fi
    if "$python" -m venv "$scratch/uv" >/dev/null 2>&1 \
        && "$scratch/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv >&2; then
        echo "$scratch/uv/bin/uv"
        return
    fi
    return 1
}
