"""Tests of `pytest_crucible.report.verdict_rows`: each row says what it means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_crucible.report.verdict_rows import (
    ASIDE,
    FINDS,
    change_cells,
    change_header,
    comparison_lines,
    comparison_note,
    deciding_bound,
    effect_text,
    folded,
    head_note,
    margin_text,
    undeclared_note,
    verdict_lines,
    verdict_text,
)
from pytest_crucible.stats.comparison import (
    BETTER,
    CHANGED,
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    LACKING,
    REGRESSED,
    REMOVED,
    TOO_FEW,
    UNSEEN,
    WORSE,
    Comparison,
)
from pytest_crucible.stats.verdict import CONFIRMED, REJECTED, Verdict

ROW = Comparison(
    metric="cost", baseline=0.01, candidate=0.0125, verdict=REGRESSED, scale="difference",
    change=0.0025, low=0.001, high=0.004, p=0.0004, n=(30,), unit="$",
)  # fmt: skip
RATE = Comparison(
    metric="success_rate", baseline=0.9, candidate=0.8, verdict=INCONCLUSIVE, scale="difference",
    change=-0.1, low=-0.2, high=0.02, n=(60,), unit="%", better="higher", absolute=True,
    width=1.0, open=UNSEEN, mde=-0.25,
)  # fmt: skip
LATENCY = Comparison(
    metric="latency", baseline=100.0, candidate=110.0, verdict=INCONCLUSIVE, change=1.1, low=1.02,
    high=1.19, n=(30, 28), unit="ms", better="lower", open=WORSE, mde=1.25,
)  # fmt: skip


def lines(*rows: Comparison, values: bool = True) -> list[str]:
    return [line.text for line in comparison_lines(rows, "", values)]


# --- cells -------------------------------------------------------------------------------------


def test_a_row_has_a_cell_for_every_heading() -> None:
    """With the values of both sides or without them."""
    for values in (True, False):
        assert len(change_cells(ROW, values)) == len(change_header(values))


def test_changes_keep_their_unit() -> None:
    """A difference in dollars, in time and in tokens says what it is a difference of."""
    assert change_cells(ROW)[4] == "+$0.0025"
    in_time = replace(ROW, unit="ms", baseline=1_000.0, candidate=1_250.0, change=250.0)
    assert change_cells(in_time)[2:5] == ["1.00 s", "1.25 s", "+0.25 s"]
    tokens = replace(ROW, unit="tokens", baseline=10.0, candidate=12.0, change=2.0)
    assert change_cells(tokens)[4] == "+2.00 tokens"
    assert change_cells(replace(ROW, scale="ratio", change=1.25))[4] == "+25.0 %"
    assert change_cells(RATE)[2:7] == ["90.0 %", "80.0 %", "-10.0 pp", "[-20.0, +2.0]", "-25.0 pp"]


def test_p_is_in_no_table() -> None:
    """Verdict and interval say it; a third number for the same would have to be explained."""
    text = "\n".join(lines(replace(ROW, p=0.0678), replace(LATENCY, p=0.0678)))
    assert "0.067" not in text
    assert "0.068" not in text
    assert not any(heading.startswith("p") for heading in change_header())


def test_both_sides_sizes_stand_where_nothing_is_paired() -> None:
    """One number of pairs, or one for each side."""
    assert change_cells(LATENCY)[-2] == "30 + 28"
    assert change_cells(replace(RATE, n=(1200,)))[-2] == "1,200"


def test_what_a_row_finds_is_empty_where_nothing_tells() -> None:
    """Values that do not vary do not tell which change would have been found."""
    assert change_cells(replace(LATENCY, mde=None))[6] == ""
    assert change_cells(LATENCY)[6] == "+25.0 %"


# --- the head ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (LATENCY, "5 %"),
        (replace(LATENCY, margin=0.005), "0.5 %"),
        (RATE, "5 pp"),
        (replace(ROW, metric="score.mean", unit="", width=1.0), "0.05"),
        (replace(ROW, metric="score.mean", unit="", width=10.0), "0.5"),
        (replace(ROW, metric="delay.mean", unit="s", margin=2.0, absolute=True), "2 s"),
        (replace(ROW, unit=""), "5 %"),
    ],
)
def test_a_margin_is_in_the_unit_of_its_change(row: Comparison, text: str) -> None:
    """Per cent of a ratio, percentage points, a share of a range, or what the author declared."""
    assert margin_text(row) == text


def test_the_head_says_margin_and_level() -> None:
    """One margin for all, or which metrics have which; how sure all intervals are together."""
    assert head_note([LATENCY]) == f"margin 5 %; 95 % intervals; {FINDS}"
    assert head_note([RATE, LATENCY, replace(LATENCY, metric="cost")]) == (
        f"margin 5 pp (success_rate), 5 % (latency, cost); 95 % intervals; {FINDS}"
    )
    assert head_note([replace(RATE, level=0.9917)]) == (
        f"margin 5 pp; 99.17 % intervals, so that all hold together; {FINDS}"
    )
    several = [replace(RATE, level=0.95), replace(LATENCY, level=0.975)]
    assert "; 95 to 97.5 % intervals, so that all hold together; " in head_note(several)


def test_the_head_is_about_the_rows_that_decide() -> None:
    """Of slices, where none does, it is about all."""
    shown = replace(LATENCY, primary=False, level=0.99)
    assert head_note([RATE, shown]) == f"margin 5 pp; 95 % intervals; {FINDS}"
    assert head_note([shown]).startswith("margin 5 %; 99 % intervals, so that ")


def test_the_head_of_rows_without_intervals_names_no_margin() -> None:
    """Nothing was compared with it."""
    gone = replace(ROW, verdict=REMOVED, low=None, high=None, change=None)
    assert head_note([gone]).startswith("95 % intervals; ")


# --- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (LATENCY, "worse, maybe within your margin of 5 %"),
        (replace(RATE, open=WORSE), "worse, maybe within your margin of 5 pp"),
        (replace(RATE, open=BETTER), "better, maybe within your margin of 5 pp"),
        (
            replace(LATENCY, open=DIFFERENT, better=None),
            "different, maybe within your margin of 5 %",
        ),
        (RATE, "may be chance; more than 25.0 pp would have been found"),
        (
            replace(LATENCY, open=UNSEEN),
            "may be chance; more than 25.0 % would have been found",
        ),
        (replace(LATENCY, open=UNSEEN, mde=None), "may be chance"),
        (
            replace(LATENCY, open=UNSEEN, mde=1.1),
            "may be chance, but up to +19.0 % is possible",
        ),
        (
            replace(LATENCY, open=UNSEEN, better="higher", mde=0.9, low=0.8),
            "may be chance, but up to -20.0 % is possible",
        ),
        (replace(RATE, low=-0.3), "may be chance, but up to -30.0 pp is possible"),
        (replace(RATE, high=0.3), "may be chance; more than 25.0 pp would have been found"),
        (replace(RATE, low=None), "may be chance; more than 25.0 pp would have been found"),
        (replace(RATE, change=0), "no difference seen; one of more than 25.0 pp would have been"),
        (replace(RATE, open=TOO_FEW, reason="too few: 3 pairs"), "too few: 3 pairs"),
        (
            replace(RATE, open=TOO_FEW, reason="too few: 3 pairs", level=0.9875),
            "too few: 3 pairs at 98.75 %",
        ),
        (
            replace(RATE, alike=20, change=0.0, mde=None),
            "20 pairs alike; up to 17 % of cases could still differ",
        ),
        (
            replace(RATE, alike=20, change=0.0, mde=None, n=(20, 20)),
            "20 values per side alike; up to 17 % of cases could still differ",
        ),
        (replace(RATE, open=LACKING, reason="missing in 3 trials of the candidate"),
         "missing in 3 trials of the candidate"),
        (replace(RATE, verdict=EQUIVALENT, open=None), ""),
        (replace(RATE, verdict=EQUIVALENT, open=None, alike=100), ""),
    ],
)  # fmt: skip
def test_an_open_row_says_which_it_is(row: Comparison, note: str) -> None:
    """Worse or better, but maybe within the margin; nothing seen, and what would have been."""
    assert comparison_note(row) == note


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (LATENCY, "25.0 %"),
        (replace(LATENCY, better="higher", mde=0.8), "20.0 %"),
        (RATE, "25.0 pp"),
        (replace(ROW, mde=0.004), "$0.0040"),
    ],
)
def test_an_effect_has_a_unit_and_no_sign(row: Comparison, text: str) -> None:
    """In the words it is a size, whichever way is worse."""
    assert effect_text(row) == text


# --- the table ---------------------------------------------------------------------------------


def test_the_verdict_stands_first_and_colours_its_line() -> None:
    """Hostile names break neither the line nor the table."""
    note, head, line = comparison_lines([replace(ROW, metric="a\nb\x1b[31m")], "  ")
    assert note.text.startswith("  margin 5 %")
    assert head.text.split()[0] == "metric"
    assert line.text.split()[:3] == [REGRESSED, "a", "b"]
    assert line.style == "red"
    assert "\x1b" not in line.text


def test_rows_that_decide_nothing_stand_below_a_line() -> None:
    """In small letters and without a colour; the line says how to make them decide."""
    shown = replace(LATENCY, metric="tokens", primary=False, verdict=REGRESSED)
    found = list(comparison_lines([RATE, shown, replace(shown, metric="ttft")], ""))
    at = [line.text for line in found].index(ASIDE)
    assert found[at - 1].text.startswith("INCONCLUSIVE  success_rate")
    assert [line.text.split()[:2] for line in found[at + 1 : at + 3]] == [
        ["regressed", "tokens"], ["regressed", "ttft"],
    ]  # fmt: skip
    assert [line.style for line in found[at + 1 : at + 3]] == ["", ""]
    assert ASIDE not in lines(RATE)
    assert ASIDE not in lines(shown)


def test_rows_with_nothing_but_a_reason_are_folded() -> None:
    """One footnote for each reason; a row that decides always stands in the table."""
    few = replace(
        LATENCY, metric="latency.p95", primary=False, change=None, low=None, high=None,
        open=TOO_FEW, reason="too few for p95: 24 of 72",
    )  # fmt: skip
    found = lines(RATE, few, replace(few, metric="ttft.p95"), replace(few, reason="other"))
    assert "no verdict on latency.p95, ttft.p95: too few for p95: 24 of 72" in found
    assert "no verdict on latency.p95: other" in found
    assert not any("p95  " in line for line in found)
    strict = lines(RATE, replace(few, level=0.99167, reason="too few for p95: 24 of 132"))
    assert "no verdict on latency.p95: too few for p95: 24 of 132 at 99.17 %" in strict
    assert not folded(replace(few, primary=True))
    assert "  latency.p95 " in lines(replace(few, primary=True))[2]
    assert not folded(replace(few, low=1.0, high=1.2, open=LACKING))


def test_how_to_declare_is_said_once() -> None:
    """For all numbers of which nobody said which direction is better."""
    rows = [replace(ROW, verdict=CHANGED, metric=f"{name}.mean") for name in ("words", "hops")]
    note = undeclared_note([*rows, ROW])
    assert '"words": "lower", "hops": "lower"' in note
    assert undeclared_note([ROW]) == ""
    assert lines(*rows)[-1] == note


# --- claims ------------------------------------------------------------------------------------

CLAIM = Verdict(
    expectation="success_rate > 0.5", condition="a", metric="success_rate", verdict=CONFIRMED,
    observed=0.8333, low=0.664, high=0.927, unit="%",
)  # fmt: skip


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({}, "83.3 %, at least 66.4 %"),
        ({"verdict": REJECTED}, "83.3 %, at most 92.7 %"),
        ({"expectation": "success_rate < 0.95"}, "83.3 %, at most 92.7 %"),
        ({"expectation": "success_rate < 0.5", "verdict": REJECTED}, "83.3 %, at least 66.4 %"),
        ({"verdict": INCONCLUSIVE}, "83.3 %, at least 66.4 %"),
        ({"low": None, "high": None, "reason": "no values"}, "83.3 % · no values"),
        ({"observed": None, "low": None, "high": None, "reason": "no score"}, "no score"),
        ({"note": "assumes little"}, "83.3 %, at least 66.4 % · assumes little"),
        (
            {"against": 0.5, "change": 0.3333, "low": 0.1, "high": 0.4, "scale": "difference"},
            "83.3 % against 50.0 %, change +33.3 pp [+10.0, +40.0]",
        ),
        (
            {"unit": "ms", "observed": 50.0, "against": 100.0, "change": 0.5, "low": 0.4,
             "high": 0.6, "scale": "ratio"},
            "50 ms against 100 ms, change -50.0 % [-60.0, -40.0]",
        ),
    ],
)  # fmt: skip
def test_a_claim_shows_what_was_seen(more: dict[str, object], shown: str) -> None:
    """The number and the bound that decides, or the change; then what is missing or assumed."""
    verdict = replace(CLAIM, **more)  # type: ignore[arg-type]
    assert verdict_text(verdict) == shown
    line = next(verdict_lines((verdict,), "  "))
    assert line.text.split()[:2] == [verdict.verdict, "a"]


def test_a_claim_that_decides_nothing_says_so() -> None:
    """``gate --metric`` names others: REJECTED in red beside exit code 0 looks like a fault."""
    shown = replace(CLAIM, verdict=REJECTED, primary=False)
    (line,) = verdict_lines([shown], "")
    assert line.text.startswith("rejected  a  success_rate > 0.5  83.3 %, at most 92.7 %")
    assert line.text.endswith(" · shown only")
    assert line.style == ""


def test_what_bounds_assume_is_said_once() -> None:
    """Below the table, unless the reader has seen it above."""
    verdicts = [replace(CLAIM, note="assumes little")] * 2
    *_, note = verdict_lines(verdicts, "")
    assert note.text == "success_rate: assumes little"
    assert len(list(verdict_lines(verdicts, ""))) == 3
    assert len(list(verdict_lines(verdicts, "", [note]))) == 2


def test_a_change_against_the_numbers_beside_it_is_explained() -> None:
    """The median of the ratios of pairs may go the other way than the medians of both sides."""
    told = comparison_note(replace(LATENCY, candidate=95.0))
    assert told == "worse, maybe within your margin of 5 %; change: of the typical pair"


def test_a_bound_that_is_missing_decides_nothing() -> None:
    """A skewed mean may have a lower bound and no upper one."""
    assert deciding_bound(replace(CLAIM, low=None)) is None
    assert deciding_bound(replace(CLAIM, high=None)) == ("at least", 0.664)
