"""Verdicts outside pytest: `compare` and `judge` say what a session and the command line say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible.cli.main import main
from tests.test_html import ELEMENTS, HOSTILE, Tags

MS = 1_000_000


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Leaves no experiment behind."""
    yield
    for each in crucible.list_experiments():
        crucible.cleanup(each)


def made(
    condition: str, factor: float = 1.0, name: str = "prompt", score: float = 0.8
) -> crucible.Experiment:
    """An experiment of 40 calls that differ a little, each with a score."""
    with crucible.experiment(name, condition=condition) as handle:
        for i in range(40):
            duration = int(factor * (100 + i % 7) * MS)
            handle.execute("llm.call.stop", {"duration": duration, "cost": 0.01})
            handle.record(score=score + (i % 5) / 100)
    return handle


def archived(handle: crucible.Experiment, folder: Path) -> Path:
    return crucible.archive(handle, folder / f"{handle.condition}.zip")


# --- compare -----------------------------------------------------------------------------------


def test_compare_gives_the_rows_of_the_command_line(tmp_path: Path) -> None:
    """The verdicts, changes, intervals and p that ``crucible compare`` has for their archives."""
    before, after = made("default"), made("default", 1.5)
    paths = [crucible.archive(each, tmp_path / f"{each.id}.zip") for each in (before, after)]
    out = tmp_path / "out.json"
    with redirect_stdout(StringIO()) as text:
        main(["compare", *map(str, paths), "--json", str(out)])
    (printed,) = json.loads(out.read_text())["comparisons"]
    found = crucible.compare(before, after)
    (ours,) = json.loads(json.dumps(found.to_dict()))["comparisons"]
    assert ours["arms"] == printed["arms"]
    rows = {row.metric: row for row in found}
    assert rows["latency"].verdict == "REGRESSED"
    assert rows["latency"].change == pytest.approx(1.5)
    assert rows["latency"].p is not None
    assert rows["latency"].p < 0.001
    assert len(found) == len(rows) == len(found.arms[0].comparisons)
    assert (found.verdict, rows["cost"].verdict) == ("REGRESSED", "INCONCLUSIVE")
    assert rows["cost"].alike == 40  # one in eleven calls could still cost more
    table = str(found).splitlines()
    assert table[0].startswith("REGRESSED  1 regressed")
    assert table[-len(rows) :] == text.getvalue().rstrip().splitlines()[-len(rows) :]


def test_compare_takes_handles_ids_runs_and_arms(tmp_path: Path) -> None:
    """Whatever stands for a record gives the same rows."""
    short, long = made("short"), made("long", 1.5)
    path = crucible.export_multiple([short, long], "jsonl", tmp_path / "both.jsonl")
    run, alone = crucible.open_run(path), crucible.open_run(archived(long, tmp_path))
    found = list(crucible.compare(short, long))
    for pair in (
        (short.id, long),
        (run.arm("prompt", "short"), long.id),
        (short, run.arm(condition="long")),
        (short, alone),
    ):
        assert list(crucible.compare(*pair)) == found
    assert repr(run.arm(condition="long")) == f"<arm 'prompt' 'long' of {run.id}>"
    assert run.arm(condition="long").metrics == run.metrics("prompt", "long")


def test_the_first_of_several_is_the_baseline() -> None:
    """Each other one is compared with it, and titles tell which is which."""
    handles = [made("short"), made("long", 1.5), made("fast", 0.5)]
    found = crucible.compare(*handles)
    assert [run.title for run in found.runs] == [
        "prompt (long) against prompt (short)",
        "prompt (fast) against prompt (short)",
    ]
    verdicts = [(row.metric, row.verdict) for row in found if row.metric == "latency"]
    assert verdicts == [("latency", "REGRESSED"), ("latency", "IMPROVED")]
    assert [arm.condition for arm in found.arms] == ["long", "fast"]
    assert repr(found).startswith("<comparison of prompt (long) against prompt (short); prompt (fa")


def test_names_that_are_the_same_are_told_apart_by_the_ids() -> None:
    """A cell that ran twice made two experiments of one name."""
    first, second = made("default"), made("default")
    (run,) = crucible.compare(first, second).runs
    assert run.title == f"prompt of {second.id} against prompt of {first.id}"


def test_runs_with_several_arms_are_compared_arm_by_arm(tmp_path: Path) -> None:
    """As on the command line: by experiment and condition; and what only one has is told."""
    first = crucible.export_multiple([made("a"), made("b")], "jsonl", tmp_path / "1.jsonl")
    second = crucible.export_multiple(
        [made("b", 2), made("a"), made("c")], "jsonl", tmp_path / "2.jsonl"
    )
    found = crucible.compare(crucible.open_run(first), crucible.open_run(second))
    assert [(arm.condition, arm.verdict == "REGRESSED") for arm in found.arms] == [
        ("a", False), ("b", True), ("c", False),
    ]  # fmt: skip
    assert found.arms[2].reason == "only in the candidate"
    assert "ADDED  prompt (c): only in the candidate" in str(found)
    assert "only in the candidate</td>" in found._repr_html_()
    one = crucible.compare(crucible.open_run(first), made("b", 2))
    assert [arm.condition for arm in one.arms] == ["b"]


def test_margin_decides_what_matters() -> None:
    """As the marker's: for all metrics, or for one."""
    before, after = made("a"), made("b", 1.2)
    verdicts = {
        str(margin): {
            row.metric: row.verdict for row in crucible.compare(before, after, margin=margin)
        }
        for margin in (None, 0.5, {"latency": 0.5})
    }
    assert [found["latency"] for found in verdicts.values()] == [
        "REGRESSED", "EQUIVALENT", "EQUIVALENT",
    ]  # fmt: skip


def test_declared_metrics_have_their_direction_and_unit() -> None:
    """What `start` was told about a number holds here, too."""
    handles = []
    for condition, words in (("a", 10), ("b", 20)):
        declared = {"words": crucible.Metric(better="lower", unit="words")}
        with crucible.experiment("e", condition=condition, metrics=declared) as handle:
            for i in range(30):
                handle.record(words=words + i % 3)
        handles.append(handle)
    (row,) = [row for row in crucible.compare(*handles) if row.metric == "words.mean"]
    assert (row.verdict, row.unit) == ("REGRESSED", "words")


def test_hostile_names_are_text_in_notebooks() -> None:
    """Names of experiments and conditions are no markup in either table."""
    one = made("x<script>", name=f"n{HOSTILE}")
    other = made("y<td>", name=f"n{HOSTILE}")
    for shown in (
        crucible.compare(one, other)._repr_html_(),
        crucible.judge([one, other], "score.mean > 0.1")._repr_html_(),
    ):
        assert Tags(shown).names == ELEMENTS


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    """It says what is wrong, and what to pass instead."""
    one, other = made("a"), made("b")
    path = crucible.export_multiple([one, other], "jsonl", tmp_path / "both.jsonl")
    run, alien = crucible.open_run(path), made("z", name="alien")
    odd: Any = 5
    metrics: Any = one.metrics()
    wrong: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: crucible.compare(one), crucible.DefinitionError, "at least one other"),
        (lambda: crucible.compare(one, odd), crucible.DefinitionError, "not 5$"),
        (lambda: crucible.compare(one, metrics), crucible.DefinitionError, "no observations: pass"),
        (lambda: crucible.compare(one, other, margin=-1), crucible.DefinitionError, "margin must"),
        (lambda: crucible.compare(one, "nope"), LookupError, "no experiment with the id 'nope'"),
        (lambda: crucible.compare(run, alien), LookupError, r"nothing to compare: \('prompt', 'a'"),
        (lambda: run.arm("prompt"), LookupError, r"arm\(experiment='prompt'\): which one\?; valid"),
        (lambda: run.arm("x"), LookupError, "there is none; valid"),
    ]
    for call, kind, text in wrong:
        with pytest.raises(kind, match=text) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_experiments_without_events_are_nothing_to_compare() -> None:
    """No rows, no verdict, no error."""
    with crucible.experiment("a") as one, crucible.experiment("b") as other:
        pass
    found = crucible.compare(one, other)
    assert (list(found), found.verdict) == ([], "INCONCLUSIVE")
    assert str(found).startswith("NOTHING TO COMPARE")
    assert Tags(found._repr_html_()).names <= ELEMENTS


def test_metric_says_what_decides() -> None:
    """As ``--metric``: beside it only the success rate decides, the others are shown."""
    before, after = made("a"), made("b", 1.5)
    for metric in ("score", "score.mean", ["score"], ("score.mean",)):
        found = crucible.compare(before, after, metric=metric)
        decide = {row.metric for row in found if row.primary}
        assert decide == {"success_rate", "score.mean"}
        assert found.verdict == "INCONCLUSIVE"
    rows = {row.metric: row for row in found}
    assert (rows["latency"].verdict, rows["latency"].primary) == ("REGRESSED", False)
    assert "1 regressed, shown only" in str(found).splitlines()[0]
    both = crucible.compare(before, after, metric=["score", "latency"])
    assert both.verdict == "REGRESSED"
    level = {row.metric: row.level for row in both}
    assert level["score.mean"] == level["latency"] == pytest.approx(0.975)


def test_a_metric_that_is_not_there_is_one_line() -> None:
    """It names the value, and the rows that there are."""
    before, after = made("a"), made("b")
    odd: Any = 5
    wrong: list[tuple[Any, str]] = [
        ("scores", r"compare\(metric=…\): 'scores' is not compared; did you mean 'score.mean'"),
        (["latency", "nope"], "'nope' is not compared; valid: success_rate, "),
        (odd, r"compare\(metric=5\): it takes the name of a metric, or a list of names"),
        ([odd], r"compare\(metric=\[5\]\): it takes"),
    ]
    for metric, text in wrong:
        with pytest.raises(crucible.DefinitionError, match=text) as caught:
            crucible.compare(before, after, metric=metric)
        assert "\n" not in str(caught.value)


# --- judge -------------------------------------------------------------------------------------


def test_judge_says_what_a_session_would(tmp_path: Path) -> None:
    """By bounds, not by the number alone: confirmed, refuted, or open with what it takes."""
    handle = made("short")
    found = crucible.judge(
        handle, "score.mean > 0.7", "score.mean > 0.9", "latency.p95 < 110", "cost.total < 1"
    )
    assert [each.verdict for each in found] == [
        "CONFIRMED", "REJECTED", "INCONCLUSIVE", "CONFIRMED",
    ]  # fmt: skip
    assert found[0].low is not None
    assert 0.7 < found[0].low < 0.8  # up to 7 % of calls may score less
    assert (found.verdict, len(found)) == ("REJECTED", 4)
    assert repr(found) == "<4 verdicts: REJECTED>"
    lines = str(found).splitlines()
    assert re.match(r"CONFIRMED +short +score\.mean > 0\.7 +0\.820, at least 0\.76", lines[0])
    assert len(lines) == 5
    assert lines[4].startswith("score.mean: taken for a score between 0 and 1")
    assert json.loads(json.dumps(found.to_dict()))["verdicts"][1]["verdict"] == "REJECTED"
    again = crucible.open_run(archived(handle, tmp_path))
    (alone,) = crucible.judge(handle, "score.mean > 0.7")
    assert alone.low == found[0].low  # what confirms does not depend on the other claims
    for source in (handle.id, again, again.arm(), [handle]):
        assert list(crucible.judge(source, "score.mean > 0.7")) == [alone]


def test_judge_takes_arms_by_the_names_of_their_conditions(tmp_path: Path) -> None:
    """Several handles are conditions of one experiment; so are those of a run."""
    short, long = made("short"), made("long", 2)
    path = crucible.export_multiple([short, long], "jsonl", tmp_path / "both.jsonl")
    run = crucible.open_run(path)
    sources: list[Any] = [[long, short], (long.id, short), run, [run.arm(condition="long"), short]]
    for source in sources:
        (one,) = crucible.judge(source, "short.latency.mean < long")
        assert (one.condition, one.verdict) == ("short", "CONFIRMED")
    every = crucible.judge([long, short], "score.mean > 0.1")
    assert [each.condition for each in every] == ["long", "short"]


def test_what_cannot_be_judged_is_one_line(tmp_path: Path) -> None:
    """A wrong text tells its column; conditions must be told apart."""
    short, same = made("short"), made("short")
    path = crucible.export_multiple([short, made("z", name="x")], "jsonl", tmp_path / "b.jsonl")
    run = crucible.open_run(path)
    odd: Any = 5
    wrong: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: crucible.judge(short, "score !"), crucible.ExpectationError, "at column 7"),
        (lambda: crucible.judge(short, "a.latency.p95 < 3"), crucible.ExpectationError, "unknown"),
        (lambda: crucible.judge(short), crucible.DefinitionError, "judge takes expectations"),
        (lambda: crucible.judge(short, odd), crucible.DefinitionError, "as texts, not 5"),
        (lambda: crucible.judge([], "a > 1"), crucible.DefinitionError, "at least one experiment"),
        (lambda: crucible.judge(odd, "a > 1"), crucible.DefinitionError, "judge takes handles"),
        (lambda: crucible.judge("nope", "a > 1"), LookupError, "no experiment with the id"),
        (lambda: crucible.judge([short, same], "a > 1"), crucible.DefinitionError, "'short'"),
        (lambda: crucible.judge(short, "score.mean < short"), crucible.DefinitionError, "itself"),
        (lambda: crucible.judge(run, "a > 1"), LookupError, r"\('prompt', 'x'\); choose"),
    ]
    for call, kind, text in wrong:
        with pytest.raises(kind, match=text) as caught:
            call()
        assert "\n" not in str(caught.value)
