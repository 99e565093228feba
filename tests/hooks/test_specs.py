"""The four hooks that a conftest or a plugin may implement."""

from __future__ import annotations

import csv
import json

import pytest

from tests.session import support

SUITE = """
import pytest
from pytest_crucible import telemetry

@pytest.mark.experiment("e", conditions=("a", "b"){more})
def test_a(experiment):
    telemetry.execute("req_llm.request.stop", {{"duration": 2_000_000}}, {{"model": "m"}})
    experiment.record(score=0.5)
"""


def test_an_enricher_adds_columns_and_corrects(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """What an enricher sets shows in metrics and exports; it is called for users' events only."""
    pytester.makeconftest("""
        def pytest_crucible_enrich(event, enriched):
            assert not event.name.startswith("crucible.")
            enriched.cost_usd = 0.25
            enriched.extra["region"] = "eu"
    """)
    pytester.makepyfile(SUITE.format(more=', expect=["cost.total <= 0.25"]'))
    assert support.run(pytester, *mode, "--crucible-export=csv").ret == 0
    folder = support.newest(pytester).path
    assert folder is not None
    with folder.joinpath("events.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["event"].startswith("req_llm")]
    assert [(row["cost_usd"], row["region"]) for row in rows] == [("0.25", "eu")] * 2


def test_metrics_can_be_shown_and_expected(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """A plugin's numbers are rows of the summary and of the manifest; without an interval, no
    claim about them is certain."""
    pytester.makeconftest("""
        def pytest_crucible_metrics(observations, metrics):
            assert observations.condition == metrics.condition
            if metrics.condition == "b":
                return {"quality.index": metrics.recorded["score"].mean * 4, "extra": 1.0}
            return {"quality.index": 1.0}
    """)
    pytester.makepyfile(SUITE.format(more=', expect=["quality.index > a", "b.extra >= 1"]'))
    result = support.run(pytester, *mode)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "  quality.index *1*2*",
            "  quality.index*: no interval: a plugin gave only *",
            "  INCONCLUSIVE *b *quality.index > a *a plugin gave only *",
        ]
    )
    experiment = support.only(pytester)
    assert experiment.metrics["b"].custom == {"quality.index": 2.0, "extra": 1.0}
    assert {each.verdict for each in experiment.verdicts} == {"INCONCLUSIVE"}


def test_metrics_of_several_plugins_are_united(pytester: pytest.Pytester) -> None:
    """Each plugin adds its numbers; one that has none to add returns None."""
    pytester.makeconftest("""
        class One:
            def pytest_crucible_metrics(self, observations, metrics):
                return {"one": 1.0}

        class Two:
            def pytest_crucible_metrics(self, observations):
                return {"two": float(len(observations.trials))}

        class Nothing:
            def pytest_crucible_metrics(self):
                return None

        def pytest_configure(config):
            for plugin in (One(), Two(), Nothing()):
                config.pluginmanager.register(plugin)
    """)
    pytester.makepyfile(SUITE.format(more=""))
    assert support.run(pytester).ret == 0
    assert support.only(pytester).metrics["a"].custom == {"one": 1.0, "two": 1.0}


EXPORTER = """
    import json

    def write_names(rows, path):
        assert list(rows()) == list(rows())
        path.write_text(json.dumps([row["event"] for row in rows()]))

    def pytest_crucible_exporters():
        return {"names": write_names}
"""


@pytest.mark.parametrize("ini", [True, False])
def test_an_exporter_adds_a_format(
    pytester: pytest.Pytester, mode: tuple[str, ...], ini: bool
) -> None:
    """A plugin's format can be asked for by name, on the command line or in the ini file."""
    pytester.makeconftest(EXPORTER)
    pytester.makepyfile(SUITE.format(more=""))
    if ini:
        pytester.makeini("[pytest]\ncrucible_export = names\n")
    result = support.run(pytester, *mode, *(() if ini else ("--crucible-export=names",)))
    assert result.ret == 0
    folder = support.newest(pytester).path
    assert folder is not None
    names = json.loads(folder.joinpath("events.names").read_text())
    assert names.count("req_llm.request.stop") == 2
    result.stdout.fnmatch_lines(["run: * · events.names"])


def test_an_added_format_is_listed_as_valid(pytester: pytest.Pytester) -> None:
    """The line about an unknown format names the formats that plugins add."""
    pytester.makeconftest(EXPORTER)
    line = support.refused(support.run(pytester, "--crucible-export=name"))
    assert line.endswith("unknown export format 'name'; valid: csv, json, jsonl, names, parquet")


@pytest.mark.parametrize(
    ("error", "said"), [("OSError('no room')", "no room"), ("KeyError('id')", "KeyError: 'id'")]
)
def test_an_export_that_fails_is_a_problem(
    pytester: pytest.Pytester, mode: tuple[str, ...], error: str, said: str
) -> None:
    """A file that could not be written fails the session and costs nothing else."""
    pytester.makeconftest(f"""
        def fail(rows, path):
            raise {error}

        def pytest_crucible_exporters():
            return {{"full": fail}}
    """)
    pytester.makepyfile(SUITE.format(more=""))
    result = support.run(pytester, *mode, "--crucible-export=full,csv")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([
        "  recorded 2/2 trials*", f"problem: export to *events.full failed: {said}",
        "run: * · events.csv",
    ])  # fmt: skip
    manifest = support.newest(pytester).manifest
    assert manifest is not None
    assert manifest["exports"] == ["events.csv"]
    assert manifest["problems"][0].endswith(said)


def test_lines_can_be_added_to_the_summary(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """A plugin's lines stand between the experiments and the path of the run."""
    pytester.makeconftest("""
        def pytest_crucible_summary(results):
            return [f"{each.definition.name}: {each.recorded} trials" for each in
                    results.experiments]
    """)
    pytester.makepyfile(SUITE.format(more=""))
    result = support.run(pytester, *mode)
    result.stdout.fnmatch_lines(["  score.mean*", "e: 2 trials", "run: *"])


def test_an_unknown_hook_is_refused(pytester: pytest.Pytester) -> None:
    """The hooks are specified: a wrong argument is an error when the conftest is loaded."""
    pytester.makeconftest("def pytest_crucible_enrich(evnt): pass")
    result = support.run(pytester)
    assert result.ret != 0
    assert "evnt" in result.stdout.str() + result.stderr.str()


def test_a_number_of_the_record_is_not_taken_over(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """A claim is judged by what was recorded, also where a plugin has a number of that name."""
    pytester.makeconftest("""
        def pytest_crucible_metrics(observations, metrics):
            return {"tests.failed": 3, "score.mean": 99, "mine": 1}
    """)
    pytester.makepyfile(SUITE.format(more=', expect=["tests.failed < 1", "score.mean < 1"]'))
    result = support.run(pytester, *mode)
    assert result.ret == pytest.ExitCode.TESTS_FAILED  # as with every problem of a plugin
    result.stdout.fnmatch_lines(
        [
            "*CONFIRMED *tests.failed < 1 *0",
            "problem: a plugin's number 'tests.failed' is left out: the record has one",
            "problem: a plugin's number 'score.mean' is left out: the record has one",
        ]
    )
    found = support.newest(pytester).manifest
    assert found is not None
    assert found["experiments"]["e"]["conditions"]["a"]["custom"] == {"mine": 1}
