"""A small part of the table of `crucible ab`, and whether it judges as the command does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import ab
from pytest_crucible.stats.comparison import REGRESSED
from tests.stats.support import compare_subjects

SCENES = {scene.what: scene for scene in ab.scenes()}
UNCHANGED = SCENES["unchanged, drift and a step, noise 0.2, margin next to 0"]
SLOWER = SCENES["10 % slower, drift and a step, noise 0.2"]


def test_the_judge_judges_as_compare_does() -> None:
    """It only leaves out the other rows."""
    scene = replace(SLOWER, factor=1.07)
    judge = ab.Judge(scene)
    verdicts = []
    for seed in range(12):
        rows = compare_subjects(*scene.subjects(np.random.default_rng(seed)), scene.options)
        (row,) = (row for row in rows if row.metric == "latency")
        verdicts.append(row.verdict == REGRESSED)
        assert judge.regressed(np.random.default_rng(seed)) == verdicts[-1]
    assert {*verdicts} == {True, False}


@pytest.mark.parametrize("scene", [UNCHANGED, SLOWER], ids=lambda scene: scene.what)
def test_the_promises_are_kept(scene: ab.Scene) -> None:
    """On a machine that drifts, with a step in the middle."""
    assert ab.simulate(scene, 300).kept


def test_sessions_one_after_the_other_keep_none() -> None:
    """So the simulated machine is one that matters."""
    row = ab.simulate(replace(UNCHANGED, in_turns=False, machine=ab.Machine(step=0)), 100)
    assert not row.kept
    assert str(row).endswith("BROKEN")


def test_a_step_halfway_is_of_its_size() -> None:
    slow = ab.Machine(0.0, 0.0, 0.3).slowness(10, np.random.default_rng(1))
    assert np.allclose(np.exp(slow), [1.0] * 5 + [1.3] * 5)


def test_the_table_says_what_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    """By its exit code, too."""
    shown = replace(SLOWER, promise=None)
    assert ab.main([shown], runs=20) == 0
    assert ab.main([shown, replace(SLOWER, promise=1.0, factor=1.0)], runs=20) == 1
    out = capsys.readouterr().out
    assert out.count("BROKEN") == 1
