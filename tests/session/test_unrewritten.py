"""Our modules are imported as they are, without pytest's rewriting of ``assert``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder, SourceFileLoader

import pytest

from pytest_crucible.session.unrewritten import _Finder, import_plainly


@pytest.fixture(autouse=True)
def _finders() -> Iterator[None]:
    before = list(sys.meta_path)
    sys.meta_path[:] = [each for each in before if not isinstance(each, _Finder)]
    yield
    sys.meta_path[:] = before


def test_it_comes_before_pytest_and_once() -> None:
    """However many sessions run in this process."""
    for _ in range(3):
        import_plainly()
    assert isinstance(sys.meta_path[0], _Finder)
    assert sum(isinstance(each, _Finder) for each in sys.meta_path) == 1


def test_ours_are_found_where_python_finds_them() -> None:
    """With Python's own loader, which keeps compiled modules."""
    found = _Finder().find_spec("pytest_crucible.telemetry")
    plain = PathFinder.find_spec(
        "pytest_crucible.telemetry", sys.modules["pytest_crucible"].__path__
    )
    assert plain is not None
    found = _Finder().find_spec(
        "pytest_crucible.telemetry", sys.modules["pytest_crucible"].__path__
    )
    assert found is not None
    assert type(found.loader) is SourceFileLoader
    assert found.origin == plain.origin


@pytest.mark.parametrize("name", ["json", "tests.conftest", "pytest_crucibles", "_pytest.config"])
def test_others_are_left_to_others(name: str) -> None:
    """Plugins and tests whose names begin like ours are rewritten as ever."""
    assert _Finder().find_spec(name) is None


def test_a_session_does_not_rewrite_us(pytester: pytest.Pytester) -> None:
    """What a session imports for its experiments was compiled by Python, not by pytest."""
    pytester.makepyfile(
        """
        import sys
        import pytest

        @pytest.mark.experiment("e")
        def test_it():
            loaders = {
                type(module.__loader__).__name__
                for name, module in sys.modules.items()
                if name.startswith(("pytest_crucible.session.trials", "pytest_crucible.record."))
            }
            assert loaders == {"SourceFileLoader"}
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:xdist")
    result.assert_outcomes(passed=1)
