"""What is said below rows that have no verdict."""

from dataclasses import replace

from pytest_crucible.report.next_steps import advice, next_steps
from pytest_crucible.stats.comparison import BETTER, INCONCLUSIVE, REGRESSED, Comparison, Needs

RATE = Comparison(
    metric="success_rate",
    baseline=1.0,
    candidate=0.9,
    verdict=INCONCLUSIVE,
    scale="difference",
    unit="%",
    mde=-0.4,
    regresses_at=0.75,
    n=(20,),
    absolute=True,
    better="higher",
    needs=Needs(-0.1, 401, 401, 600),
)
LATENCY = Comparison(
    metric="latency",
    baseline=100.0,
    candidate=101.0,
    verdict=INCONCLUSIVE,
    unit="ms",
    mde=1.4,
    n=(20,),
    better="lower",
    needs=Needs(1.1, 95, 48, 165),
)


def test_the_cases_for_twice_the_margin_in_one_line() -> None:
    first, *_ = next_steps([RATE, LATENCY])
    assert first == (
        "to find twice the margin in 4 of 5 such runs: success_rate -10.0 pp about 401 pairs "
        "(401–600); latency +10.0 % about 95 pairs (48–165)"
    )


def test_small_suites_get_advice() -> None:
    (text,) = advice([LATENCY, RATE, RATE])
    assert text.startswith("with 20 cases a success_rate of 75.0 % or less is REGRESSED; ")
    assert "--crucible-inconclusive=fail" in text
    assert not list(advice([replace(RATE, n=(200,))]))
    assert not list(advice([replace(RATE, open=BETTER)]))
    assert not list(advice([replace(RATE, mde=-0.08)]))


def test_what_is_out_of_reach_is_said() -> None:
    (line,) = next_steps([replace(LATENCY, needs=Needs(1.1), n=(20, 20))])
    assert line.endswith("latency +10.0 % more than 20 times as many cases")
    (line,) = next_steps([replace(LATENCY, needs=Needs(1.1, 95, 95, 95), n=(20, 20))])
    assert line.endswith("latency +10.0 % about 95 cases per side")


def test_nothing_is_said_where_the_row_finds_it_already_or_has_a_verdict() -> None:
    assert not list(next_steps([replace(LATENCY, mde=1.08)]))
    assert not list(next_steps([replace(RATE, mde=-0.08)]))
    assert not list(next_steps([replace(LATENCY, verdict=REGRESSED)]))
    assert not list(next_steps([replace(LATENCY, needs=None)]))


def test_names_are_one_line() -> None:
    (line,) = next_steps([replace(LATENCY, metric="a\nb", mde=None)])
    assert "\n" not in line
