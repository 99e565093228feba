"""A run against its baseline, and what of its verdicts fails the session."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run
from pytest_crucible.cli.main import main
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.session.settings import FAIL_ON
from tests.session import support

SUITE = """
import random
import pytest
from pytest_crucible import telemetry

@pytest.mark.experiment("e", trials=2, failures="record"{more})
@pytest.mark.parametrize("case", range({cases}))
def test_a(case, experiment):
    rng = random.Random(f"{{case}} {{experiment.trial}}")
    telemetry.execute(
        "req_llm.request.stop",
        {{"duration": int(1e6 * rng.lognormvariate(3, 0.1) * {slower}), "input_tokens": 9}},
    )
    experiment.record(score=rng.betavariate(8, 2))
    assert case >= {failed}
"""


def suite(
    pytester: pytest.Pytester,
    *,
    cases: int = 100,
    slower: float = 1,
    failed: int = 0,
    more: str = "",
) -> None:
    pytester.makepyfile(test_it=SUITE.format(cases=cases, slower=slower, failed=failed, more=more))


def recorded(pytester: pytest.Pytester, *arguments: str) -> Path:
    """The folder of a run of the suite as it stands."""
    assert support.run(pytester, *arguments).ret == 0
    folder = support.newest(pytester).path
    assert folder is not None
    return folder


@pytest.fixture(params=[(), ("-n2",)], ids=["local", "-n2"])
def how(request: pytest.FixtureRequest) -> tuple[str, ...]:
    arguments: tuple[str, ...] = request.param
    return arguments


@pytest.fixture(scope="session")
def _kept() -> list[Path]:
    return []


@pytest.fixture
def base(pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory,
         _kept: list[Path]) -> Path:  # fmt: skip
    """The folder of a run of the suite, which is there; recorded once, by whoever needs it first.

    The session leaves it in another place than its own, so that no other test finds it there.
    """
    suite(pytester)
    if not _kept:
        folder = recorded(pytester)
        _kept.append(Path(shutil.move(folder, tmp_path_factory.mktemp("base") / folder.name)))
    return _kept[0]


def test_nothing_changed(base: Path, pytester: pytest.Pytester, how: tuple[str, ...]) -> None:
    """The same code is no regression, whether recorded in one process or in several."""
    result = support.run(pytester, *how, f"--crucible-baseline={base}")
    assert result.ret == 0
    result.stdout.fnmatch_lines([
        "e", "  recorded 200/200 trials*", "EQUIVALENT  2 equivalent", f"  * against {base.name}*",
        "e, 100 matched cases", "  EQUIVALENT * success_rate*", "run: *",
    ])  # fmt: skip


def test_a_regression_fails_the_session(
    base: Path, pytester: pytest.Pytester, how: tuple[str, ...]
) -> None:
    """All tests pass, and the session fails: verdict, and a line per metric that regressed."""
    suite(pytester, slower=2)
    result = support.run(pytester, *how, f"--crucible-baseline={base}", "--crucible-export=csv")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "REGRESSED  1 regressed, 1 equivalent; 1 *regressed, shown only",
        "  REGRESSED *latency * ms * ms *+100.0 %*",
        "  shown only; these decide nothing *",
        "  regressed *latency.p95 * ms * ms *+100.0 %*",
        "run: * · events.csv",
        "FAILED comparison with the baseline - REGRESSED: latency of e",
    ])  # fmt: skip
    assert "latency.p95 of e" not in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    assert support.newest(pytester).manifest is not None


def test_the_output_folder_means_the_run_before_this_one(
    pytester: pytest.Pytester, how: tuple[str, ...]
) -> None:
    """The newest run when the session began, never the one that is being recorded."""
    suite(pytester)
    base = recorded(pytester)
    suite(pytester, slower=2)
    result = support.run(pytester, *how, f"--crucible-baseline={support.OUTPUT}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["REGRESSED *", f"  * against {base.name}*"])


@pytest.mark.parametrize("format", FORMATS)
def test_a_baseline_may_be_a_file(format: str, base: Path, pytester: pytest.Pytester) -> None:
    """An export is a baseline like the folder it came from; that it has no surroundings is told."""
    path = pytester.path / f"base.{format}"
    export_events(lambda: open_run(base).events, path, FORMATS[format])
    suite(pytester, slower=2)
    result = support.run(pytester, f"--crucible-baseline={path}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "REGRESSED  1 regressed, 1 equivalent; 1 *regressed, shown only",
        "  differs: environment of the baseline unknown: no manifest",
    ])  # fmt: skip


def test_where_a_baseline_is_looked_for(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option counts from where the user stands, an ini value from the root directory."""
    suite(pytester)
    recorded(pytester)
    pytester.makeini(f"[pytest]\ncrucible_baseline = {support.OUTPUT}\n")
    monkeypatch.chdir(pytester.mkdir("below"))
    result = support.run(pytester, "..")
    result.stdout.fnmatch_lines(["EQUIVALENT *"])
    given = support.run(pytester, "..", f"--crucible-baseline=../{support.OUTPUT}")
    given.stdout.fnmatch_lines(["EQUIVALENT *"])
    assert support.refused(support.run(pytester, "..", "--crucible-baseline=gone")).endswith(
        "/below/gone: no such file or folder"
    )


# --- what fails --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fail_on", "lines"),
    [
        ("none", []),
        ("regression", []),
        ("missing", ["REMOVED: 1 case of e"]),
        ("inconclusive", []),
        ("inconclusive, missing", ["REMOVED: 1 case of e"]),
    ],
)  # fmt: skip
def test_what_fails_the_session(fail_on: str, lines: list[str], pytester: pytest.Pytester) -> None:
    """Only what was asked for, each thing with a line in the short summary.

    That nothing was seen in so few cases speaks against nobody: it fails nothing.
    """
    suite(pytester, cases=10)
    base = recorded(pytester)
    suite(pytester, cases=9)
    result = support.run(pytester, f"--crucible-baseline={base}", f"--crucible-fail-on={fail_on}")
    assert result.ret == (1 if lines else 0)
    said = "FAILED comparison with the baseline - "
    found = [line.removeprefix(said) for line in result.outlines if line.startswith(said)]
    assert sorted(found) == sorted(lines)


def test_nothing_to_compare_fails(pytester: pytest.Pytester) -> None:
    """A baseline of other experiments is a mistake, and no pass."""
    suite(pytester, cases=3)
    base = recorded(pytester)
    pytester.path.joinpath("test_it.py").write_text(
        "import pytest\n\n@pytest.mark.experiment('other')\ndef test_b(): pass\n"
    )
    result = support.run(pytester, f"--crucible-baseline={base}", "--crucible-fail-on=none")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "NOTHING TO COMPARE  1 experiment removed", "REMOVED  e: only in the baseline",
        "ADDED  other: only in the candidate",
        "FAILED comparison with the baseline - nothing to compare with the baseline",
    ])  # fmt: skip


def test_a_baseline_without_experiments_to_compare(pytester: pytest.Pytester) -> None:
    """A session without experiments has nothing to say about a baseline."""
    suite(pytester, cases=3)
    base = recorded(pytester)
    pytester.path.joinpath("test_it.py").write_text("def test_b(): pass\n")
    result = support.run(pytester, f"--crucible-baseline={base}")
    assert result.ret == 0
    assert "COMPARE" not in result.stdout.str()


def test_a_baseline_that_breaks_off_costs_only_the_comparison(pytester: pytest.Pytester) -> None:
    """Half a file fails the session in one line; the run itself is judged and written."""
    suite(pytester, cases=3)
    recorded(pytester)
    path = pytester.path / "base.jsonl"
    export_events(lambda: support.newest(pytester).events, path, FORMATS["jsonl"])
    path.write_bytes(path.read_bytes()[:-40])
    result = support.run(pytester, f"--crucible-baseline={path}", "--crucible-export=csv")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "  recorded 6/6 trials*", f"problem: --crucible-baseline: {path}:*", "run: * · events.csv",
    ])  # fmt: skip
    manifest = support.newest(pytester).manifest
    assert manifest is not None
    assert manifest["problems"]


# --- values that make no sense -----------------------------------------------------------------

WHAT = ", ".join((*FAIL_ON, "none"))


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("baseline", "gone", "gone: no such file or folder"),
        ("baseline", "empty", "empty: no run in this folder"),
        ("baseline", "a.txt",
         "a.txt: not a run folder, nor a .csv, .json, .jsonl, .parquet, .zip file"),
        ("baseline", "a.csv", "a.csv: empty"),
        ("fail_on", "regresion", f"'regresion' is not one of {WHAT}"),
        ("fail_on", "missing,all", f"'all' is not one of {WHAT}"),
        ("inconclusive", "maybe", "'maybe' is not one of fail, pass, warn"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ini", [False, True])
def test_a_wrong_value_is_one_line(
    option: str, value: str, said: str, ini: bool, pytester: pytest.Pytester, how: tuple[str, ...]
) -> None:
    """Refused before any test runs: the value, where it stands, and the valid ones."""
    suite(pytester, cases=2)
    pytester.mkdir("empty")
    for name in ("a.txt", "a.csv"):
        pytester.path.joinpath(name).touch()
    dashed = f"--crucible-{option.replace('_', '-')}"
    if ini:
        pytester.makeini(f"[pytest]\ncrucible_{option} = {value}\n")
    line = support.refused(support.run(pytester, *how, *([] if ini else [f"{dashed}={value}"])))
    assert line.startswith(f"ini value crucible_{option}: " if ini else f"{dashed}: ")
    assert line.endswith(said)


@pytest.mark.parametrize(
    ("keyword", "said"),
    [
        ('inconclusive="maybe"', "inconclusive='maybe' is not one of fail, pass, warn"),
        ('pass_if="3/2"', None),
        ('pass_if="most"', None),
        ("margin=0", "margin must be a number between 0 and 10 *"),
        ('margin={"latency": "5%"}', "margin must be a number between 0 and 10 *"),
    ],
)
def test_a_wrong_keyword_is_one_line(
    keyword: str, said: str | None, pytester: pytest.Pytester
) -> None:
    """A marker that makes no sense is refused with the test, the value and what would be valid."""
    suite(pytester, cases=2, more=f", {keyword}")
    line = support.refused(support.run(pytester))
    pytest.LineMatcher([line]).fnmatch_lines(
        [f"test_it.py::test_a*: @pytest.mark.experiment: {said or '*pass_if*'}"]
    )


# --- expectations that stay open ---------------------------------------------------------------

OPEN = ', expect=["success_rate > 0.99"]'


@pytest.mark.parametrize(
    ("marker", "option", "status", "how"),
    [
        ("", "", 0, ()), ("", "warn", 0, ()), ("", "pass", 0, ()), ("", "fail", 1, ()),
        ("fail", "", 1, ()), ("fail", "pass", 1, ()), ("pass", "fail", 0, ()),
        ("warn", "fail", 0, ()), ("", "fail", 1, ("-n2",)), ("pass", "fail", 0, ("-n2",)),
    ],
)  # fmt: skip
def test_open_expectations(
    marker: str, option: str, status: int, how: tuple[str, ...], pytester: pytest.Pytester
) -> None:
    """Open fails where that was asked for; the marker knows its experiment better than the run."""
    more = OPEN + (f', inconclusive="{marker}"' if marker else "")
    suite(pytester, cases=5, more=more)
    given = [f"--crucible-inconclusive={option}"] if option else []
    result = support.run(pytester, *how, *given)
    assert result.ret == status
    result.stdout.fnmatch_lines(
        ["INCONCLUSIVE  e", "  INCONCLUSIVE *default *success_rate > 0.99*"]
    )
    failed = "FAILED experiment e (default) - INCONCLUSIVE: success_rate > 0.99"
    assert (failed in result.outlines) is bool(status)


@pytest.mark.parametrize(("pass_if", "how"), [("1/2", ()), ("2/2", ()), ("1/2", ("-n2",))])
def test_pass_if_is_judged_per_case(
    pass_if: str, how: tuple[str, ...], pytester: pytest.Pytester
) -> None:
    """A case whose trials fail too often fails the session, though failures are only recorded."""
    suite(pytester, cases=5, failed=1, more=f', pass_if="{pass_if}"')
    result = support.run(pytester, *how)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        f"  REJECTED *pass_if {pass_if}*4 of 5 cases pass; not: test_it.py::test_a?0?",
        f"FAILED experiment e (default) - REJECTED: pass_if {pass_if}",
    ])  # fmt: skip
    suite(pytester, cases=5, more=f', pass_if="{pass_if}"')
    assert support.run(pytester, *how).ret == 0


@pytest.mark.parametrize(
    ("margin", "slower", "change"), [("0.9", 1.5, "+50.0"), ('{"latency": 2}', 2, "+100.0")]
)
def test_a_margin_says_what_does_not_matter(
    margin: str, slower: float, change: str, base: Path, pytester: pytest.Pytester
) -> None:
    """Half as slow again, or twice, is no regression for an experiment that says so."""
    suite(pytester, slower=slower, more=f", margin={margin}")
    result = support.run(pytester, f"--crucible-baseline={base}")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"  EQUIVALENT *latency * ms * ms *{change} %*"])


# --- split and merged --------------------------------------------------------------------------

SPLITS: dict[str, list[tuple[str, ...]]] = {
    "-k": [("-k", "0- or 1-"), ("-k", "2- or 3-"), ("-k", "not (0- or 1- or 2- or 3-)")],
    "--deselect": [
        tuple(f"--deselect=test_it.py::test_a[{c}-trial{t}]" for c in range(6) for t in (1, 2)
              if (2 * c + t) % 3 != number)
        for number in range(3)
    ],
}  # fmt: skip


@pytest.mark.parametrize("split", SPLITS)
def test_shards_are_merged_to_what_one_session_says(
    split: str, pytester: pytest.Pytester, how: tuple[str, ...]
) -> None:
    """However trials are divided among sessions: the same metrics, verdicts and completeness."""
    suite(pytester, cases=6, failed=2, more=', expect=["success_rate > 0.1"]')
    whole = recorded(pytester)
    for arguments in SPLITS[split]:
        support.run(pytester, *how, "--crucible-output=shards", *arguments)
    assert main(["merge", "shards", "-o", "merged"]) == 0
    assert told(pytester.path / "merged") == told(whole)


def told(folder: Path) -> Any:
    """What a run says, but for when it ran and how long its tests took."""
    results = analyse(open_run(folder)).to_dict()
    assert len(results.pop("nodes")) >= 1
    metrics = results["experiments"]["e"]["conditions"]["default"]
    for each in ("start", "end", "duration_s"):
        del metrics["summary"][each]
    assert metrics["tests"].pop("duration_ms")["count"] == 12
    return rounded(results)


def rounded(value: Any) -> Any:
    """Sums depend on the order of their terms in the last bit; sessions run in another order."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(each) for each in value]
    return float(f"{value:.12g}") if isinstance(value, float) else value
