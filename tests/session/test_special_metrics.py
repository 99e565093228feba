"""Anomalies, ensembles, hedging and traces in a session: summary, verdicts, exports, manifest."""

from __future__ import annotations

import csv
import json

import pytest

from pytest_crucible.cli.main import main
from tests.session import support

SUITE = """
import asyncio
import pytest
from pytest_crucible import telemetry

CASES = range(8)
MS = 1_000_000

def ask(model, ms):
    metadata = {"model": model, "cost": 0.001}
    telemetry.execute("req_llm.request.stop", {"duration": ms * MS}, metadata)

@pytest.mark.experiment("stall", hypothesis="steady", expect=[
    "anomalies.latency.count <= 1", "anomalies.cost.count <= 0", "anomalies.cost.share < 1%",
])
@pytest.mark.parametrize("case", CASES)
def test_stall(case, experiment):
    ask("m", 2000 if case == 3 else 10 + case / 10)

@pytest.mark.experiment("steady")
@pytest.mark.parametrize("case", CASES)
def test_steady(case, experiment):
    ask("m", 10 + case / 10)

@pytest.mark.experiment("vote", conditions=("one", "three"), expect=[
    "three.ensemble.agreement.mean > 0.5", "three.ensemble.predictions <= 8",
    "three.hedging.rate > 0.9", "three.hedging.saved_ms.mean > 0",
])
@pytest.mark.parametrize("case", CASES)
def test_vote(case, experiment):
    if experiment.condition == "one":
        return ask("a", 10)
    async def main():
        with telemetry.correlate(f"case-{case}"), telemetry.span("ensemble.prediction"):
            async with asyncio.TaskGroup() as group:
                for model in "abc":
                    group.create_task(one(model))
            agreement = 1 if case % 2 else 2 / 3
            telemetry.execute("ensemble.vote.completed", {"agreement": agreement})
        with telemetry.span("hedging.request", primary_model="a", backup_model="b") as request:
            request.annotate(winner="primary")
            if case < 4:
                request.annotate(winner="backup", primary_latency=10**6, duplication_cost=0.25)
                telemetry.execute("hedging.request.duplicated", {"delay_ms": 5})
    async def one(model):
        with telemetry.span("req_llm.request", model=model) as span:
            await asyncio.sleep(0)
            span.measure(cost_usd=0.002)
    asyncio.run(main())
"""


def test_the_summary_has_them_where_they_occur(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for anomalies, lines and paths for ensembles and hedging; nothing where none is."""
    pytester.makepyfile(SUITE)
    result = support.run(pytester, "--crucible-export=csv")
    out = result.stdout.str()
    anomalies = [line for line in out.splitlines() if "anomalies:" in line]
    (line,) = [each for each in anomalies if "test_stall" in each]
    assert line.startswith("  anomalies: 1 of 8 latencies (worst 2 s, 191 × the median, ")
    assert line.endswith(" in test_stall[3])")
    result.stdout.fnmatch_lines([
        "INCONCLUSIVE  stall: steady",
        "  CONFIRMED *anomalies.cost.count <= 0 *",
        "  INCONCLUSIVE *anomalies.cost.share < 1% *too many alike*",
        "REJECTED  vote",
        "*ensemble.agreement.mean *0.833 [[]*",
        "*hedging.rate *50.0 % [[]*",
        "*hedging.saved_ms.mean *",
        "  three: ensemble: 8 predictions · 8 votes · agreement 83.3 % over 8",
        "  three: hedging: 4 of 8 requests sent twice · won by b 50 %, a 50 % · losers cost $1 · *",
        "*model * calls * failed * mean latency * cost",
        "  three: ensemble  a *8 *0 * *$0.016",
        "  CONFIRMED *three *three.ensemble.agreement.mean > 0.5 *0.833*",
        "  CONFIRMED *three *three.ensemble.predictions <= 8 *8",
        "  REJECTED *three *three.hedging.rate > 0.9 *50.0 %*",
        "  INCONCLUSIVE *three *three.hedging.saved_ms.mean > 0 *too few for a mean*",
    ])  # fmt: skip
    run = support.newest(pytester)
    assert run.path is not None
    with open(run.path / "events.csv", newline="") as file:
        marked = [row for row in csv.DictReader(file) if row["anomaly"]]
    stalled = [row["case"] for row in marked if row["experiment"] == "stall"]
    assert [case.rpartition("::")[2] for case in stalled] == ["test_stall[3]"]
    assert not [row for row in marked if row["experiment"] == "steady"]

    manifest = json.loads((run.path / "manifest.json").read_text())
    of = {name: each["conditions"] for name, each in manifest["experiments"].items()}
    assert of["stall"]["default"]["anomalies"]["latency"]["worst"]["value"] == 2000
    assert of["steady"]["default"]["anomalies"]["latency"]["count"] == 0
    assert of["vote"]["three"]["ensemble"]["models"]["c"]["calls"] == 8
    assert of["vote"]["three"]["hedging"]["winner_share"] == {"a": 0.5, "b": 0.5}
    assert of["vote"]["one"]["hedging"] is None

    # Later, from what the run left behind: the same marks, and each case's trace.
    target = pytester.path / "again.csv"
    assert main(["export", str(run.path), "-o", str(target)]) == 0
    assert target.read_bytes() == (run.path / "events.csv").read_bytes()
    capsys.readouterr()
    assert main(["show", str(run.path), "--trace", "case-3"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "trace case-3"
    assert shown[1].startswith("  ensemble.prediction · ")
    assert sorted(line.partition(" ms")[0][:25] for line in shown[2:5]) == [
        f"    req_llm.request · {model} · "[:25] for model in "abc"
    ]  # fmt: skip
    assert shown[5:] == ["    ensemble.vote.completed"]


def test_names_of_these_metrics_are_taken(pytester: pytest.Pytester) -> None:
    """`record` refuses them, and a path that leads nowhere is refused before any test runs."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("e")
        @pytest.mark.parametrize("name", ["anomalies", "ensemble", "hedging"])
        def test_it(name, experiment):
            with pytest.raises(ValueError, match="is a built-in metric"):
                experiment.record(**{name: 1})
        """
    )
    assert support.run(pytester).ret == 0
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.experiment("e", expect=["hedging.winner > 1"])
        def test_it():
            pass
        """
    )
    assert "hedging has no 'winner'; valid: requests, duplicated, rate" in support.refused(
        support.run(pytester)
    )
