"""``crucible.case(…)``: finds the experiment that is open where it is called."""

from __future__ import annotations

import threading

import pytest

import pytest_crucible as crucible


def test_it_finds_the_experiment_of_the_code() -> None:
    """Of two that are open, that of the block around; through a judge as well."""
    with crucible.experiment("one") as one, crucible.experiment("two") as two:
        with crucible.case("b", cluster="k"):
            pass
        with one.active(), crucible.case("a"):
            pass
    assert [e.scope.case for e in one.everything if e.scope and e.scope.trial] == ["a", "a"]
    starts = [e for e in two.everything if e.name == "crucible.trial.start"]
    assert [(e.scope.case if e.scope else "", e.metadata["cluster"]) for e in starts] == [
        ("b", "k")
    ]


def test_a_thread_finds_the_only_experiment() -> None:
    """Although it has no context."""
    with crucible.experiment("one") as handle:
        thread = threading.Thread(target=lambda: crucible.case("a").__enter__().record(x=1))
        thread.start()
        thread.join()
        assert handle.metrics().tests.trials == 1


def test_without_an_experiment() -> None:
    """One line, also where several are open and the code is in none."""
    with pytest.raises(crucible.LifecycleError, match=r"^case\('a'\): no experiment is open here$"):
        crucible.case("a")
    one = crucible.start("one")
    with pytest.warns(crucible.AttributionWarning):
        two = crucible.start("two")
    with pytest.raises(crucible.LifecycleError, match="several experiments are open; use exp"):
        crucible.case("a")
    crucible.stop(one)
    with crucible.case("a"):
        pass
    crucible.stop(two)
    assert two.metrics().tests.trials == 1


def test_a_case_within_a_case_is_refused() -> None:
    """As through the handle."""
    cannot = pytest.raises(crucible.LifecycleError, match="a case cannot contain other cases")
    with crucible.experiment("one") as handle, handle.case("a"), cannot:
        crucible.case("b")


def test_bad_ids_are_refused() -> None:
    """As through the handle."""
    refused = pytest.raises(crucible.DefinitionError, match="case must be a text or a number")
    with crucible.experiment("one"), refused:
        crucible.case(None)
