"""The terminal's summary: what stands there, line by line, ready to be pasted."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run import Run, open_run
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.trials import MISSING
from pytest_crucible.report.lines import Line
from pytest_crucible.report.numbers import MISSING as NO_NUMBER
from pytest_crucible.report.terminal import render
from pytest_crucible.report.verdict_rows import ASIDE
from pytest_crucible.runs.experiment_definition import Definition, define
from pytest_crucible.stats.verdict import CONFIRMED, INCONCLUSIVE, REJECTED
from tests.made_events import MS, event, recorded, reference_events, trial, trial_scope, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run-1"


def lines(
    folder: Path,
    events: Iterable[Event],
    *definitions: Definition,
    plan: Iterable[tuple[str, str, str, str, int]] = (),
) -> list[Line]:
    run = open_run(write_run(folder, events, definitions=definitions, plan=plan))
    return list(render(analyse(run)))


def text(found: Iterable[Line]) -> str:
    return "\n".join(line.text for line in found)


def expected(block: str) -> str:
    return textwrap.dedent(block).strip("\n")


def arm(
    condition: str, count: int, ms: float, *, failed: int = 0, cost: float | None = None
) -> Iterator[Event]:
    """Trials with one request each; the first ones fail."""
    for number in range(count):
        scope = trial_scope(f"case-{number}", condition=condition)
        bad = number < failed
        outcome, error = ("failed", "ValueError at t.py:3") if bad else ("passed", None)
        start, stop = trial(outcome, scope, duration_ms=ms, error=error)
        yield start
        metadata = {} if cost is None else {"cost": cost}
        yield event(measurements={"duration": (ms + number) * MS}, metadata=metadata, scope=scope)
        yield recorded({"score": number % 5 / 4}, scope)
        yield stop


# --- tables ------------------------------------------------------------------------------------


def test_one_condition(folder: Path) -> None:
    """The reference numbers, each with its interval or the reason why it has none."""
    assert text(lines(folder, reference_events(), define("exp"))) == expected(
        """
        exp
          12 events

                                                default
          latency.p50                 550 ms [200, 900]
          latency.p95                            955 ms
          reliability.success_rate  83.3 % [51.6, 97.9]
          cost.total                            $0.0550
          tokens.total                    16,500 tokens
          latency.p95: no interval: too few for p95: 10 of 72
          12 calls $0.055

          failed operations:
            2 × timeout
        """
    ) + "\n"  # fmt: skip


TAKEN = "taken for a score between 0 and 1, as all its values are; if it is not, declare range="


def test_two_conditions(folder: Path) -> None:
    """Side by side, a dash where one has no such number, then the changes."""
    events = [
        *arm("control", 8, 100, failed=2, cost=0.01),
        *arm("treatment", 8, 50, failed=1),
    ]
    found = lines(folder, events, define("exp", conditions=["control", "treatment"]))
    table, _, changes = text(found).partition("\n\n  treatment against control\n")
    assert table.replace(TAKEN, "TAKEN") == expected(
        """
        exp
          recorded 16/16 trials (8 cases × 2 conditions) · 16 events

                                        control             treatment
          success_rate      75.0 % [34.9, 96.8]   87.5 % [47.3, 99.7]
          score.mean       0.406 [0.170, 0.703]  0.406 [0.170, 0.703]
          latency.p50   103.5 ms [100.0, 107.0]  53.5 ms [50.0, 57.0]
          latency.p95                  106.7 ms               56.6 ms
          cost.total                    $0.0800                     –
          score.mean: TAKEN
          latency.p95: no interval: too few for p95: 8 of 72
          control: 8 calls $0.08 · $0.01333 per passed case
          treatment: 8 of 8 calls unpriced: 8 × no tokens reported
        """
    )
    margin, head, *rows = [line.strip() for line in changes.splitlines()]
    assert margin.startswith("margin 5 pp (success_rate), 5 % (latency); 95 % intervals; finds: ")
    assert head.split() == ["metric", "change", "interval", "finds", "n"]
    assert [row.split()[:2] for row in rows[:3]] == [
        ["INCONCLUSIVE", "success_rate"],
        ["IMPROVED", "latency"],
        ["REMOVED", "cost"],
    ]
    assert rows[0].split()[2:4] == ["+12.5", "pp"]
    assert rows[3] == ASIDE
    assert rows[4].split()[:2] == ["inconclusive", "score.mean"]
    assert rows[5].startswith("no verdict on latency.p95: too few for p95: 8 of ")
    assert "failed trials:" in rows


def test_three_conditions(folder: Path) -> None:
    """Each in a column of its own; one of which nothing was measured shows dashes."""
    scope = Scope(experiment="exp", condition="c")
    events = [*arm("a", 3, 100), *arm("b", 3, 100), event("ensemble.vote.completed", scope=scope)]
    found = text(lines(folder, events, define("exp", conditions=["a", "b", "c"])))
    assert found.partition("\n  score.mean: taken")[0] == expected(
        """
        exp
          recorded 6/6 trials (3 cases × 2 conditions) · 7 events

                                                        a                      b    c
          success_rate              100.0 % [29.2, 100.0]  100.0 % [29.2, 100.0]    –
          score.mean                 0.250 [0.033, 0.791]   0.250 [0.033, 0.791]    –
          latency.p50                              101 ms                 101 ms    –
          latency.p95                              102 ms                 102 ms    –
          reliability.success_rate  100.0 % [29.2, 100.0]  100.0 % [29.2, 100.0]    –
        """
    )
    assert "b against a" in found


def test_nothing_measured_makes_no_table(folder: Path) -> None:
    """An experiment with events but no numbers is told, without an empty table."""
    assert text(lines(folder, [event("cache.hit")])) == "exp\n  1 event\n"


def test_metrics_show_where_they_say_something(folder: Path) -> None:
    """Durations stand in where no latency was measured; rates of operations where some failed."""
    plain = text(lines(folder / "1", trial("passed", trial_scope(), duration_ms=4)))
    assert "tests.duration_ms.p50" in plain
    assert "latency" not in plain
    assert "reliability" not in plain
    failing = event("a.exception", metadata={"error": "boom"}, scope=trial_scope())
    assert "reliability.success_rate" in text(
        lines(folder / "2", [*trial("passed", trial_scope()), failing])
    )
    reruns = [*trial("failed", trial_scope()), *trial("passed", trial_scope(attempt=2))]
    assert "tests.first_pass_rate" in text(lines(folder / "3", reruns))
    repeated = [*trial("failed", trial_scope()), *trial("passed", trial_scope(trial=2))]
    assert "flip_rate" in text(lines(folder / "4", repeated, define("exp", trials=2)))


# --- expectations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expectation", "shown"),
    [
        ("tests.failed < 9", "2"),
        ("success_rate > 0.5", "75.0 %, at least 40.0 %"),
        ("success_rate > 0.99", "75.0 %, at most 95.4 %"),
        ("cost.total <= 1", "no metric cost.total was recorded"),
        ("latency.p99 < 1000", "107 ms · too few for p99: 8 of 299"),
    ],
)
def test_expectation_shows_what_was_seen(expectation: str, shown: str, folder: Path) -> None:
    """The number, how certain it is, and why there is no better verdict."""
    events = arm("default", 8, 100, failed=2)
    found = lines(folder, events, define("exp", expect=[expectation]))
    (judged,) = [line.text for line in found if expectation in line.text]
    assert judged.partition(expectation)[2].strip().startswith(shown)


def test_relative_expectation_shows_both_sides(folder: Path) -> None:
    """Both numbers, and the change with its interval, as the row of the comparison has it."""
    events = [*arm("control", 8, 100), *arm("treatment", 8, 50)]
    definition = define(
        "exp", conditions=["control", "treatment"], expect=["latency.p50 < control"]
    )
    found = lines(folder, events, definition)
    (judged,) = [line.text for line in found if "p50 < control" in line.text]
    (row,) = [line.text for line in found if line.text.startswith("    IMPROVED")]
    assert judged.split("  ")[1:3] == ["CONFIRMED", "treatment"]
    _, _, change, percent, low, high = row.split()[:6]
    assert judged.endswith(f"53.5 ms against 103.5 ms, change {change} {percent} {low} {high}")


# --- the head ----------------------------------------------------------------------------------


def test_head_without_expectations_is_bold(folder: Path) -> None:
    """Name and claim, on one line however the author broke it."""
    head = lines(folder, [event()], define("exp", hypothesis="it\n  works"))[0]
    assert head == Line("exp: it works", "bold")


@pytest.mark.parametrize(
    ("expectation", "verdict", "style"),
    [
        ("tests.trials >= 3", CONFIRMED, "green"),
        ("tests.trials > 3", REJECTED, "red"),
        ("success_rate > 0.9", INCONCLUSIVE, "yellow"),
    ],
)
def test_head_tells_the_verdict(expectation: str, verdict: str, style: str, folder: Path) -> None:
    """The verdict comes first, in words and in colour, and again with its expectation."""
    found = lines(folder, arm("default", 3, 10), define("exp", expect=[expectation]))
    assert found[0] == Line(f"{verdict}  exp", style)
    (judged,) = [line for line in found if expectation in line.text]
    assert judged.text.split()[:2] == [verdict, "default"]
    assert judged.style == style


def test_what_is_not_recorded_is_told(folder: Path) -> None:
    """Crashed trials with their node, skipped and missing ones: the line adds up."""
    events = [
        *trial("passed", trial_scope("a")),
        *trial(None, trial_scope("b")),
        *trial("skipped", trial_scope("c")),
    ]
    plan = [("exp", "default", f"test_it[{case}]", case, 1) for case in "abcd"]
    found = lines(folder, events, plan=plan)
    assert found[1] == Line(
        "  recorded 1/4 trials · 1 crashed (main) · 1 skipped · 1 missing", "yellow"
    )
    assert Line("incomplete: 1 trial never ran: test_it[d]", "yellow") in found


def test_duplicates_of_merged_shards_are_told() -> None:
    """A trial that several shards ran is counted once, and that is said."""
    events = [*trial("passed", trial_scope()), *trial("passed", trial_scope(), run="run-2")]
    found = list(render(analyse(Run(id="r", path=None, _events=lambda: iter(events)))))
    assert found[1].text == "  recorded 1/1 trials · 1 duplicate of other shards left out"


@pytest.mark.parametrize(
    ("repeats", "conditions", "design"),
    [
        (1, ("a",), "2/2 trials"),
        (3, ("a",), "6/6 trials (2 cases × 3 repeats)"),
        (1, ("a", "b"), "4/4 trials (2 cases × 2 conditions)"),
        (3, ("a", "b"), "12/12 trials (2 cases × 2 conditions × 3 repeats)"),
    ],
)
def test_design_is_told_by_its_factors(
    repeats: int, conditions: tuple[str, ...], design: str, folder: Path
) -> None:
    """How many trials there are follows from cases, conditions and repetitions."""
    events = [
        each
        for case in "xy"
        for number in range(1, repeats + 1)
        for condition in conditions
        for each in trial("passed", trial_scope(case, number, condition=condition))
    ]
    assert lines(folder, events)[1] == Line(f"  recorded {design}")


def test_uneven_designs_are_not_multiplied_out(folder: Path) -> None:
    """Where the factors do not make the number of trials, only the number is told."""
    events = [*arm("a", 2, 1), *arm("b", 1, 1)]
    assert lines(folder, events)[1].text == "  recorded 3/3 trials · 3 events"


# --- errors and completeness -------------------------------------------------------------------


def test_errors_are_ranked_and_cut(folder: Path) -> None:
    """The most frequent three kinds, each on one line, then how many more there are."""
    counts = {"rate\nlimit": 3, "b": 2, "a": 2, "c": 1, "d": 1}
    events = [
        event("x.exception", metadata={"error": error})
        for error, count in counts.items()
        for _ in range(count)
    ]
    assert text(lines(folder, events)).endswith(
        "\n\n  failed operations:\n"
        "    3 × rate limit\n    2 × a\n    2 × b\n    and 2 other kinds\n"
    )


def test_only_last_attempts_are_failed_trials(folder: Path) -> None:
    """A trial that passed on its second attempt is no failed trial."""
    flaky = [
        *trial("failed", trial_scope("a"), error="KeyError at t.py:1"),
        *trial("passed", trial_scope("a", attempt=2)),
    ]
    assert "failed trials" not in text(lines(folder, flaky))


def test_line_breaks_in_names_break_no_table(folder: Path) -> None:
    """Conditions, expectations and recorded names may hold line breaks; each row stays a line."""
    events = [
        *trial("passed", trial_scope(condition="a\nb")),
        *trial("passed", trial_scope(condition="c")),
        recorded({"s\nt": 1}, trial_scope(condition="a\nb")),
        recorded({"s\nt": 1}, trial_scope(condition="c")),
    ]
    run = open_run(write_run(folder, events))
    found = list(render(analyse(run, expect=["success_rate\n>\u20280.9"])))
    assert [len(line.text.splitlines()) for line in found if line.text] == [
        1 for line in found if line.text
    ]
    assert sum("success_rate > 0.9" in line.text for line in found) == 2


def test_doubts_about_the_record_are_told() -> None:
    """Events without an owner, late ones and values kept as text, each with its number."""
    results = Results(
        run="r", experiments=(), nodes=(), incomplete=("gw1: broke off",),
        unattributed=2000, late=1, sole=5, degraded=2,
    )  # fmt: skip
    found = list(render(results))
    assert [line.style for line in found] == ["yellow"] * 4
    assert found[0].text == "incomplete: gw1: broke off"
    assert found[1].text.startswith("2,000 events not attributed: emitted without context")
    assert found[2].text.startswith("1 event arrived after")
    assert found[3].text == "2 values could not be encoded and kept as text"


def test_nothing_recorded_prints_nothing() -> None:
    """A run without experiments has no summary."""
    assert list(render(analyse(Run(id="r", path=None, _events=lambda: iter(()))))) == []


def test_no_number_is_a_dash_and_never_nan(folder: Path) -> None:
    """No table shows nan, inf or None, whatever is missing."""
    events = [*arm("a", 1, 0), event(scope=Scope(experiment="exp", condition="b"))]
    found = text(lines(folder, events, define("exp", conditions=["a", "b"])))
    assert NO_NUMBER in found
    words = set(found.replace("[", " ").replace("]", " ").replace(",", " ").split())
    assert words.isdisjoint({"nan", "inf", "-inf", "None", MISSING})


def test_kinds_of_operations_have_rows_of_their_own(folder: Path) -> None:
    """Those that took the most time first, per call; the others are counted."""
    events = []
    for number in range(8):
        scope = trial_scope("case-1")
        start, stop = trial("passed", scope)
        for call in range(2):
            took = {"duration": (8 - number) * MS, "n": call}
            events.append(
                event(f"kind{number}.stop", took, {"span_id": f"{number}{call}"}, scope=scope)
            )
        if not number:
            events.insert(0, start)
    events.append(stop)
    shown = [line.text.split() for line in lines(folder, events) if line.text.startswith("  · ")]
    assert shown[0] == ["·", "kind0.stop,", "p50", "per", "call", "8", "ms"]
    assert [row[1] for row in shown] == [*(f"kind{number}.stop," for number in range(5)), "and"]
    assert shown[-1] == ["·", "and", "3", "more", "operations"]
