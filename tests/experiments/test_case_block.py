"""Blocks of `Experiment.case`: each is a trial, wherever and however it runs."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import pytest_crucible as crucible
from pytest_crucible.events.event import Event
from pytest_crucible.experiments.case_block import case_text, slice_texts
from pytest_crucible.metrics.observations import Group, observe
from pytest_crucible.metrics.trials import Trial
from tests.conftest import QUIET

Handle = crucible.Experiment


@pytest.fixture
def experiment() -> Iterator[Handle]:
    with crucible.experiment("exp", slices=["lang"]) as handle:
        yield handle


def group_of(handle: Handle) -> Group:
    return observe(handle.everything).group("exp", "default")


def trials_of(handle: Handle) -> list[Trial]:
    return group_of(handle).trials


def by_case(handle: Handle) -> dict[str, str]:
    return {trial.case: trial.outcome for trial in trials_of(handle)}


def cases_of(events: list[Event], name: str) -> dict[str | None, int]:
    """How many events of a name each case has."""
    return Counter(each.scope.case if each.scope else "?" for each in events if each.name == name)


def test_a_block_is_a_trial_with_what_it_says(experiment: Handle) -> None:
    """Id, cluster, slices, fingerprint and outcome; the second block of an id is a repetition."""
    for lang in ("de", "de", "fr"):
        with experiment.case("q1" if lang == "de" else 2, cluster=7, lang=lang) as case:
            assert case.case_id in ("q1", "2")
            case.record(score=1)
    first, again, other = trials_of(experiment)
    assert [(t.case, t.trial, t.cluster, t.outcome) for t in (first, again, other)] == [
        ("q1", 1, "7", "passed"), ("q1", 2, "7", "passed"), ("2", 1, "7", "passed"),
    ]  # fmt: skip
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.slices == {"lang": ("de",)}
    assert all(
        trial.block and trial.attempts[0].duration_ms is not None for trial in (first, other)
    )


def test_the_library_records_errors_and_raises_them(experiment: Handle) -> None:
    """Unless the block says otherwise; what stops the program is raised all the same."""
    for case, error in (("a", AssertionError), ("b", ValueError), ("c", KeyboardInterrupt)):
        with pytest.raises(error), experiment.case(case):
            raise error
    with experiment.case("d", on_failure="record"):
        raise ValueError
    with pytest.raises(KeyboardInterrupt), experiment.case("e", on_failure="record"):
        raise KeyboardInterrupt
    assert by_case(experiment) == {
        "a": "failed", "b": "errored", "c": "interrupted", "d": "errored", "e": "interrupted",
    }  # fmt: skip
    error_text = trials_of(experiment)[1].attempts[0].error
    assert error_text is not None
    assert "ValueError at " in error_text


def test_what_is_recorded_in_a_block_belongs_to_it(experiment: Handle) -> None:
    """Through either handle, through the bus, as a curve, or by a judge."""
    experiment.record(score=0)
    with experiment.case("a") as case:
        experiment.record(score=1)
        case.record(score=2)
        crucible.telemetry.execute("step", {"n": 1})
        assert experiment.log("loss", 1.0) == 1.0
        experiment.log("loss", 2.0)
        assert list(case.logged("loss").steps) == [0, 1]
        with experiment.judge():
            crucible.telemetry.execute("step", {"n": 1})
    with experiment.case("b"):
        experiment.log("loss", 3.0)
        assert list(experiment.logged("loss").steps) == [0]
    events = list(experiment.everything)
    assert cases_of(events, "crucible.record") == {None: 1, "a": 2}
    assert cases_of(events, "step") == {"a": 2}
    assert cases_of(events, "crucible.log") == {"a": 2, "b": 1}
    assert [e.name for e in case.events] == ["step", "step"]


def test_blocks_of_two_experiments_nest(experiment: Handle) -> None:
    """Each handle records into its own block, whichever is the inner one."""
    with crucible.experiment("other") as other:
        with experiment.case("x"), other.case("y"):
            experiment.record(a=1)
            other.record(b=1)
            with experiment.judge():
                other.record(b=2)
        with other.case("y"), experiment.case("x"):
            experiment.record(a=1)
            other.record(b=1)
    assert cases_of(list(experiment.everything), "crucible.record") == {"x": 2}
    assert cases_of(list(other.everything), "crucible.record") == {"y": 3}


def test_blocks_do_not_nest_within_an_experiment(experiment: Handle) -> None:
    """One line that says so, and the outer block goes on."""
    with experiment.case("a") as case:
        with pytest.raises(crucible.LifecycleError, match="case 'b': another case is still open"):
            experiment.case("b")
        with pytest.raises(crucible.LifecycleError, match="a case cannot contain other cases"):
            case.case("b")
        with experiment.judge(), pytest.raises(crucible.LifecycleError):
            experiment.case("b")
    assert by_case(experiment) == {"a": "passed"}


def test_a_block_is_used_once(experiment: Handle) -> None:
    """A second time is refused, not counted twice."""
    block = experiment.case("a")
    with block:
        pass
    with pytest.raises(crucible.DefinitionError, match="case 'a': call case"):
        block.__enter__()
    assert by_case(experiment) == {"a": "passed"}


def test_an_experiment_that_has_ended_takes_no_case() -> None:
    """One line."""
    handle = crucible.start("over")
    crucible.stop(handle)
    with pytest.raises(crucible.LifecycleError, match="case came too late"):
        handle.case("a")


def test_a_pause_holds_for_blocks(experiment: Handle) -> None:
    """Also for one that is open when it begins; its trial ends all the same."""
    with experiment.case("a") as case:
        with experiment.paused():
            case.record(score=1)
            crucible.telemetry.execute("step")
        case.record(score=2)
    assert group_of(experiment).recorded["score"].values.tolist() == [2.0]
    assert by_case(experiment) == {"a": "passed"}


def measure(experiment: Handle, number: int, wait: Callable[[], object] = lambda: None) -> None:
    with experiment.case(number, cluster=number % 5, on_failure="record"):
        crucible.telemetry.execute("step", {"n": number})
        wait()
        experiment.record(score=number)
        assert number % 2


def check_numbers(experiment: Handle, count: int) -> None:
    """Each case has its own number, event and outcome."""
    group = group_of(experiment)
    assert len(group.trials) == count
    assert all((t.outcome == "passed") == bool(int(t.case) % 2) for t in group.trials)
    names = {index: case for case, index in group.cases.items()}
    series = group.recorded["score"]
    found = {names[c]: value for c, value in zip(series.cases, series.values, strict=True)}
    assert found == {str(number): float(number) for number in range(count)}
    assert cases_of(list(experiment.everything), "step") == {str(n): 1 for n in range(count)}
    assert {case: int(case) % 5 for case in found} == {
        case: int(cluster) for case, cluster in group.clusters.items()
    }


@pytest.mark.parametrize("copied", [False, True])
def test_blocks_in_threads(experiment: Handle, copied: bool) -> None:
    """Eight at a time, with and without the context of the thread that started them."""
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        measure(experiment, number, barrier.wait)

    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            run = contextvars.copy_context().run if copied else lambda work, number: work(number)
            pool.submit(run, work, number)
    check_numbers(experiment, 40)


def test_two_hundred_tasks_at_once(experiment: Handle) -> None:
    """All blocks are open at the same time, and `metrics` may be asked meanwhile."""

    async def task(number: int, ready: asyncio.Semaphore, go: asyncio.Event) -> None:
        with crucible.case(number, cluster=number % 5, on_failure="record"):
            crucible.telemetry.execute("step", {"n": number})
            ready.release()
            await go.wait()
            experiment.record(score=number)
            assert number % 2

    async def main() -> None:
        ready, go = asyncio.Semaphore(0), asyncio.Event()
        tasks = [asyncio.create_task(task(number, ready, go)) for number in range(200)]
        for _ in tasks:
            await ready.acquire()
        metrics = experiment.metrics()
        assert metrics.tests.trials == 200
        assert metrics.tests.passed == 0
        go.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    check_numbers(experiment, 200)
    assert experiment.metrics().tests.passed == 100


def test_a_task_that_outlives_its_case(experiment: Handle) -> None:
    """What it records then belongs to no case, and it may begin a case of its own."""

    async def late(go: asyncio.Event) -> None:
        await go.wait()
        experiment.record(score=1)
        with experiment.case("late"):
            experiment.record(score=2)

    async def main() -> None:
        go = asyncio.Event()
        with experiment.case("early"):
            task = asyncio.create_task(late(go))
            await asyncio.sleep(0)
        go.set()
        await task

    asyncio.run(main())
    assert cases_of(list(experiment.everything), "crucible.record") == {None: 1, "late": 1}
    assert by_case(experiment) == {"early": "passed", "late": "passed"}


def test_a_cancelled_task_is_no_failure(experiment: Handle) -> None:
    """The cancellation goes on, whatever ``on_failure`` says."""

    async def main() -> None:
        async def task() -> None:
            with experiment.case("a", on_failure="record"):
                await asyncio.sleep(60)

        running = asyncio.create_task(task())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert by_case(experiment) == {"a": "interrupted"}


def fill(experiment: Handle) -> None:
    for number in range(12):
        facts: dict[str, Any] = {
            "lang": ["de", "[x]"] if number % 2 else "fr",
            "row.lang": "a",
            "n": number % 3,
        }
        with experiment.case(number, cluster=number // 3, **facts):
            experiment.record(score=number)


def test_every_file_says_what_the_session_said(tmp_path: Path) -> None:
    """Trials, clusters, slices and numbers, from an archive and from exported files."""
    with crucible.experiment("exp", slices=["lang", "row.lang", "n"]) as experiment:
        fill(experiment)
    here = group_of(experiment)
    files = [crucible.archive(experiment, tmp_path / "a.zip")]
    files += [
        crucible.export(experiment, form, tmp_path / f"a.{form}")
        for form in ("csv", "jsonl", "parquet")
    ]
    for file in files:
        (result,) = crucible.open_run(file).results().experiments
        there = result.groups["default"]
        assert there.clusters == here.clusters, file
        assert [(t.case, t.outcome, t.fingerprint, dict(t.slices)) for t in there.trials] == [
            (t.case, t.outcome, t.fingerprint, dict(t.slices)) for t in here.trials
        ], file
        assert there.recorded["score"].values == here.recorded["score"].values, file
        lang, row, n = result.slices(["lang", "row.lang", "n"])
        counts = [{s.value: len(s.cases) for s in each.slices} for each in (lang, row, n)]
        assert counts == [{"de": 6, "[x]": 6, "fr": 6}, {"a": 12}, {"0": 4, "1": 4, "2": 4}], file


PROCESSES = """
import multiprocessing, os
import pytest, pytest_crucible as crucible

def forked(experiment, number):
    with experiment.case(number, cluster="forked"):
        experiment.record(score=number)

def spawned(ticket, number):
    with crucible.join(ticket) as experiment:
        with experiment.case(number, cluster="spawned"):
            experiment.record(score=number)
            crucible.telemetry.execute("step")

@pytest.mark.experiment("exp")
def test_it(experiment):
    for how, work, handle, first in (
        ("fork", forked, experiment, 0), ("spawn", spawned, experiment.ticket, 3)):
        context = multiprocessing.get_context(how)
        processes = [context.Process(target=work, args=(handle, first + n)) for n in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            assert process.exitcode == 0
    with experiment.case(6, cluster="here"):
        experiment.record(score=6)
"""


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)
def test_blocks_in_processes(pytester: pytest.Pytester) -> None:
    """Forked ones and joined ones give trials of the same test."""
    pytester.makepyfile(PROCESSES)
    result = pytester.runpytest_subprocess(*QUIET, "-q")
    result.assert_outcomes(passed=1)
    run = crucible.open_run(pytester.path / "crucible-results")
    (experiment,) = run.results().experiments
    trials = sorted(experiment.trials, key=lambda trial: trial.case)
    assert [(t.case, t.outcome, t.cluster) for t in trials] == [
        *((str(n), "passed", "forked") for n in range(3)),
        *((str(n), "passed", "spawned") for n in range(3, 6)),
        ("6", "passed", "here"),
    ]
    group = experiment.groups["default"]
    names = {index: case for case, index in group.cases.items()}
    series = group.recorded["score"]
    assert {names[c]: v for c, v in zip(series.cases, series.values, strict=True)} == {
        str(n): float(n) for n in range(7)
    }


class Kind(enum.Enum):
    ONE = "one"


@dataclass
class Row:
    id: str


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("q17", "q17"), (17, "17"), (1.5, "1.5"), (True, "True"), (Kind.ONE, "one"),
        (np.int64(4), "4"), (np.str_("s"), "s"), (Decimal("1.0"), "1.0"),
        ("ü[1]-a::b", "ü[1]-a::b"),
        (UUID(int=1), str(UUID(int=1))), ("x" * 500, "x" * 500),
    ],
)  # fmt: skip
def test_plain_values_are_ids(value: object, text: str) -> None:
    """Texts, numbers, and what has a text of its own."""
    assert case_text("case", value) == text


@pytest.mark.parametrize(
    "value",
    [
        None, "", " ", "a\nb", "a\x1b[31m", "x" * 501, b"a", ["a"], ("a",), {"a": 1}, {"a"},
        object(), float("nan"), np.nan, np.array([1]), np.array([1, 2]), Row("a"),
    ],
)  # fmt: skip
def test_other_values_are_no_ids(value: object) -> None:
    """One line that names the value, and which of the two it was."""
    with pytest.raises(crucible.DefinitionError, match=r"^cluster must be ") as raised:
        case_text("cluster", value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 160


def test_what_is_no_choice_is_refused(experiment: Handle) -> None:
    """``on_failure`` has two values."""
    with pytest.raises(crucible.DefinitionError, match=r"on_failure='keep' is not one of raise, r"):
        experiment.case("a", on_failure="keep")  # type: ignore[arg-type]


def test_slices_of_a_value() -> None:
    """None is in none, a list in several, a set in sorted order; texts are short and one line."""
    assert slice_texts(None) == []
    assert slice_texts(["b", "a"]) == ["a", "b"]
    assert slice_texts({3, 1}) == ["1", "3"]
    assert slice_texts(Kind.ONE) == ["one"]
    (text,) = slice_texts("a\n" * 100)
    assert "\n" not in text
    assert len(text) <= 80


def test_events_name_their_case_where_nothing_else_does(tmp_path: Path) -> None:
    """``sample_id`` and ``cluster`` in metadata: 100 events of 10 cases are 10 cases."""
    with crucible.experiment("exp") as handle:
        for number in range(100):
            metadata = {"sample_id": f"q{number % 10}", "cluster": f"k{number % 10 // 5}"}
            crucible.telemetry.execute("llm.stop", {"duration": 1_000_000}, metadata)
        with handle.case("c"):
            crucible.telemetry.execute("llm.stop", {"duration": 1_000_000}, {"sample_id": "q1"})
    run = crucible.open_run(crucible.archive(handle, tmp_path / "a.zip"))
    for group in (group_of(handle), run.results().experiments[0].groups["default"]):
        assert group.clusters == {f"q{n}": f"k{n // 5}" for n in range(10)}
        sizes = Counter(group.case)
        assert [sizes[group.cases[f"q{n}"]] for n in range(10)] == [10] * 10
        assert sizes[group.cases["c"]] == 1


def test_events_that_put_a_case_into_two_clusters_are_told(tmp_path: Path) -> None:
    """One line per case, from the record in memory and from the archive."""
    with crucible.experiment("exp") as handle:
        for cluster in "aabbc":
            crucible.telemetry.execute("step", {"n": 1}, {"sample_id": "q", "cluster": cluster})
    problem = "case 'q' of 'exp' is in cluster 'a' and in cluster 'b': a case belongs to one"
    assert observe(handle.everything).problems == [problem]
    run = crucible.open_run(crucible.archive(handle, tmp_path / "a.zip"))
    assert list(run.results().problems) == [problem]


def test_a_block_that_is_not_entered_is_told() -> None:
    """Somebody forgot ``with``: nothing would be recorded, and nothing said."""
    with crucible.experiment("exp") as handle:
        block = handle.case("a")
        with pytest.warns(RuntimeWarning, match="case 'a' was never entered: use it as `with"):
            del block
        with handle.case("b"):
            pass
