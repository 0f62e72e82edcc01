.PHONY: setup demo dev test test-integration test-system attacks audit chaos coverage test-setup check bench bench-fleet soak scale histories screenshots lock release

PYTHON := .venv/bin/python
# Keeps what pytest has compiled of the tests, also where Python is told not to write compiled files: each of pytest's
# processes would compile all of them again.
TEST := PYTHONDONTWRITEBYTECODE= $(PYTHON)
PYTEST := pytest -n 4 --dist loadfile
MINUTES := 5

setup:
	@bash hosting/scripts/setup.sh

# One real Run, end to end, on a stack of its own that is gone afterwards.
demo: setup
	@$(PYTHON) -u -m examples.demo

# The same stack, left running. The call that it gives to try is one with curl.
dev:
	@bash hosting/scripts/setup.sh curl
	@$(PYTHON) -u -m examples.demo --stay

# The tests have three layers, each a folder below tests/. This is the first one: what runs in the process of pytest, the
# workflows on a Temporal server, and one whole Run on real parts. ARGS goes to pytest: `make test ARGS=tests/unit/security`.
test: setup
	@$(TEST) -m $(PYTEST) $(ARGS)

# The second layer: each part with the real ones that it needs, such as Temporal, a browser, a store or uv.
test-integration: test-setup
	@$(TEST) -m $(PYTEST) tests/integration $(ARGS)

# The third layer: whole stacks, what harms them (faults), and who attacks them.
test-system: test-setup
	@$(TEST) -m $(PYTEST) tests/system $(ARGS)

# What of the third layer attacks: user code and pages try to get out of their Machines, as root and as a plain user.
attacks: test-setup
	@$(TEST) -m $(PYTEST) tests/system/attacks $(ARGS)

# Looks for known holes of the locked packages, where an advisory service can be reached; says so where none can.
audit: setup
	@bash hosting/scripts/audit.sh

# All layers, and which lines they have gone through. Fails if these are too few.
coverage: test-setup
	@$(TEST) -m $(PYTEST) tests --cov --cov-report=term:skip-covered $(ARGS)

test-setup:
	@bash hosting/scripts/setup.sh curl openssl promtool docker-compose rsync
	@bash hosting/scripts/packages.sh

check: setup
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 .venv/bin/pyright
	@.venv/bin/lint-imports

# Compares with a bare loop on Temporal, by turns. `make bench ARGS="--rounds 2"` measures less; docs/sizing.md says more.
# Takes some minutes; leave the machine alone.
bench: setup
	@.venv/bin/callboard setup --yes --typescript
	@$(PYTHON) -m tests.bench $(ARGS)

# What workers do together, and what they cost when idle. `make bench-fleet ARGS="neighbors --projects 50"` measures one
# part, and a smaller one. All of it takes some fifteen minutes; leave the machine alone.
bench-fleet: setup
	@$(PYTHON) -m tests.bench.fleet $(ARGS)

# Kills, stops and cuts off parts of a whole installation at random, and checks from outside that every promise was kept:
# `make chaos MINUTES=180`. Another run with its SEED has the same faults and deploys.
chaos: setup
	@$(PYTHON) -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Looks for leaks, by thousands of Attempts of all kinds; `make soak ARGS="--language typescript"` by those of a project
# in TypeScript. Takes some ten minutes.
soak: setup
	@.venv/bin/callboard setup --yes --typescript
	@$(TEST) -m pytest -m soak tests/system
	@$(PYTHON) -m tests.bench.soak $(ARGS)

# The tests that the third layer runs with fewer Runs.
scale: test-setup
	@$(TEST) -m pytest -m scale tests/system

# Records the workflow histories that the tests replay. Only for new shapes: old ones must keep replaying.
histories: setup
	@$(PYTHON) hosting/scripts/record_histories.py

# Makes the pictures of the pages that README.md and docs/ show.
screenshots: setup
	@$(PYTHON) hosting/scripts/screenshots.py

lock:
	@bash hosting/scripts/lock.sh

# All of a release, into dist/: docs/releasing.md.
release: setup
	@bash hosting/scripts/release.sh
