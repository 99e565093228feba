"""Verdicts on trials themselves: what broke, what did not run, and what passes often enough."""

from __future__ import annotations

import pytest

from pytest_crucible.analysis.trial_verdicts import not_run, nothing_ran, pass_if, too_many_errors
from pytest_crucible.metrics.groups import Group
from pytest_crucible.metrics.trials import Attempt, Trial
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.stats.verdict import CONFIRMED, ERRORED, NOT_RUN, REJECTED, Verdict

WORDS = {
    "p": "passed", "f": "failed", "e": "errored", "c": "crashed", "s": "skipped",
    "x": "xfailed", "i": "interrupted",
}  # fmt: skip
CALL, NET = "KeyError at app.py:3", "ConnectionError at app.py:7"


def trials(letters: str, errors: tuple[str, ...] = (CALL,)) -> list[Trial]:
    """A trial per letter, ``m`` for a missing one; the errors of errored ones in turn."""
    found = []
    for number, letter in enumerate(letters):
        attempts = []
        if letter != "m":
            error = errors[number % len(errors)] if letter == "e" else None
            attempts = [Attempt(("r", "main"), 1, WORDS[letter], 1.0, error)]
        found.append(Trial("e", "default", f"case-{number}", 1, "t", attempts))
    return found


def excess(letters: str, max_errors: object = None, **more: object) -> Verdict | None:
    definition = define("e", max_errors=max_errors)  # type: ignore[arg-type]
    return too_many_errors(definition, ("default",), trials(letters, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("letters", "reason"),
    [
        ("eeeee", "5 of 5 trials errored: 5 × KeyError at app.py:3"),
        ("e", "1 of 1 trial errored: 1 × KeyError at app.py:3"),
        ("epppppppppppppppppp", "1 of 19 trials errored: 1 × KeyError at app.py:3"),
        ("cccp", "3 of 4 trials crashed: 3 × it began and never ended"),
        ("ecep", "3 of 4 trials errored or crashed: 2 × KeyError at app.py:3, and 1 other"),
        ("essmm", "1 of 1 trial errored: 1 × KeyError at app.py:3"),
    ],
)
def test_more_errors_than_allowed_are_a_verdict(letters: str, reason: str) -> None:
    """Of the trials that ran, with the most frequent error in one line."""
    verdict = excess(letters)
    assert verdict is not None
    assert (verdict.verdict, verdict.reason) == (ERRORED, reason)
    assert (verdict.expectation, verdict.condition) == ("max_errors 5%", "default")


@pytest.mark.parametrize(
    "letters",
    ["", "p", "fff", "xxx", "ss", "mm", "i", "pipi", "epppppppppppppppppppp", "e" + "p" * 19],
)
def test_wrong_answers_and_a_few_errors_are_none(letters: str) -> None:
    """Five per cent are allowed; failures, skips and interruptions are no errors."""
    assert excess(letters) is None


@pytest.mark.parametrize(
    ("allowed", "letters", "errored"),
    [
        (0, "ep" * 5, True), (0, "pp", False), (0.5, "ep" * 5, False), ("49%", "ep" * 5, True),
        (1, "eee", False), ("100%", "ccc", False),
    ],
)  # fmt: skip
def test_the_author_says_how_many(allowed: object, letters: str, errored: bool) -> None:
    """A share, up to all of them."""
    assert (excess(letters, allowed) is not None) == errored


def test_the_most_frequent_error_is_told_and_the_others_are_counted() -> None:
    """Ties by name, so that the same run gives the same line."""
    verdict = excess("eeeee", errors=(NET, CALL))
    assert verdict is not None
    assert verdict.reason == f"5 of 5 trials errored: 3 × {NET}, and 2 others"
    verdict = excess("eeee", errors=(NET, CALL))
    assert verdict is not None
    assert verdict.reason == f"4 of 4 trials errored: 2 × {NET}, and 2 others"


def test_errors_are_counted_over_all_arms() -> None:
    """An experiment has one such verdict."""
    verdict = too_many_errors(define("e"), ("a", "b"), trials("ep"))
    assert verdict is not None
    assert verdict.condition == "all"


@pytest.mark.parametrize(
    ("letters", "expected"),
    [("", False), ("s", True), ("sss", True), ("sm", True), ("mm", True), ("sp", False),
     ("sc", False), ("si", False), ("sx", False)],
)  # fmt: skip
def test_nothing_ran_if_all_was_skipped_or_missing(letters: str, expected: bool) -> None:
    """What began has run, and without trials there is nothing to say."""
    assert nothing_ran(trials(letters)) == expected


def test_claims_on_what_did_not_run_are_neither_met_nor_refused() -> None:
    """They keep their text, and say what became of the trials."""
    claim = Verdict(
        expectation="cost.total < 1", condition="default", metric="cost.total",
        verdict=CONFIRMED, observed=0.0,
    )  # fmt: skip
    (verdict,) = not_run([claim], trials("ssm"))
    assert (verdict.verdict, verdict.expectation) == (NOT_RUN, "cost.total < 1")
    assert (verdict.observed, verdict.reason) == (None, "2 trials skipped, 1 trial never ran")


@pytest.mark.parametrize(
    ("outcomes", "needed", "verdict", "reason"),
    [
        (("pp", "pf"), "1/2", CONFIRMED, None),
        (("pp", "ff"), "1/2", REJECTED, "1 of 2 cases pass; not: case-1"),
        (("pp", "ee"), "1/2", REJECTED, "1 of 2 cases pass; not: case-1"),
        (("pp", "ss"), "2/2", CONFIRMED, None),  # a case that was skipped does not count
        (("pp", "sp"), "1/2", CONFIRMED, None),
        (("pp", "sp"), "2/2", REJECTED, "1 of 2 cases pass; not: case-1"),
        (("pp", "mp"), "2/2", REJECTED, "1 of 2 cases pass; not: case-1"),
        (("ss", "ss"), "1/2", REJECTED, "no case ran"),
    ],
)
def test_a_case_passes_if_enough_of_its_trials_do(
    outcomes: tuple[str, ...], needed: str, verdict: str, reason: str | None
) -> None:
    """Skipped cases are left out, missing trials are open."""
    group = Group("e", "default")
    for case, letters in enumerate(outcomes):
        for number, trial in enumerate(trials(letters), 1):
            trial.case, trial.trial = f"case-{case}", number
            group.trials.append(trial)
    found = pass_if(define("e", trials=2, pass_if=needed), group)
    assert (found.verdict, found.reason) == (verdict, reason)
