"""How a run was spread over nodes, and in which order their files are read, is no matter."""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible._layout import SEGMENT, SUFFIX
from pytest_crucible.capture.frames import (
    EVENT_TAG,
    SCHEMA,
    ExperimentFrame,
    HeaderFrame,
    PlanFrame,
    ScopeFrame,
    encode,
)
from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP, Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.record.merge import merge
from pytest_crucible.record.node_reader import Node, TrialKey
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.record.spool_reader import SpoolReader

EXPERIMENT = "spread"
PREFIX = 8  # bytes before each frame
T0_NS = 1_763_900_000_000_000_000
Frames = list[tuple[int, bytes]]
"""With the trial that each belongs to."""


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[TrialKey], Frames]:
    """A run's plan, and the frames of its trials, in the order of time."""
    trials = draw(st.lists(st.integers(0, 6), min_size=1, max_size=6))
    plan: list[TrialKey] = []
    frames: Frames = []
    now = T0_NS
    big = draw(
        st.sampled_from([10, SEGMENT * 5 // 8, SEGMENT + 10])
    )  # then a file has several segments
    for number, size in enumerate(trials):
        arm, case = ("control", "treatment")[number % 2], f"t.py::test[{number // 2}]"
        plan.append((EXPERIMENT, arm, case, case, 1))
        scope = number + 1
        frames.append((number, encode(ScopeFrame(scope, EXPERIMENT, arm, case, case, 1, 1))))
        outcome = draw(st.sampled_from(["passed", "failed", "skipped"]))
        inside: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            (
                "work.stop",
                {"cost_usd": draw(st.integers(0, 9)) / 4},
                {"text": "x" * (0 if i else big)},
            )
            for i in range(size)
        ]
        for name, numbers, context in [
            (TRIAL_START, {}, {}),
            *inside,
            (TRIAL_STOP, {"duration": 10**6}, {"outcome": outcome}),
        ]:
            now += 1000 * draw(st.integers(1, 5))
            frames.append((number, encode((EVENT_TAG, scope, name, now, numbers, context))))
    return plan, frames


@contextmanager
def folders() -> Iterator[tuple[Path, Path]]:
    """Two empty folders; hypothesis runs a test many times within one tmp_path."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        yield Path(one), Path(other)


def write(folder: Path, node: str, plan: list[TrialKey], frames: list[bytes]) -> list[int]:
    """Write a node's spool; return where each of its frames ends in the file."""
    path = folder / f"{node}{SUFFIX}"
    header = HeaderFrame(SCHEMA, "run", node, node, os.getpid(), "here", T0_NS, 0)
    store = SpoolStore(path, header)
    store.append(encode(ExperimentFrame(EXPERIMENT, {"name": EXPERIMENT})))
    store.append(encode(PlanFrame(plan)))
    for frame in frames:
        store.append(frame)
    store.close()
    starts = [position for position, _ in SpoolReader(path)][3:]  # after header, experiment, plan
    return [start + PREFIX + len(frame) for start, frame in zip(starts, frames, strict=False)]


def read(paths: list[Path]) -> tuple[list[Event], dict[str, Any]]:
    """All events, and everything that is worked out from them."""
    nodes = [Node(path.stem, SpoolReader(path), source=str(path)) for path in paths]
    events = list(merge(nodes))
    plan = list(dict.fromkeys(key for node in nodes for key in node.plan))
    found = observe(iter(events), lambda: plan)
    return events, {
        "metrics": {key: summarise(group) for key, group in sorted(found.groups.items())},
        "trials": Counter(
            (trial.condition, trial.case, trial.outcome)
            for group in found.groups.values()
            for trial in group.trials
        ),
    }


def plain(events: list[Event]) -> list[tuple[int, str, Scope | None, dict[str, Any]]]:
    """Events without what says where they were recorded."""
    return [(e.time_us, e.name, e.scope, {**e.measurements, **e.metadata}) for e in events]


@settings(max_examples=30, deadline=None)
@given(run=runs(), seed=st.integers(0, 10**6), nodes=st.integers(1, 4))
def test_any_split_in_any_order_is_the_same_run(
    run: tuple[list[TrialKey], Frames], seed: int, nodes: int
) -> None:
    """Whichever node ran which trial, and however the files are listed."""
    plan, frames = run
    with folders() as (one, many):
        write(one, "main", plan, [frame for _, frame in frames])
        chance = random.Random(seed)
        ran_on = {number: chance.randrange(nodes) for number, _ in frames}
        for node in range(nodes):
            write(many, f"gw{node}", plan, [f for number, f in frames if ran_on[number] == node])
        paths = list(many.iterdir())
        chance.shuffle(paths)
        expected, worked_out = read(list(one.iterdir()))
        events, same = read(paths)
    assert plain(events) == plain(expected)
    assert same == worked_out


@settings(max_examples=30, deadline=None)
@given(run=runs(), seed=st.integers(0, 10**6), data=st.data())
def test_a_torn_tail_costs_the_torn_frames_only(
    run: tuple[list[TrialKey], Frames], seed: int, data: st.DataObject
) -> None:
    """Bytes cut off one file take the frames they were part of, and not one more."""
    plan, frames = run
    with folders() as (whole, torn):
        chance = random.Random(seed)
        ran_on = {number: chance.randrange(2) for number, _ in frames}
        own = [[frame for number, frame in frames if ran_on[number] == node] for node in (0, 1)]
        ends = [write(torn, f"gw{node}", plan, own[node]) for node in (0, 1)]
        victim = torn / f"gw0{SUFFIX}"
        anywhere = data.draw(st.integers(0, victim.stat().st_size), label="cut anywhere")
        border = data.draw(st.sampled_from(ends[0] or [0]), label="cut between two frames")
        for size in sorted({anywhere, border, max(0, border - 1)}, reverse=True):
            os.truncate(victim, size)
            events, worked_out = read(sorted(torn.iterdir(), reverse=True))
            kept = [frame for frame, end in zip(own[0], ends[0], strict=True) if end <= size]
            for path in whole.iterdir():
                path.unlink()
            write(whole, "gw0", plan, kept)
            write(whole, "gw1", plan, own[1])
            expected, same = read(sorted(whole.iterdir()))
            assert plain(events) == plain(expected)
            assert worked_out == same
