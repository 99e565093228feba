"""What `compare` and `ab` share: which metrics decide, by what margin, and the exit code."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.analysis.run_drafts import draft_runs, judge_drafts
from pytest_crucible.cli.comparing import (
    add_metrics,
    adjusted,
    check_metrics,
    parse_fail_on,
    read,
    write_comparisons,
)
from pytest_crucible.cli.outputs import BAD, FINE, add_outputs
from pytest_crucible.cli.printing import print_lines
from pytest_crucible.metrics.catalog import HIGHER, LOWER, PLAIN
from pytest_crucible.report.lines import Line
from pytest_crucible.stats.comparison_options import MARGIN, Options


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--margin", action="append", default=[])
    add_metrics(parser)
    add_outputs(parser)
    return parser.parse_args(arguments)


def margin(found: Options) -> float:
    """The margin of a metric that has none of its own."""
    return found.margin_of(PLAIN["latency"])[0]


def test_a_margin_is_that_of_the_command_of_the_marker_or_the_usual_one() -> None:
    """In this order; the marker's margin counts, even if it is the usual one."""
    unsaid, said = Options(), Options(margin=MARGIN)
    assert margin(adjusted(options())(unsaid)) == MARGIN
    assert margin(adjusted(options(), otherwise=0.02)(unsaid)) == 0.02
    assert margin(adjusted(options(), otherwise=0.02)(said)) == MARGIN
    assert margin(adjusted(options("--margin=0.1"), otherwise=0.02)(said)) == 0.1


def test_margins_of_metrics_add_to_those_of_the_marker() -> None:
    """But one without a metric overrides them all."""
    marker = Options(margins={"latency": 0.3, "cost": 0.2})
    one = adjusted(options("--margin=cost=0.1"))(marker)
    assert one.margins == {"latency": 0.3, "cost": 0.1}
    both = adjusted(options("--margin=cost=0.1", "--margin=0.4"))(marker)
    assert (both.margins, both.margin) == ({"cost": 0.1}, 0.4)


def test_the_command_says_what_decides_and_which_way_is_better() -> None:
    marker = Options(primary=("score",))
    assert adjusted(options())(marker).primary == ("score",)
    given = options("--metric=words", "--lower-is-better=words", "--higher-is-better=hits")
    adjust = adjusted(given, every=True)(marker)
    assert adjust.primary == ("words",)
    assert adjust.better == {"words": LOWER, "hits": HIGHER}
    assert adjust.every


def test_metrics_may_decide_beside_those_of_the_marker() -> None:
    """Unless the command names some; where nobody names any, the usual ones decide."""
    marker = Options(primary=("score",))
    assert adjusted(options(), also=("latency",))(marker).primary == ("score", "latency")
    assert adjusted(options(), also=("latency",))(Options()).primary == ()
    named = adjusted(options("--metric=words"), also=("latency",))(marker)
    assert named.primary == ("words",)


@pytest.mark.parametrize("text", ["x", "0", "-1", "10", "latency=", "latency=0", "nan"])
def test_a_margin_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match=rf"--margin: '{text}' is not a share"):
        adjusted(options(f"--margin={text}"))


def test_what_fails_is_a_list_of_names() -> None:
    assert parse_fail_on("regression, missing,") == ("regression", "missing")
    assert parse_fail_on("none") == ()
    with pytest.raises(DefinitionError, match="--fail-on: 'slow' is not one of regression, "):
        parse_fail_on("regression,slow")


def test_a_metric_without_a_row_is_refused(base: Path, slow: Path) -> None:
    draft = draft_runs(read(base), read(slow))
    check_metrics(["latency"], [draft])
    with pytest.raises(DefinitionError, match=r"'latncy' is not compared; did you mean 'latency'"):
        check_metrics(["latncy"], [draft])


def test_the_worst_of_several_comparisons_is_the_code(base: Path, slow: Path) -> None:
    """And all of them are printed."""
    shown: list[str] = []

    def show(lines: object) -> None:
        assert not isinstance(lines, list)
        shown.extend(line.text for line in lines if isinstance(line, Line))  # type: ignore[attr-defined]

    def code(*candidates: Path, fail_on: tuple[str, ...] = ("regression",)) -> int:
        drafts = [draft_runs(read(base), read(path)) for path in candidates]
        shown.clear()
        return write_comparisons(judge_drafts(drafts), fail_on, options(), show)

    assert code(base) == FINE
    assert code(base, slow) == BAD
    assert sum(" against " in line for line in shown) == 2
    assert code(slow, fail_on=()) == FINE


def test_json_has_every_comparison(
    base: Path, slow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reasons why it fails."""
    comparisons = judge_drafts([draft_runs(read(base), read(slow))])
    assert write_comparisons(comparisons, ("regression",), options("--json"), print_lines) == BAD
    out = capsys.readouterr().out
    assert '"fail_on": [' in out
    assert "REGRESSED: latency of" in out
