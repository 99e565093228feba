"""``stop="decided"``: further trials are skipped once the claims are decided, in every mode."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_crucible.events.pricing import Pricer
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.session import stopping
from pytest_crucible.stats.verdict import CONFIRMED, INCONCLUSIVE, REJECTED
from tests.session import support
from tests.session.priced import manifest

GOOD = """
import pytest

@pytest.mark.experiment("e", expect=["success_rate > 0.8"], stop="decided"{more})
@pytest.mark.parametrize("row", range(200))
def test_e(row):
    assert True

def test_other():
    pass
"""
NEEDED = 21
"""Passes in a row that confirm ``success_rate > 0.8``."""


def test_trials_are_skipped_once_it_is_decided(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """And the summary says so: they are no trials that somebody skipped, nor lost ones."""
    pytester.makepyfile(GOOD.format(more=""))
    result = support.run(pytester, "-rs", *mode)
    assert result.ret == 0
    experiment = support.only(pytester)
    ran = experiment.recorded
    assert NEEDED <= ran < 200
    assert ran == NEEDED or mode == ("-n2",)
    assert experiment.verdict == CONFIRMED
    assert sum(trial.spared for trial in experiment.trials) == 200 - ran
    result.assert_outcomes(passed=ran + 1, skipped=200 - ran)
    decided = experiment.decided
    assert decided is not None
    assert decided.startswith("decided after 2")
    assert " of 200 trials" in decided
    result.stdout.fnmatch_lines([f"*recorded {ran}/200 trials*{decided}*", f"SKIPPED*{decided}*"])
    result.stdout.no_fnmatch_line(f"*{200 - ran} skipped ·*")
    said = manifest(pytester)
    assert said["experiments"]["e"]["decided"] == decided
    assert said["completeness"]["complete"]


def test_a_claim_that_is_false_is_decided_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(GOOD.format(more="").replace("assert True", "assert row % 2"))
    result = support.run(pytester)
    assert result.ret == 1
    assert support.only(pytester).verdict == REJECTED
    assert support.only(pytester).recorded < 100


def test_what_stays_open_runs_to_its_end(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(GOOD.format(more="").replace("assert True", "assert row % 5"))
    support.run(pytester)
    experiment = support.only(pytester)
    assert experiment.recorded == 200
    assert experiment.decided is None
    assert experiment.verdict == INCONCLUSIVE


def test_all_claims_must_be_decided_unless_primary_names_some(pytester: pytest.Pytester) -> None:
    source = """
import pytest

@pytest.mark.experiment("e", expect=["success_rate > 0.8", "score > 0.7"], stop="decided"{more})
@pytest.mark.parametrize("row", range(120))
def test_e(row, experiment):
    experiment.record(score=0.75)
"""
    pytester.makepyfile(source.format(more=""))
    support.run(pytester)
    both = support.only(pytester).recorded
    pytester.makepyfile(source.format(more=", primary='success_rate'"))
    support.run(pytester)
    assert support.only(pytester).recorded < both


def test_other_experiments_share_the_level(pytester: pytest.Pytester) -> None:
    """A second claim in the session makes REJECTED harder, live as at the end."""
    bad = GOOD.format(more="").replace("assert True", "assert False")
    pytester.makepyfile(test_one=bad)
    support.run(pytester)
    alone = support.only(pytester).recorded
    more = bad.replace('"e"', '"f"').replace("test_e", "test_f")
    pytester.makepyfile(test_two=more)
    support.run(pytester)
    counts = [each.recorded for each in support.results(pytester).experiments]
    assert min(counts) > alone
    assert {each.verdict for each in support.results(pytester).experiments} == {REJECTED}


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_paired_arms_stop_together(pytester: pytest.Pytester, workers: str) -> None:
    """Trials of one case stay adjacent, so that pairs fill, and what is decided stays decided."""
    pytester.makepyfile(
        """
import pytest

@pytest.mark.experiment(
    "e", expect=["new.success_rate > old"], stop="decided", conditions=["old", "new"], trials=2
)
@pytest.mark.parametrize("row", range(150))
def test_e(row, experiment):
    assert experiment.condition == "new" or row % 2
"""
    )
    support.run(pytester, workers)
    experiment = support.only(pytester)
    assert experiment.verdict == CONFIRMED
    assert experiment.decided is not None
    assert 40 < experiment.recorded < 500
    (verdict,) = experiment.verdicts
    assert "always valid" in verdict.basis


def test_money_that_was_saved(priced: pytest.Pytester) -> None:
    from tests.session.priced import SPANS

    priced.makepyfile(
        SPANS
        + """
@pytest.mark.experiment("e", expect=["success_rate > 0.8"], stop="decided")
@pytest.mark.parametrize("row", range(100))
def test_e(row):
    ask()
"""
    )
    result = support.run(priced, "-rs")
    text = f"decided after {NEEDED} of 100 trials, about ${100 - NEEDED}.00 saved"
    result.stdout.fnmatch_lines([f"*recorded {NEEDED}/100 trials*{text}*", f"SKIPPED*{text}"])


def test_time_that_was_saved(pytester: pytest.Pytester) -> None:
    """Where nothing has a price, the time that the others would have taken."""
    from pytest_crucible.session.stopping import _saved

    assert _saved(1.904, 7000) == ", about $1.90 saved"
    assert _saved(0.00456, 7000) == ", about $0.0046 saved"
    assert _saved(0, 7000) == ", about 1.9 h saved"
    assert _saved(0, 100) == ", about 1.7 min saved"
    assert _saved(0, 2) == ", about 2.0 s saved"
    assert _saved(0, 3600 * 1234) == ", about 1,234 h saved"
    assert _saved(0, 0.2) == ""


def test_a_trial_that_is_run_again_counts_once(pytester: pytest.Pytester) -> None:
    """Only its last attempt says how it ended."""
    pytester.makepyfile(
        """
import pytest
seen = set()

@pytest.mark.experiment("e", expect=["success_rate > 0.8"], stop="decided")
@pytest.mark.parametrize("row", range(100))
def test_e(row):
    first = row not in seen
    seen.add(row)
    assert not first
"""
    )
    support.run(pytester, "-p", "rerunfailures", "--reruns=1")
    experiment = support.only(pytester)
    assert experiment.recorded == NEEDED
    assert experiment.verdict == CONFIRMED


def test_users_skips_are_told_apart(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        GOOD.format(more="").replace("assert True", "row % 4 or pytest.skip('not today')")
    )
    result = support.run(pytester)
    experiment = support.only(pytester)
    skipped = sum(t.outcome == "skipped" and not t.spared for t in experiment.trials)
    assert skipped
    assert experiment.verdict == CONFIRMED
    result.stdout.fnmatch_lines([f"*recorded {NEEDED}/200 trials · {skipped} skipped ·*decided*"])


def test_a_part_of_the_cases_is_judged_by_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(GOOD.format(more=""))
    support.run(pytester, "-k", "e[1")
    experiment = support.only(pytester)
    assert experiment.decided is not None
    assert experiment.decided.startswith(f"decided after {NEEDED} of 111 trials")


def test_nothing_is_printed_when_asked_for_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(GOOD.format(more=""))
    result = support.run(pytester, "-q", "-q")
    assert "decided" not in result.stdout.str()
    assert result.stderr.str() == ""


# --- loops ------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["if experiment.decided: break", "pass"])
def test_a_loop_ends_early(pytester: pytest.Pytester, leave: str) -> None:
    """By itself, or with the next case, which skips the rest of the test."""
    pytester.makepyfile(
        f"""
import pytest

@pytest.mark.experiment("e", expect=["success_rate > 0.8"], stop="decided")
def test_e(experiment):
    for row in range(200):
        {leave}
        with experiment.case(row):
            assert True
"""
    )
    result = support.run(pytester)
    result.assert_outcomes(**({"passed": 1} if "break" in leave else {"skipped": 1}))
    experiment = support.only(pytester)
    assert experiment.verdict == CONFIRMED
    assert experiment.recorded == NEEDED + 1  # a unit ends when the next one begins
    assert experiment.decided == f"decided after {NEEDED + 1} cases"


def test_a_handle_outside_pytest_is_never_decided() -> None:
    from pytest_crucible import experiment

    with experiment("e") as handle:
        assert not handle.decided


def test_blocks_at_once_do_not_stop(pytester: pytest.Pytester) -> None:
    """They would end in an order that their outcomes have a say in."""
    pytester.makepyfile(
        """
import asyncio
import pytest

@pytest.mark.experiment("e", expect=["success_rate > 0.8"], stop="decided")
def test_e(experiment):
    async def one(row):
        with experiment.case(row):
            await asyncio.sleep(0)

    async def all_of_them():
        for row in range(0, 120, 4):
            await asyncio.gather(*map(one, range(row, row + 4)))
            assert not experiment.decided

    asyncio.run(all_of_them())
"""
    )
    support.run(pytester)
    experiment = support.only(pytester)
    assert experiment.recorded == 120
    assert experiment.verdict == CONFIRMED


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (', expect=[], stop="decided"', "stop='decided' needs expect=[…]"),
        (', stop="now"', "stop='now' is not one of decided"),
        (', sequential="yes"', "sequential must be True or False, not 'yes'"),
        (', expect=["cost.total < 3"], stop="decided"', "'cost.total < 3' cannot be judged before"),
        (
            ', expect=["success_rate > 0.9"], primary=["cost"], stop="decided"',
            "no claim of expect= is about primary=('cost',); valid: success_rate",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(
    pytester: pytest.Pytester, mode: tuple[str, ...], more: str, problem: str
) -> None:
    pytester.makepyfile(
        f"""
import pytest

@pytest.mark.experiment("e"{more})
def test_e():
    pass
"""
    )
    line = support.refused(support.run(pytester, *mode))
    assert problem in line
    assert "test_e" in line


# --- the option -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["option", "ini", "marker"])
def test_sequential_for_one_or_for_all(pytester: pytest.Pytester, how: str) -> None:
    more = ", sequential=True" if how == "marker" else ""
    pytester.makepyfile(GOOD.format(more=more).replace(', stop="decided"', ""))
    if how == "ini":
        pytester.makeini("[pytest]\ncrucible_sequential = true")
    result = support.run(pytester, *(["--crucible-sequential"] if how == "option" else []))
    experiment = support.only(pytester)
    assert experiment.recorded == 200
    assert [verdict.basis for verdict in experiment.verdicts] == ["betting e-process, always valid"]
    result.stdout.fnmatch_lines(["*recorded 200/200 trials · judged at any look*"])


def test_a_wrong_ini_value_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    pytester.makeini("[pytest]\ncrucible_sequential = maybe")
    line = support.refused(support.run(pytester))
    assert line == "ini value crucible_sequential: 'maybe' is not one of true, false"


def test_files_of_other_processes_are_read_line_by_line(pytester: pytest.Pytester) -> None:
    """Each process has a file of its own beside its spool."""
    pytester.makepyfile(GOOD.format(more=""))
    support.run(pytester, "-n2")
    folder = next(Path(pytester.path, support.OUTPUT).glob("2*"))
    names = {path.name for path in (folder / "nodes").iterdir()}
    assert {"gw0.ended.jsonl", "gw1.ended.jsonl", "e.decided"} <= names


# --- what processes tell each other -----------------------------------------------------------


def test_the_first_word_counts(tmp_path: Path) -> None:
    """Two processes may find out at once; both then say the same."""
    flag = tmp_path / "e.decided"
    assert stopping._read(flag) == ""
    assert stopping._announced(flag, "decided after 20") == "decided after 20"
    assert stopping._announced(flag, "decided after 21") == "decided after 20"


def test_without_room_each_process_finds_out_itself(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is no error of a test, and this process still stops."""
    really = Path.open

    def full(path: Path, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if path.name.endswith((stopping.SUFFIX, stopping.FLAG)) and mode in "ax":
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(path, mode, *arguments, **more)

    pytester.makepyfile(GOOD.format(more=""))
    monkeypatch.setattr(Path, "open", full)
    result = support.run(pytester)
    monkeypatch.undo()
    assert result.ret == 0
    assert support.only(pytester).recorded == NEEDED


def test_half_a_line_waits_for_its_rest(tmp_path: Path) -> None:
    """A process that writes while another reads has not said anything yet."""
    (tmp_path / "nodes").mkdir()
    recording = NodeRecording(tmp_path, "run", "gw0")
    hooks = SimpleNamespace(recording=recording, note_decided=lambda text: None)
    definition = define("e", expect=["success_rate > 0.5"], stop="decided")
    definition = replace(definition, conditions=("default",))
    made = stopping.Stopping(hooks, Pricer(), {"e": definition}, [], 2, 0)  # type: ignore[arg-type]
    other = tmp_path / "nodes" / "gw1.ended.jsonl"
    spent = {"ended": 1, "ran": 1, "ms": 1.0, "usd": None}
    begun = {"unit": "x", "at_us": 1.0, "node": "gw1", "split": False}
    line = json.dumps(["e", begun, spent]) + "\n"
    other.write_text(line + line[:10])
    assert [each.unit for _, each, _ in made._heard()] == ["x"]
    assert made._heard() == []
    other.write_text(line + line)
    assert len(made._heard()) == 1
    recording.close()
