# make compare: which server is faster, by how much, how sure. make test: does everything keep its promises.
# Both install what they need into .venv first, once.

PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
OF_IMPLEMENTATIONS := $(wildcard impls/*/requirements.txt impls/*/requirements-dev.txt)
# Tests wait for half of their time.
TEST_PROCESSES := $(shell echo $$(( $$(nproc) * 2 )))
PINNED := pyproject.toml constraints.txt $(OF_IMPLEMENTATIONS)

# Two makes at once in a fresh checkout would break each other's .venv.
ALONE := $(shell command -v flock >/dev/null && echo flock Makefile || \
	echo 'echo "flock (util-linux) is not on the PATH: run one make at a time until .venv is there" >&2;')

.PHONY: compare test lint schema faults picture doctor-page fuzz clean
.DELETE_ON_ERROR:

compare: .venv/installed
	@.venv/bin/harness compare --impls all

test: .venv/installed
	@.venv/bin/pytest -n $(TEST_PROCESSES)

lint: .venv/installed
	@git grep -nIE '^(<{7}|[|]{7}|>{7}) |^={7}$$'; found=$$?; \
		test $$found -ne 0 || echo "make lint: these are markers of a merge conflict; resolve it" >&2; test $$found -eq 1
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

# The types of a run's files as JSON Schema, into results/schema.
schema: .venv/installed
	@.venv/bin/python -m harness.json_schema

# All that parses, fuzzed for a minute; python -m tests.fuzz --help tells of more.
fuzz: .venv/installed
	@.venv/bin/python -m tests.fuzz

# docs/report.png, of results/reference. make picture RUN=results/FOLDER has another run there first.
picture: .venv/installed
	@.venv/bin/python -m tests.picture $(RUN)

# The fault table of DESIGN.md, from the names of the tests in tests/faults.
faults: .venv/installed
	@.venv/bin/python tests/faults/table.py

# docs/doctor.md, from the checks of harness doctor.
doctor-page: .venv/installed
	@.venv/bin/python -m harness.doctor.page

.venv/installed: $(PINNED)
	@test -n "$(PYTHON)" || { echo "percore needs Python 3.11 or newer; none is on the PATH" >&2; exit 2; }
	@test ! -L .venv || { echo ".venv is a link; remove it: what it leads to would be emptied" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) lacks the venv module; install it (Debian: apt-get install python3-venv)" >&2; exit 2; }
	@$(ALONE) $(MAKE) --no-print-directory install-alone

# Who had to wait for another make finds all of it done. flock(1) holds the lock as long as its command lives.
.PHONY: install-alone
install-alone:
	@test -e .venv/installed && test -z "$$(find $(PINNED) -newer .venv/installed)" || $(MAKE) --no-print-directory install

.PHONY: install
install:
	@echo "Installing into .venv, once; this takes about a minute"
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt \
		$(foreach file,$(OF_IMPLEMENTATIONS),--requirement $(file)) \
		--config-settings editable_mode=compat --editable '.[dev]'
	@touch .venv/installed

clean:
	rm -rf .venv *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
