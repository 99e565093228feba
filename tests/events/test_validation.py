"""Events held against the catalog: what is wrong is told, what is fine is left alone."""

from __future__ import annotations

from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.events import catalog as _catalog
from pytest_crucible.events.validation import problems_of
from tests.made_events import MS, event, reference_events

STOP = "altar.tool.stop"


@pytest.mark.parametrize(
    ("name", "numbers", "context", "problem"),
    [
        ("req_llm.request.stop", {}, {}, "req_llm.request.stop without duration"),
        ("req_llm.request.stop", {"start": 1}, {}, "req_llm.request.stop without duration"),
        (STOP, {"duration": True}, {}, "altar.tool.stop: duration is a bool, not a number"),
        (STOP, {"duration": "1"}, {}, "altar.tool.stop: duration is a str, not a number"),
        (STOP, {"duration": None}, {}, "altar.tool.stop: duration is None, not a number"),
        (
            "crucible_train.batch.stop", {"batch": 1, "loss": float("nan")}, {},
            "crucible_train.batch.stop: loss is NaN, not a number",
        ),
        (
            "crucible_train.epoch.stop", {"epoch": 1, "loss": float("-inf")}, {},
            "crucible_train.epoch.stop: loss is infinite, not a number",
        ),
        (
            "ensemble.vote.completed", {"agreement": [1]}, {},
            "ensemble.vote.completed: agreement is a list, not a number",
        ),
        (
            "crucible_train.epoch.stop", {}, {"epoch": "x"},
            "crucible_train.epoch.stop without epoch",
        ),
        (
            "req_llm.reqest.stop", {}, {},
            "req_llm.reqest.stop is not known; req_llm.request.stop was meant?",
        ),
        (
            "Altar.Tool.Stop", {}, {},
            "Altar.Tool.Stop is not known; altar.tool.stop was meant?",
        ),
    ],
)  # fmt: skip
def test_problem_is_a_phrase(
    name: str, numbers: dict[str, Any], context: dict[str, Any], problem: str
) -> None:
    """What is missing, what is no number, and what is misspelt."""
    assert problems_of([event(name, numbers, context)] * 2) == {problem: 2}


@pytest.mark.parametrize(
    ("name", "numbers", "context"),
    [
        ("req_llm.request.stop", {"duration_ns": 1}, {}),
        ("req_llm.request.stop", {"start": 1, "stop": 2}, {}),
        ("req_llm.request.stop", {"latency_ms": 1.5}, {}),
        ("crucible_train.epoch.stop", {"loss": 0.25}, {"epoch": 3}),
        ("req_llm.request.start", {}, {}),
        ("altar.tool.exception", {}, {}),  # the end of a known span
        ("crucible_train.batch.start", {}, {}),
        ("my_agent.step.stop", {"duration": "x"}, {}),  # nobody said what it carries
        ("rag.tool.stop", {}, {}),
    ],
)
def test_what_is_fine_is_left_alone(
    name: str, numbers: dict[str, Any], context: dict[str, Any]
) -> None:
    """Other spellings of a duration, numbers in the metadata, names of one's own."""
    assert problems_of([event(name, numbers, context)]) == {}


def test_the_reference_systems_example_is_fine() -> None:
    """Ten requests that stop and two that fail are as the catalog has them."""
    assert problems_of(reference_events()) == {}


def test_kinds_beyond_fifty_are_counted() -> None:
    """Names made up on the fly do not flood the record."""
    names = [f"altar.tool.stop{i % 10}{i // 10}" for i in range(60)]
    found = problems_of(event(name) for name in [*names, names[7]])
    assert len(found) == 51
    assert found["further kinds of problems"] == 10
    assert next(iter(found.values())) == 2


# --- in library use ----------------------------------------------------------------------------


def test_error_is_raised_when_the_experiment_stops() -> None:
    """Nothing happens while it records; then it is stopped, and one line says what is wrong."""
    exp = crucible.experiment("exp", validate="error")
    with pytest.raises(crucible.ValidationError) as caught, exp as handle:  # noqa: PT012
        telemetry.execute("altar.tool.stop")
        telemetry.execute("altar.tool.stop", {"duration": MS})
    assert str(caught.value) == "experiment 'exp': altar.tool.stop without duration (1 ×)"
    assert caught.value.problems == {"altar.tool.stop without duration": 1}
    assert handle.status == "stopped"
    assert len(handle.events) == 2
    crucible.cleanup(handle)


def test_warn_is_a_warning() -> None:
    """With ``warn`` the experiment stops with a warning: the first problem, and how many more."""
    handle = crucible.start("exp", validate="warn")
    handle.execute("altar.tool.stop")
    handle.execute("altar.tool.stpo")
    with pytest.warns(UserWarning, match=r"without duration \(1 ×\), and 1 more"):
        crucible.stop(handle)
    crucible.cleanup(handle)


def test_what_the_block_raises_comes_first() -> None:
    """A wrong event does not hide the exception that ended the block."""
    exp = crucible.experiment("exp", validate="error")
    with pytest.raises(KeyError), exp as handle:  # noqa: PT012
        telemetry.execute("altar.tool.stop")
        raise KeyError("mine")
    assert handle.reason == "KeyError"
    crucible.cleanup(handle)


def test_cleanup_of_an_open_experiment_forgets_it_all_the_same() -> None:
    """Forgetting is no place for complaints."""
    handle = crucible.start("exp", validate="error")
    handle.execute("altar.tool.stop")
    crucible.cleanup(handle)
    with pytest.raises(LookupError):
        crucible.get(handle.id)


def test_defined_events_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of one's own are held against their definition, and their typos are noticed."""
    monkeypatch.setattr(_catalog, "_known", dict(_catalog._known))
    crucible.define_event("cache.lookup", measurements={"age_s": "s"})
    found = problems_of([event("cache.lookup"), event("cache.lokup")])
    assert found == {
        "cache.lookup without age_s": 1,
        "cache.lokup is not known; cache.lookup was meant?": 1,
    }


def test_unknown_level_is_a_definition_error() -> None:
    """A typo in ``validate`` is refused."""
    with pytest.raises(
        crucible.DefinitionError, match="validate='strict' is not one of warn, error"
    ):
        crucible.start("exp", validate="strict")  # type: ignore[arg-type]
