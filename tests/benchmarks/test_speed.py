"""The benchmarks still run; how fast is theirs to say, not a test's."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks import emit, peers, scale
from benchmarks.rounds import Figure, Row, interleaved
from benchmarks.speed import table
from pytest_crucible import telemetry


def test_every_way_of_emitting_is_measured() -> None:
    """Each line has a figure, and a peer that is not installed has a line that says so."""
    rows = {row.work: row for row in emit.rows(events=50, rounds=2)}
    assert set(rows) == {
        f"append a tuple to a list of at most {peers.BOUND:,}",
        *(f"execute: {name}" for name in emit.LIMITS),
        *(f"{name}, storing it" for name in peers.PEERS),
    }
    assert all(row.found == "not installed" or " ns ± " in row.found for row in rows.values())
    assert not telemetry.enabled("anything")  # nothing listens any more


def test_missing_peer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that cannot be imported does not count as beaten."""

    def absent() -> peers.Job:
        raise ImportError("no such module")

    monkeypatch.setattr(emit, "PEERS", {"absent": absent})
    assert emit.rows(events=20, rounds=1)[-1] == Row(
        "absent, storing it", "not installed", "", False
    )


def test_scale_measures_what_was_emitted() -> None:
    """Memory and pauses are numbers of the events asked for, and threads lose nothing."""
    assert scale.run_alone("memory memory", 2_000)["bytes"] > 50
    assert scale.run_alone("memory spool", 2_000)["ns"] > 0
    seen = scale.run_alone("pause memory", 2_000)
    assert 0 < seen["p99.99"] <= seen["worst"]
    assert scale.together(scale.THREADS, 4_000) > 0


def test_rounds_are_interleaved() -> None:
    """Each job runs once per round and once to warm up; medians are over rounds, ratios within."""
    seen: list[str] = []
    values = {"a": iter([99.0, 1.0, 2.0, 30.0]), "b": iter([99.0, 2.0, 4.0, 60.0])}

    def job(name: str) -> float:
        seen.append(name)
        return next(values[name])

    figures = interleaved({name: partial(job, name) for name in values}, rounds=3)
    assert all(set(seen[turn : turn + 2]) == {"a", "b"} for turn in range(0, 8, 2))
    assert figures == {"a": Figure((1.0, 2.0, 30.0)), "b": Figure((2.0, 4.0, 60.0))}
    assert (figures["a"].median, figures["b"].over(figures["a"])) == (2.0, 2.0)


def test_table_shows_what_was_not_reached() -> None:
    """A figure that misses its limit stands out; one without a limit makes no claim."""
    rows = [Row("a", "1 ns", "≤ 2 ns", True), Row("b", "3 ns", "≤ 2 ns", False), Row("c", "4 ns")]
    claims = [line.split("|")[-2].strip() for line in table(rows).splitlines()[2:]]
    assert claims == ["yes", "**no**", ""]
