PYTHON ?= python3.11
BIN := .venv/bin

# Where this is set, each of the hundreds of processes that the suite starts would compile pytest,
# NumPy and SciPy anew, which takes several times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick check suite bench lock clean capture training oldest

# The main job on real input: installs what is missing, runs the examples as experiments.
demo: .venv/ready
	$(BIN)/pytest examples --crucible-export=csv -q -p no:randomly -p no:cacheprovider

# Set-up, lint, types, layers and the whole suite.
test: check suite

# Between two edits: lint, types, layers and the tests that are not slow (tests/slow.py), properties
# with few examples; at most 90 s on two cores that have nothing else to do.
quick: check
	$(BIN)/pytest -q -m "not slow" --hypothesis-profile=quick -n2 --dist=worksteal $(ARGS)

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

suite: .venv/ready
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n2 --dist=worksteal $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=95

# The table of speeds, beside the peers, in an environment of its own.
bench: .venv-bench/ready
	.venv-bench/bin/python -m benchmarks $(ARGS)

.venv-bench/ready: .venv/bin/uv requirements-bench.lock
	$(PYTHON) -m venv .venv-bench
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-bench/bin/python \
	  --require-hashes -r requirements-bench.lock
	$(BIN)/uv pip install --quiet --python .venv-bench/bin/python --no-deps -e .
	touch .venv-bench/ready

# Pins of everything above, with hashes and without addresses: `make lock` renews them.
lock: .venv/bin/uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --all-extras --group dev \
	  pyproject.toml -o requirements.lock

	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --prerelease=if-necessary-or-explicit \
	  --group capture pyproject.toml -o requirements-capture.lock

	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header \
	  --group bench pyproject.toml -o requirements-bench.lock

# The real client libraries against a local server, in an environment of their own.
capture: .venv-capture/ready
	.venv-capture/bin/python -m pytest -c tests/clients/pytest.ini --rootdir=. -p no:logfire \
	  -n2 --dist=worksteal tests/clients $(ARGS)

.venv-capture/ready: .venv/bin/uv requirements-capture.lock
	$(PYTHON) -m venv .venv-capture
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-capture/bin/python --require-hashes \
	  -r requirements-capture.lock
	$(BIN)/uv pip install --quiet --python .venv-capture/bin/python --no-deps -e .
	touch .venv-capture/ready

# The callbacks under the real frameworks with tiny models, in an environment of their own.
training: .venv-training/ready
	.venv-training/bin/python -m pytest -c tests/integrations/pytest.ini --rootdir=. \
	  tests/integrations $(ARGS)

# With pip, which finds wheels of PyTorch that a machine keeps on its disk.
.venv-training/ready: pyproject.toml
	$(PYTHON) -m venv .venv-training
	.venv-training/bin/python -m pip install --quiet --upgrade pip
	.venv-training/bin/python -m pip install --quiet --group training -e .
	touch .venv-training/ready

# The plugin's behaviour on the oldest pytest that is supported.
oldest: .venv-oldest/ready
	.venv-oldest/bin/python -m pytest -n2 --dist=worksteal tests/session tests/cli $(ARGS)

.venv-oldest/ready: .venv/bin/uv requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-oldest/bin/python \
	  --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python .venv-oldest/bin/python --no-deps "pytest==8.4.*"
	$(BIN)/uv pip install --quiet --python .venv-oldest/bin/python --no-deps -e .
	touch .venv-oldest/ready

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

.venv/ready: .venv/bin/uv requirements.lock pyproject.toml
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch .venv/ready

clean:
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* crucible-results
