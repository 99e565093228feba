"""``crucible plan``: published numbers, the verdict that it plans for, and plans from a pilot."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pytest_crucible.cli.main import main
from pytest_crucible.stats.expression import parse
from tests.cli.support import failure
from tests.made_events import event, recorded, trial_scope, write_run
from tests.report.support import made, observed
from tests.stats.judging_support import compared, passing
from tests.stats.support import judge, rate_subject


def planned(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["plan", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    return failure(capsys, "plan", *arguments).removeprefix("plan: ")


def number(out: str) -> int:
    """The number of cases in the first line of a plan."""
    return int(out.partition(": ")[2].removeprefix("about ").split()[0].replace(",", ""))


# --- published, by the classical test: margin 0, one decision ----------------------------------


@pytest.mark.parametrize(
    ("more", "n"),
    [
        (["--sd", 1, "--effect", 1, "--power", 0.8689], 20),
        (["--sd", 1, "--effect", 1, "--power", 0.8690], 21),
        (["--sd", 1, "--effect", 1, "--power", 0.9], 23),
        (["--sd", 1, "--effect", 1, "--power", 0.9, "--alpha", 0.1], 18),
        (["--sd", 2, "--effect", 1], 64),
        (["--sd", 2, "--effect", 1, "--paired"], 34),
    ],
)
def test_means_published(more: list[object], n: int, capsys: pytest.CaptureFixture[str]) -> None:
    """R's power.t.test: n = 20 has 0.8689528; 22.02; one-sided 17.85; 63.77; paired 33.37."""
    assert number(planned(capsys, *more, "--margin", 0)) == n


def test_rates_published(capsys: pytest.CaptureFixture[str]) -> None:
    """R's power.prop.test(.50, .75, power = .90): n = 76.7; the exact test needs a few more."""
    out = planned(capsys, "--rates", 0.5, 0.75, "--power", 0.9, "--margin", 0)
    assert out.startswith("50.0 % against 75.0 %: ")
    assert 77 <= number(out) <= 85  # Fisher's exact test: 85
    assert (
        "  IMPROVED in 90 % of runs, with a margin of 0 pp, 1 decision and a level of 0.05" in out
    )


def test_the_margin_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    """80 % against 90 %: about 794, not 199, at which a comparison finds it in a third of runs."""
    out = planned(capsys, "--rates", 0.8, 0.9)
    assert number(out) == pytest.approx(794, rel=0.02)
    assert out.splitlines()[1:] == [
        "  IMPROVED in 80 % of runs, with a margin of 5 pp, 1 decision and a level of 0.05"
    ]
    assert number(planned(capsys, "--rates", 0.8, 0.9, "--margin", 0)) == pytest.approx(199, abs=12)


def test_a_stricter_plan_needs_more(capsys: pytest.CaptureFixture[str]) -> None:
    """More power, a stricter level, a wider margin and more decisions cost cases."""
    plain = ["--rates", 0.5, 0.8]
    numbers = [
        number(planned(capsys, *plain, *more))
        for more in (
            ["--margin", 0],
            [],
            ["--power", 0.9],
            ["--power", 0.9, "--alpha", 0.01],
            ["--power", 0.9, "--alpha", 0.01, "--decisions", 10],
            ["--power", 0.9, "--alpha", 0.01, "--decisions", 10, "--margin", 0.1],
        )
    ]
    assert numbers == sorted(set(numbers))


# --- what the outcome would be ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        (["--rates", 1, 0.7], "REGRESSED"),
        (["--rates", 0.7, 1], "IMPROVED"),
        (["--rates", 0.9, 0.9], "EQUIVALENT"),
        (["--ratio", 1.2, "--sd-log", 0.3], "REGRESSED"),
        (["--ratio", 0.8, "--sd-log", 0.3], "IMPROVED"),
        (["--ratio", 1.02, "--sd-log", 0.1], "EQUIVALENT"),
        (["--sd", 1, "--effect", -0.5], "REGRESSED or IMPROVED"),
        (["--sd", 1, "--effect", 0.02], "EQUIVALENT"),
    ],
)
def test_the_verdict_is_named(
    arguments: list[object], outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that the effect brings; inside the margin it is EQUIVALENT, and the line says so."""
    out = planned(capsys, *arguments)
    assert f"\n  {outcome} in 80 % of runs, " in out
    said = "is never called a regression; to find it, give a smaller --margin" in out
    assert said == (outcome == "EQUIVALENT" and arguments[1:] != [0.9, 0.9])


@pytest.mark.parametrize(
    ("arguments", "margin"),
    [
        (["--rates", 0.95, 0.9], "5 pp"),
        (["--rates", 0.9, 0.8, "--margin", 0.1], "10 pp"),
        (["--ratio", 1.05, "--sd-log", 0.3], "5 %"),
        (["--sd", 1, "--effect", 0.05], "0.05"),
    ],
)
def test_an_effect_of_just_the_margin(
    arguments: list[object], margin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """−5 pp at a margin of 5 pp: no number of cases decides it."""
    out = planned(capsys, *arguments)
    assert ": no number of " in out
    assert f"an effect of just the margin of {margin} is never found" in out


def test_out_of_reach(capsys: pytest.CaptureFixture[str]) -> None:
    """More than ten million cases are not a plan."""
    out = planned(capsys, "--rates", 0.5, 0.5500001)
    assert out == ("50.0 % against 55.0 %: out of reach\n  it takes more than 10,000,000 cases\n")


# --- pairs ------------------------------------------------------------------------------------


def test_pairs_of_rates(capsys: pytest.CaptureFixture[str]) -> None:
    """Between no case that changes the other way, and changes by chance; or the share as given."""
    out = planned(capsys, "--rates", 0.8, 0.9, "--paired").splitlines()
    assert out[2].startswith("  paired by case: 256 pairs if no case changes the other way, ")
    assert out[3] == "  (--discordant: the share of cases that change, either way)"
    few, some = (
        planned(capsys, "--rates", 0.8, 0.9, "--discordant", share) for share in (0.1, 0.2)
    )
    assert few.startswith("80.0 % against 90.0 %: 256 pairs\n")
    assert number(some) > number(few)
    none = planned(capsys, "--rates", 0.95, 0.9, "--paired")
    assert "paired by case" not in none


def test_tenfold_on_six_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    """Among a hundred decisions; five could not reach the level."""
    out = planned(capsys, "--ratio", 10, "--sd-log", 0.3, "--paired", "--decisions", 100)
    assert out.startswith("+900 % at a deviation of 0.3 of logarithms: 6 pairs\n")
    assert "100 decisions" in out


def test_a_mean_makes_an_effect_relative(capsys: pytest.CaptureFixture[str]) -> None:
    """With --mean the margin is relative, as it is in comparisons of means above 0."""
    absolute = planned(capsys, "--sd", 10, "--effect", 20)
    assert "the margin is in the unit of the numbers; with --mean it is relative" in absolute
    relative = planned(capsys, "--sd", 10, "--effect", 20, "--mean", 100)
    assert relative.startswith("a difference of +20 at a deviation of 10 (+20 % of 100): 10 cases")
    assert "with a margin of 5 %" in relative


# --- claims on numbers ------------------------------------------------------------------------


def test_a_claim_on_a_rate(capsys: pytest.CaptureFixture[str]) -> None:
    """The rule of three: 299 cases that all pass confirm ``> 0.99``."""
    assert planned(capsys, "--gate", "success_rate > 0.99", "--rate", 1).splitlines() == [
        "success_rate > 0.99, if it is 100.0 %: 299 cases",
        "  CONFIRMED in 80 % of runs, by a one-sided level of 0.05, "
        "and by any larger number of cases",
        "  none of them may fail",
    ]
    some = planned(capsys, "--gate", "success_rate > 0.9", "--rate", 0.95)
    assert number(some) == 203
    assert "at most 13 of them may fail; if none does, 29 cases are enough" in some


def test_a_claim_that_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """Planned is what it brings: REJECTED, at the level of one of ten decisions."""
    out = planned(
        capsys, "--gate", "success_rate > 0.9", "--rate", 0.7, "--decisions", 10
    ).splitlines()
    assert out[1].startswith("  REJECTED in 80 % of runs, by a one-sided level of 0.0025")
    assert "of them have to fail; if all do, 3 cases are enough" in out[2]


def test_a_claim_on_a_mean(capsys: pytest.CaptureFixture[str]) -> None:
    """By the deviation; without an upper limit 60 are the least, and it says why."""
    score = planned(capsys, "--gate", "score.mean > 0.8", "--mean", 0.85, "--sd", 0.2)
    assert score.startswith("score.mean > 0.8, if it is 0.85 at a deviation of 0.2: ")
    assert 100 <= number(score) <= 110
    waits = planned(capsys, "--gate", "latency.mean < 900", "--mean", 500, "--sd", 50)
    assert number(waits) == 60
    assert waits.endswith(
        "fewer say nothing about a mean without an upper limit; declare its range\n"
    )


def test_a_claim_too_close_to_the_truth(capsys: pytest.CaptureFixture[str]) -> None:
    """Out of reach, for rates and means."""
    for more in (["--rate", 0.900001], ["--mean", 0.900001, "--sd", 0.5]):
        out = planned(capsys, "--gate", "success_rate > 0.9", *more)
        assert ": out of reach\n" in out


# --- from a pilot -----------------------------------------------------------------------------


@pytest.fixture
def pilot(tmp_path: Path) -> Path:
    return made(tmp_path / "pilot", observed(range(40), failed=10))


def test_a_pilot_gives_the_rate(pilot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rate of the pilot plus the effect is what has to be told apart from it."""
    out = planned(capsys, "--pilot", pilot, "--effect=-25pp")
    plain = number(planned(capsys, "--rates", 0.75, 0.5))
    first, second, *_ = out.splitlines()
    assert first == "pilot: exp, success_rate, 40 cases of one arm"
    assert second.startswith(f"to find -25pp from 75.0 %: about {plain} cases per arm (")
    assert "\n  REGRESSED in 80 % of runs, with a margin of 5 pp, " in out
    assert out.endswith("usually need fewer: a pilot of two arms tells\n")


@pytest.mark.parametrize("metric", ["score.mean", "latency", "cost", "tokens", "latency.mean"])
def test_a_pilot_gives_the_spread(
    metric: str, pilot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every average that a comparison shows can be planned, by the name it is shown with."""
    effect = "-0.2" if metric == "score.mean" else "+50%"
    out = planned(capsys, "--pilot", pilot, "--metric", metric, f"--effect={effect}")
    assert out.startswith(f"pilot: exp, {metric}, 40 cases of one arm\nto find {effect}: about ")
    assert "\n  REGRESSED in 80 % of runs" in out


def test_a_pilot_with_two_arms_gives_the_spread_of_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Differences within cases vary less than cases do: that is what pairing buys."""
    arms = [*observed(condition="a", score="s"), *observed(condition="b", slower=1.02, score="s")]
    # One case of the second arm is slow, so that the ratios vary.
    arms.append(event(measurements={"duration": 10**9}, scope=arms[-1].scope))
    paired = made(tmp_path / "pilot", arms)
    alone = made(tmp_path / "alone", arms[: len(arms) // 2])
    given = ["--metric", "latency", "--effect", "+100%"]
    out = planned(capsys, "--pilot", paired, *given)
    assert out.startswith("pilot: exp, latency, 40 pairs\nto find +100%: about ")
    assert " pairs (" in out
    assert "a pilot of two arms tells" not in out
    assert "cases per arm (" in planned(capsys, "--pilot", alone, *given)


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        ("+6%", "to find +6%: more than 20 times the pilot's 40 cases"),
        ("+5%", "to find +5%: no number of cases decides it"),
        ("+2%", "EQUIVALENT in 80 % of runs"),
    ],
)
def test_effects_close_to_the_margin(
    effect: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither explodes: it is said that the margin is what is in the way."""
    noisy = made(tmp_path / "p", observed(range(40)))
    sd = "--metric", "cost" if effect == "+6%" else "latency"
    out = planned(capsys, "--pilot", noisy, *sd, "--effect", effect)
    assert said in out
    assert "770," not in out


def test_several_experiments_need_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one experiment it is that one; with two the choice is asked for."""
    both = made(tmp_path / "p", [*observed(failed=9), *observed(experiment="b", failed=9)])
    given = ["--pilot", both, "--effect", 0.1]
    assert refused(capsys, *given) == "--experiment: one of 'exp', 'b'"
    assert planned(capsys, *given, "--experiment", "b").startswith("pilot: b, success_rate")


# --- the documentation ------------------------------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-many-cases.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["how-many-cases.md", "cli.md"])
def test_what_the_docs_show_is_printed(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every ``$ crucible plan`` of a page, with pilots of its names."""
    made(tmp_path / "runs/pilot", observed(range(40), experiment="answers", failed=2))
    made(tmp_path / "runs/base", observed(range(60), experiment="answers", failed=3))
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shown = [
        each.partition("\n")[::2]
        for block in blocks
        for each in re.split(r"^\$ ", block, flags=re.MULTILINE)
        if each.startswith("crucible plan ")
    ]
    assert len(shown) >= 3
    for command, output in shown:
        assert planned(capsys, *shlex.split(command)[2:]) == output, command


def test_the_table_of_common_situations(capsys: pytest.CaptureFixture[str]) -> None:
    """Each row is what its command says."""
    rows = re.findall(r"^\| [^|]+ \| ([\d,]+) \| `(--.*?)` \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 10
    for cases, command in rows:
        assert number(planned(capsys, *shlex.split(command))) == int(cases.replace(",", "")), (
            command
        )


def test_which_fall_so_few_cases_find() -> None:
    """So many failures after none are REGRESSED, and one less is not."""
    rows = re.findall(r"^\| (\d+) \| (\d+) failures \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 4
    for cases, failures in rows:
        n, failed = int(cases), int(failures)
        verdicts = [
            compared(passing("p" * n), passing("f" * f + "p" * (n - f)))["success_rate"].verdict
            for f in (failed - 1, failed)
        ]
        assert verdicts == ["INCONCLUSIVE", "REGRESSED"], cases


def test_what_twenty_cases_confirm() -> None:
    """20 of 20 confirm 85 %, and 19 of 20 do not."""
    expectation = parse("success_rate >= 0.85")
    found = [judge(expectation, {"x": rate_subject(k, 20)})[0].verdict for k in (19, 20)]
    assert found == ["INCONCLUSIVE", "CONFIRMED"]


# --- what cannot be planned -------------------------------------------------------------------

WAYS = (
    "give --rates P1 P2, or --ratio and --sd-log, or --sd and --effect, or --gate, "
    "or --pilot and --effect"
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], WAYS),
        (["--effect", "1"], WAYS),
        (["--rates", "0.5", "0.6", "--sd", "1"], f"{WAYS}: one of them"),
        (["--sd", "1"], "--sd needs --effect: the difference to find, in the unit of the numbers"),
        (["--sd", "1", "--effect", "-5pp"], "--effect: '-5pp' is not a number such as -0.05"),
        (["--sd", "0", "--effect", "1"], "a deviation of 0 plans nothing: it must be above 0"),
        (["--sd", "nan", "--effect", "1"], "a deviation of nan plans nothing: it must be above 0"),
        (["--sd", "1", "--effect", "nan"], "the effect nan is not a number"),
        (["--sd", "1", "--effect", "-2", "--mean", "1"],
         "--mean: a relative margin needs means above 0"),
        (["--ratio", "1.2"], "--ratio needs --sd-log: the standard deviation of the logarithms"),
        (["--ratio", "0", "--sd-log", "1"], "the ratio 0 is not above 0"),
        (["--rates", "0.5", "50"], "0.5 and 50 are no two rates between 0 and 1"),
        (["--rates", "0.5", "nan"], "0.5 and nan are no two rates between 0 and 1"),
        (["--rates", "0.5", "0.6", "--power", "2"], "power and alpha must lie between 0 and 1"),
        (["--rates", "0.5", "0.6", "--margin", "-1"],
         "the margin -1 is not a number of at least 0"),
        (["--rates", "0.5", "0.6", "--decisions", "0"], "0 decisions: needs at least 1"),
        (["--gate", "success_rate > 0.9"],
         "--gate needs the true value: --rate, or --mean and --sd"),
        (["--gate", "success_rate > 0.9", "--rate", "0.9"],
         "a true value of 0.9 at a threshold of 0.9 decides nothing: give one that differs"),
        (["--gate", "success_rate > 0.9", "--mean", "0.8"],
         "--gate with --mean needs --sd: the standard deviation of the numbers"),
        (["--gate", "success_rate > 0.9", "--rate", "0.8", "--mean", "0.8"],
         "--gate needs the true value: --rate, or --mean and --sd"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what is missing or makes no sense."""
    assert refused(capsys, *arguments) == said


def test_a_ratio_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A factor that is not above 0 has no logarithm: one line, for a negative one, too."""
    assert refused(capsys, "--ratio", "-1", "--sd-log", "1") == "the ratio -1 is not above 0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--pilot needs --effect: the change to find, such as +20%, -5pp or 0.05"),
        (["--effect=0.5"], "--effect: 0.75 +0.5 is no rate"),
        (["--effect=+20%"], "--effect: +20% of a share may mean two things: write +20pp"),
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
    same = write_run(tmp_path / "p", [event(measurements={"duration": 5}) for _ in range(5)])
    assert refused(capsys, "--pilot", same, "--metric", "latency", "--effect", "+20%") == (
        "the pilot's cases do not vary: no deviation to plan with"
    )


def test_equal_differences_do_not_vary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What rounding leaves of differences that are all 0.2 is no deviation to plan with."""
    events = [
        recorded({"score": 0.1 * step + more - 0.5}, trial_scope(f"q{step}", condition=arm))
        for arm, more in (("a", 0.0), ("b", 0.2))
        for step in range(1, 9)
    ]
    both = made(tmp_path / "pilot", events)
    assert "do not vary" in refused(
        capsys, "--pilot", both, "--metric", "score.mean", "--effect", 0.05
    )
