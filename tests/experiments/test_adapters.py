"""Adapters: where logged numbers go in addition to the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pytest_crucible as crucible
from tests.experiments.support import Memory
from tests.session.support import only, results, run


def test_adapters_are_told_and_flushed_at_the_end(tmp_path: Path) -> None:
    """Every adapter hears every number with who logged it; both read back the same."""
    memory, file = Memory(), crucible.JSONLMetrics(tmp_path / "m.jsonl")
    adapters: list[crucible.MetricsAdapter] = [memory, file]
    with crucible.experiment("exp", condition="sgd") as handle:
        handle.log("loss", 9)  # before they were there
        for adapter in adapters:
            handle.log_to(adapter)
        handle.log("loss", 2.5, step=4, split="val")
        with handle.paused():
            handle.log("loss", 7)
        handle.log("loss", float("nan"))
        assert memory.kept == []
    first, second = (list(adapter.read(handle.id)) for adapter in adapters)
    assert str(first) == str(second)  # NaN is not equal to itself
    assert [(e.name, e.step, str(e.value)) for e in first] == [
        ("loss", 4, "2.5"), ("loss", 6, "nan"),
    ]  # fmt: skip
    assert (first[0].experiment, first[0].condition, first[0].metadata) == (
        "exp", "sgd", {"split": "val"},
    )  # fmt: skip
    assert file.read("another-run") == []
    crucible.cleanup(handle)


@pytest.mark.parametrize("given", [None, 3, "m.jsonl", crucible.JSONLMetrics])
def test_what_is_no_adapter_is_refused(given: Any, experiment: crucible.Experiment) -> None:
    """At once, and not as a run that is incomplete in the end."""
    with pytest.raises(TypeError, match="takes an object with record, flush and read"):
        experiment.log_to(given)


def test_jsonl_holds_plain_json(
    tmp_path: Path, experiment: crucible.Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line is JSON that any reader takes, whatever was logged; the path stays what it was."""
    monkeypatch.chdir(tmp_path)
    adapter = crucible.JSONLMetrics("m.jsonl")
    experiment.log_to(adapter)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for value in (1, float("nan"), float("inf"), float("-inf")):
        experiment.log("löss", value, odd=float("nan"), thing=object(), bad="\ud800")
    lines = (tmp_path / "m.jsonl").read_bytes().split(b"\n")[:-1]

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    rows = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [row["value"] for row in rows] == [1, "NaN", "Infinity", "-Infinity"]
    assert rows[0]["metric"] == "löss"
    assert [str(entry.value) for entry in adapter.read(experiment.id)] == [
        "1",
        "nan",
        "inf",
        "-inf",
    ]


@pytest.mark.parametrize(
    "line", ['{"run_id": ', "[]", "{}", '{"run_id": "x"}', "\xff"], ids=range(5)
)
def test_bad_line_is_named_by_number(line: str, tmp_path: Path) -> None:
    """A torn or foreign line is one error that says where."""
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(crucible.ArtifactError, match=r"m\.jsonl:2: not a logged number"):
        crucible.JSONLMetrics(path).read("x")


def test_file_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """Before the first number there is nothing to read."""
    assert crucible.JSONLMetrics(tmp_path / "m.jsonl").read("x") == []


@pytest.mark.parametrize("fail", ["record", "flush"])
def test_adapter_that_raises_is_detached_and_reported(fail: str, pytester: pytest.Pytester) -> None:
    """The test goes on, the record is whole, the other adapter works, and the summary says so."""
    pytester.makepyfile(
        f"""
        import pytest
        from tests.experiments.support import Memory

        OTHER = Memory()

        @pytest.mark.experiment("exp")
        def test_it(experiment):
            experiment.log_to(Memory({fail!r}))
            experiment.log_to(OTHER)
            for _ in range(3):
                experiment.log("loss", 1.0)

        def test_afterwards():
            assert len(OTHER.kept) == 3
            assert OTHER.kept[0].trial == 1
            assert OTHER.kept[0].case.endswith("::test_it")
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=2)
    (reason,) = results(pytester).incomplete
    assert reason == (
        "main: handler 'Memory' was detached after it raised OSError: no room (on crucible.log)"
    )
    result.stdout.fnmatch_lines([f"incomplete: {reason}"])
    assert only(pytester).metrics["default"].logged["loss"].points == 3
