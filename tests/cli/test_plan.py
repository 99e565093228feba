"""``crucible plan``: published numbers, and plans from a pilot."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible.cli.main import main
from tests.made_events import event, recorded, trial_scope, write_run
from tests.report.support import made, observed


def planned(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["plan", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["plan", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("crucible: plan: ")
    assert err.count("\n") == 1
    return err.removeprefix("crucible: plan: ").rstrip()


def test_two_rates(capsys: pytest.CaptureFixture[str]) -> None:
    """R's power.prop.test(p1 = .50, p2 = .75, power = .90): n = 76.7, so 77 per arm."""
    assert planned(capsys, "--rates", 0.5, 0.75, "--power", 0.9) == (
        "50.0 % against 75.0 %: 77 cases per arm\n"
        "  power 0.9, two-sided level 0.05, unpaired\n"
    )  # fmt: skip


def test_two_means(capsys: pytest.CaptureFixture[str]) -> None:
    """R's power.t.test(n = 20, delta = 1, sd = 1): power = 0.8689528."""
    assert planned(capsys, "--sd", 1, "--effect", 1, "--power", 0.8689) == (
        "a difference of 1 at a deviation of 1: 20 cases per arm\n"
        "  power 0.869, two-sided level 0.05\n"
    )
    assert "19 cases" not in planned(capsys, "--sd", 1, "--effect", 1, "--power", 0.8690)


def test_pairs_need_fewer(capsys: pytest.CaptureFixture[str]) -> None:
    """The same cases on both sides: fewer of them for means, and McNemar's number for rates."""
    unpaired = planned(capsys, "--sd", 2, "--effect", 1)
    paired = planned(capsys, "--sd", 2, "--effect", 1, "--paired")
    assert "64 cases per arm" in unpaired
    assert "34 pairs" in paired
    assert "  paired by case: 80 cases at most (McNemar)" in planned(
        capsys, "--rates", 0.5, 0.75, "--power", 0.9, "--paired"
    )


def test_a_stricter_plan_needs_more(capsys: pytest.CaptureFixture[str]) -> None:
    """More power and a stricter level cost cases."""
    numbers = [
        int(planned(capsys, "--rates", 0.5, 0.75, *more).partition(": ")[2].split()[0])
        for more in ([], ["--power", 0.9], ["--power", 0.9, "--alpha", 0.01])
    ]
    assert numbers == [58, 77, 110]


# --- from a pilot ------------------------------------------------------------------------------


@pytest.fixture
def pilot(tmp_path: Path) -> Path:
    return made(tmp_path / "pilot", observed(range(40), failed=10))


def test_a_pilot_gives_the_rate(pilot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rate of the pilot plus the effect is what has to be told apart from it."""
    out = planned(capsys, "--pilot", pilot, "--effect", -0.25, "--power", 0.9)
    assert out.splitlines()[:2] == [
        "pilot: exp, success_rate, 40 observations",
        "75.0 % against 50.0 %: 77 cases per arm",
    ]


@pytest.mark.parametrize("metric", ["score.mean", "latency", "cost", "tokens", "latency.mean"])
def test_a_pilot_gives_the_spread(
    metric: str, pilot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every average that a comparison shows can be planned, by the name it is shown with."""
    out = planned(capsys, "--pilot", pilot, "--metric", metric, "--effect", 0.5)
    assert out.startswith(f"pilot: exp, {metric}, 40 observations\na difference of 0.5 at a ")
    assert " cases per arm\n" in out


def test_a_pilot_with_two_arms_gives_the_spread_of_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Differences within cases vary less than cases do: that is what pairing buys."""
    arms = [*observed(condition="a", score="s"), *observed(condition="b", score="s", slower=1.1)]
    pilot = made(tmp_path / "pilot", arms)
    given = ["--pilot", pilot, "--metric", "latency", "--effect", 5]
    alone = int(planned(capsys, *given).split(": ")[-1].split()[0])
    paired = int(planned(capsys, *given, "--paired").split(": ")[-1].split()[0])
    assert paired < alone / 4


def test_several_experiments_need_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one experiment it is that one; with two the choice is asked for."""
    pilot = made(tmp_path / "p", [*observed(failed=9), *observed(experiment="b", failed=9)])
    given = ["--pilot", pilot, "--effect", 0.1]
    assert refused(capsys, *given) == "--experiment: one of 'exp', 'b'"
    assert planned(capsys, *given, "--experiment", "b").startswith("pilot: b, success_rate")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --rates P1 P2, or --sd and --effect, or --pilot and --effect"),
        (["--sd", "1"], "give --rates P1 P2, or --sd and --effect, or --pilot and --effect"),
        (["--rates", "0.5", "0.5"], "needs two different proportions between 0 and 1"),
        (["--rates", "0.5", "50"], "needs two different proportions between 0 and 1"),
        (["--rates", "0.5", "nan"], "needs two different proportions between 0 and 1"),
        (["--rates", "0.5", "0.6", "--power", "2"], "power and alpha must lie between 0 and 1"),
        (["--sd", "0", "--effect", "1"], "--sd must be above 0"),
        (["--sd", "nan", "--effect", "1"], "--sd must be above 0"),
        (["--sd", "1", "--effect", "0"], "needs an effect other than 0"),
        (["--sd", "1", "--effect", "1e-9"],
         "the effect is too small: more than 100 million cases"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what is missing or makes no sense."""
    assert refused(capsys, *arguments) == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--pilot needs --effect: the difference to find, in the metric's unit"),
        (["--effect=0.5"], "--effect: 0.75 +0.5 is no rate"),
        (["--effect=1", "--metric=nothing"], "the pilot has no observations of nothing"),
        (["--effect=1", "--metric=latency.p95"],
         "latency.p95 is a percentile; plan with a rate or a mean"),
        (["--effect=1", "--experiment=nobody"], "--experiment: one of 'exp'"),
    ],
)  # fmt: skip
def test_what_a_pilot_cannot_tell(
    arguments: list[str], said: str, pilot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what the pilot lacks."""
    assert refused(capsys, "--pilot", pilot, *arguments) == said


def test_a_pilot_that_does_not_vary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any spread there is nothing to plan with."""
    events = [event(measurements={"duration": 5}) for _ in range(5)]
    pilot = write_run(tmp_path / "p", events)
    assert refused(capsys, "--pilot", pilot, "--metric", "latency", "--effect", 1) == (
        "the pilot's cases do not vary: no deviation to plan with"
    )


def test_equal_differences_do_not_vary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What rounding leaves of differences that are all 0.2 is no deviation to plan with."""
    events = [
        recorded({"score": 0.1 * number + more}, trial_scope(f"q{number}", condition=arm))
        for arm, more in (("a", 0.0), ("b", 0.2))
        for number in range(1, 9)
    ]
    pilot = made(tmp_path / "pilot", events)
    given = ["--pilot", pilot, "--metric", "score.mean", "--effect", 0.05, "--paired"]
    assert main(["plan", *map(str, given)]) == 2
    assert "do not vary" in capsys.readouterr().err
