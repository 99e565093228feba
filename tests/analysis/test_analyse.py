"""A run, read, summarised, judged and compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_crucible._errors import ArtifactError, ExpectationError
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import Run, open_run
from pytest_crucible.events.enrichment import Enriched
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.metrics.observations import Group
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.runs.manifest import write_manifest
from pytest_crucible.stats.comparison import EQUIVALENT, REGRESSED
from pytest_crucible.stats.verdict import (
    CONFIRMED,
    ERRORED,
    INCONCLUSIVE,
    NOT_RUN,
    REJECTED,
)
from pytest_crucible.telemetry import HANDLER_FAILURE
from tests.analysis.support import arm, run_of
from tests.made_events import MS, event, reference_events, trial, trial_scope, write_run


def test_conditions_stand_as_the_author_named_them(tmp_path: Path) -> None:
    """The first condition is the baseline, whichever ran first; unknown ones come last."""
    events = [*arm("extra", "p"), *arm("treatment", "p"), *arm("control", "p")]
    definition = define("exp", conditions=["control", "treatment", "never_ran"])
    (found,) = analyse(run_of(tmp_path, events, definition)).experiments
    assert found.conditions == ("control", "treatment", "extra")
    assert list(found.metrics) == list(found.groups) == ["control", "treatment", "extra"]
    assert list(found.comparisons) == ["treatment", "extra"]


def test_experiments_stand_in_order_of_appearance(tmp_path: Path) -> None:
    """Experiments of which nothing was recorded are left out; undefined ones are not."""
    events = [event(scope=Scope(experiment=name)) for name in ("unknown", "second")]
    found = analyse(run_of(tmp_path, events, define("empty"), define("second")))
    assert [each.definition.name for each in found.experiments] == ["second", "unknown"]


def test_exported_file_gives_the_same_metrics(tmp_path: Path) -> None:
    """What an export says is what the folder said."""
    run = run_of(tmp_path, [*reference_events(), *arm("default", "ppf")])
    path = export_events(lambda: run.events, tmp_path / "e.jsonl", FORMATS["jsonl"])
    (before,), (after,) = (analyse(each).experiments for each in (run, open_run(path)))
    assert after.metrics == before.metrics
    assert after.errors == before.errors == {"timeout": 2}
    assert after.trials == before.trials


def test_expectations_of_the_definition_are_judged_per_condition(tmp_path: Path) -> None:
    """Without a condition an expectation holds for every arm, with one for that arm only."""
    definition = define(
        "exp", conditions=["a", "b"], expect=["tests.failed < 1", "b.tests.trials > 1"]
    )
    (found,) = analyse(run_of(tmp_path, [*arm("a", "ff"), *arm("b", "pp")], definition)).experiments
    assert [(each.condition, each.verdict) for each in found.verdicts] == [
        ("a", REJECTED), ("b", CONFIRMED), ("b", CONFIRMED),
    ]  # fmt: skip


def test_given_expectations_replace_those_of_the_author(tmp_path: Path) -> None:
    """An artifact can be judged again, by other expectations."""
    run = run_of(tmp_path, arm("default", "p"), define("exp", expect=["tests.trials > 5"]))
    (found,) = analyse(run, expect=["tests.trials > 0"]).experiments
    assert [each.expectation for each in found.verdicts] == ["tests.trials > 0"]
    with pytest.raises(ExpectationError, match="at column 16"):
        analyse(run, expect=["success_rate > nonsense"])


@pytest.mark.parametrize(
    ("outcomes", "verdicts"),
    [
        (("pp", "pf"), {"pass_if 1/2": CONFIRMED}),
        (("pp", "ff"), {"pass_if 1/2": REJECTED}),
        (("pp", "pc"), {"max_errors 5%": ERRORED, "pass_if 1/2": CONFIRMED}),
        (("ss", "ss"), {"pass_if 1/2": NOT_RUN}),
    ],
)
def test_trials_have_verdicts_of_their_own(
    outcomes: tuple[str, str], verdicts: dict[str, str], tmp_path: Path
) -> None:
    """``pass_if``, too many errors, and that nothing ran; the worst is that of the experiment."""
    words = {"p": "passed", "f": "failed", "s": "skipped", "c": None}
    events = [
        each
        for case, letters in enumerate(outcomes)
        for number, letter in enumerate(letters, 1)
        for each in trial(words[letter], trial_scope(f"case-{case}", number))
    ]
    definition = define("exp", trials=2, pass_if="1/2")
    results = analyse(run_of(tmp_path, events, definition))
    (found,) = results.experiments
    assert {each.expectation: each.verdict for each in found.verdicts} == verdicts
    assert found.verdict == next(iter(verdicts.values()))
    assert bool(results.unmet("warn")) == (found.verdict in (ERRORED, REJECTED))
    assert results.not_run == (["exp"] if found.verdict == NOT_RUN else [])
    assert bool(results.unmet("warn", not_run=True)) == (found.verdict != CONFIRMED)


@pytest.mark.parametrize(
    ("margin", "verdict"), [(None, REGRESSED), (0.5, EQUIVALENT), ({"latency": 0.5}, EQUIVALENT)]
)
def test_margin_of_the_definition_decides_comparisons(
    margin: float | dict[str, float] | None, verdict: str, tmp_path: Path
) -> None:
    """What does not matter is up to the author: for all metrics, or for one."""
    events = [
        event(
            measurements={"duration": (100 + extra + i) * MS},
            scope=trial_scope(f"case-{i}", condition=condition),
        )
        for condition, extra in (("a", 0), ("b", 20))
        for i in range(12)
    ]
    definition = define("exp", conditions=["a", "b"], margin=margin)
    (found,) = analyse(run_of(tmp_path, events, definition)).experiments
    (latency,) = [each for each in found.comparisons["b"] if each.metric == "latency"]
    assert latency.verdict == verdict


# --- completeness ------------------------------------------------------------------------------


def test_complete_run_has_nothing_to_excuse(tmp_path: Path) -> None:
    """Closed nodes and finished trials: nothing is lost, whatever failed."""
    found = analyse(run_of(tmp_path, arm("default", "pfs")))
    assert (found.incomplete, found.lost, found.noted) == ((), False, False)
    assert found.nodes == ({"name": "main", "events": 6, "closed": True},)
    assert found.experiments[0].recorded == 2


def test_what_is_missing_is_told_in_sentences(tmp_path: Path) -> None:
    """Crashed and missing trials, detached handlers and nodes that broke off are named."""
    metadata = {"handler_id": "h", "kind": "KeyError", "reason": "'x'", "event_name": "a"}
    events = [*arm("default", "cc"), event(HANDLER_FAILURE, metadata=metadata)]
    plan = [("exp", "default", "test_gone", "gone", 1)]
    folder = write_run(tmp_path / "r", events, plan=plan, closed=False)
    found = analyse(open_run(folder))
    assert found.incomplete == (
        "main: did not end in good order",
        "main: handler 'h' was detached after it raised KeyError: 'x' (on a)",
        "1 trial never ran: test_gone",
        "2 trials crashed: test_it[case-0] and 1 more",
    )
    assert found.lost
    assert found.experiments[0].recorded == 0


def test_torn_spool_is_lost_and_told(tmp_path: Path) -> None:
    """Bytes that cannot be read are told with the file and the place."""
    folder = write_run(tmp_path / "r", [event()])
    spool = folder / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-3])
    found = analyse(open_run(folder))
    assert found.lost
    assert any(f"{spool}: torn at byte" in each for each in found.incomplete)


def test_attribution_is_counted() -> None:
    """How many events were told by doubt, and how many values by their text, is kept."""
    events = [
        event(attribution="late"), event(attribution="sole"),
        event(scope=None, attribution="unattributed"), event(degraded=2),
    ]  # fmt: skip
    found = analyse(Run(id="r", path=None, _events=lambda: iter(events)))
    assert (found.late, found.sole, found.unattributed, found.degraded) == (1, 1, 1, 2)


def test_unreadable_event_is_an_artifact_error(tmp_path: Path) -> None:
    """A damaged line is found while reading, and told by file and line."""
    path = export_events(lambda: iter([event()]), tmp_path / "e.jsonl", FORMATS["jsonl"])
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(ArtifactError, match=r"e\.jsonl:2: "):
        analyse(open_run(path))


# --- plugins and the manifest ------------------------------------------------------------------


def one_metric(group: Group, metrics: Metrics) -> Mapping[str, float]:
    return {"f1": 0.5 if group.condition == "a" else 0.75}


def test_custom_metrics_can_be_expected(tmp_path: Path) -> None:
    """Numbers that a plugin gives have no interval, so no claim about them is certain."""
    definition = define("exp", conditions=["a", "b"], expect=["f1 > 0.6"])
    run = run_of(tmp_path, [*arm("a", "p"), *arm("b", "p")], definition)
    (found,) = analyse(run, custom=one_metric).experiments
    assert {name: each.custom for name, each in found.metrics.items()} == {
        "a": {"f1": 0.5}, "b": {"f1": 0.75},
    }  # fmt: skip
    assert [each.verdict for each in found.verdicts] == [INCONCLUSIVE, INCONCLUSIVE]
    assert {each.reason for each in found.verdicts} == {
        "a plugin gave only the number; declare it with formula= or values="
    }


def test_custom_metrics_come_back_from_the_manifest(tmp_path: Path) -> None:
    """Offline there is no plugin to ask: the manifest tells what it said."""
    run = run_of(tmp_path, arm("a", "p"), define("exp", condition="a"))
    results = analyse(run, custom=one_metric)
    assert run.path is not None
    write_manifest(run.path, {"run": run.id, **results.to_dict()})
    (again,) = analyse(open_run(run.path)).experiments
    assert again.metrics["a"].custom == {"f1": 0.5}


def test_enrichers_take_part(tmp_path: Path) -> None:
    """What an enricher sets is in the metrics."""

    def price(event: Event, enriched: Enriched) -> None:
        enriched.cost_usd = 2.0

    (found,) = analyse(run_of(tmp_path, [event()]), [price]).experiments
    assert found.metrics["default"].cost.total == 2
