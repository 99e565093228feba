PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test check suite bench lock clean capture

# The main job on real input: installs what is missing, runs the examples as experiments.
demo: .venv/ready
	$(BIN)/pytest examples --crucible-export=csv -q -p no:randomly -p no:cacheprovider

# Set-up, lint, types, layers and the whole suite.
test: check suite

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

bench: .venv/ready
	$(BIN)/python -m benchmarks

# Pins of everything above, with hashes and without addresses: `make lock` renews them.
lock: .venv/bin/uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --all-extras --group dev \
	  pyproject.toml -o requirements.lock

	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --prerelease=if-necessary-or-explicit \
	  --group capture pyproject.toml -o requirements-capture.lock

# The real client libraries against a local server, in an environment of their own.
capture: .venv-capture/ready
	.venv-capture/bin/python -m pytest -c tests/capture/pytest.ini --rootdir=. -p no:logfire \
	  -n2 --dist=worksteal tests/capture $(ARGS)

.venv-capture/ready: .venv/bin/uv requirements-capture.lock
	$(PYTHON) -m venv .venv-capture
	$(BIN)/uv pip install --quiet --python .venv-capture/bin/python --require-hashes \
	  -r requirements-capture.lock
	$(BIN)/uv pip install --quiet --python .venv-capture/bin/python --no-deps -e .
	touch .venv-capture/ready

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

.venv/ready: .venv/bin/uv requirements.lock pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch .venv/ready

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* crucible-results
