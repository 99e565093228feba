"""Matching: which cases of two runs are the same, by id and by content."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.events.fingerprint import fingerprint
from pytest_crucible.metrics.groups import Group
from pytest_crucible.metrics.trials import Trial
from pytest_crucible.stats.comparison import EQUIVALENT, Comparison
from pytest_crucible.stats.matching import Matching, match
from pytest_crucible.stats.samples import MEAN
from pytest_crucible.stats.subject import Subject
from tests.stats.support import cases as passed
from tests.stats.support import compare_subjects, events, sample
from tests.stats.support import group as observed


def rows(*contents: object, test: str = "test_q", positional: bool = True) -> Group:
    """A group of a parametrized test, one case per content: ``test_q[row0]``, …"""
    found = Group("exp", "default")
    for place, content in enumerate(contents):
        case = f"{test}[row{place}]"
        content_hash = None if content is None else fingerprint({"row": content})
        found.trials.append(
            Trial("exp", "default", case, 1, case, fingerprint=content_hash, positional=positional)
        )
        found.case_index(case)
    return found


def named(**contents: object) -> Group:
    """A group whose cases have ids of their author."""
    found = Group("exp", "default")
    for case, content in contents.items():
        content_hash = None if content is None else fingerprint({"row": content})
        found.trials.append(Trial("exp", "default", case, 1, "test", fingerprint=content_hash))
    return found


def places(found: Matching, test: str = "test_q", other: str = "test_q") -> dict[int, int]:
    """The matched rows by their places."""
    return {
        int(old.removeprefix(f"{test}[row")[:-1]): int(new.removeprefix(f"{other}[row")[:-1])
        for old, new in found.names.items()
    }


def test_a_row_in_the_middle_moves_the_others() -> None:
    """The others are matched by content, and the new one is told."""
    found = match(rows("a", "b", "c"), rows("a", "new", "b", "c"))
    assert places(found) == {0: 0, 1: 2, 2: 3}
    assert (found.moved, found.removed, found.conflicts) == (2, (), ())
    assert found.added == ("test_q[row1]",)


def test_a_row_that_went() -> None:
    """It is told, and nothing is compared with it."""
    found = match(rows("a", "b", "c"), rows("b", "c"))
    assert places(found) == {1: 0, 2: 1}
    assert found.removed == ("test_q[row0]",)


def test_an_edited_row_is_no_pair() -> None:
    """Its id stands for other content."""
    found = match(rows("a", "b", "c"), rows("a", "B", "c"))
    assert places(found) == {0: 0, 2: 2}
    assert found.conflicts == ("test_q[row1]",)
    assert (found.removed, found.added) == ((), ())


@given(st.permutations(range(8)), st.sets(st.integers(0, 7)), st.integers(0, 3))
def test_any_order_gives_the_same_pairs(order: Sequence[int], gone: set[int], more: int) -> None:
    """Whatever was shuffled, deleted or added: a row is paired with itself or with none."""
    kept = [row for row in order if row not in gone] + [100 + row for row in range(more)]
    found = match(rows(*range(8)), rows(*kept))
    assert {old: kept[new] for old, new in places(found).items()} == {
        row: row for row in range(8) if row not in gone
    }
    assert len(found.removed) + len(found.conflicts) == len(gone)
    assert len(found.added) + len(found.conflicts) == more


def test_equal_rows_are_paired_in_their_order() -> None:
    """As many as both sides have."""
    found = match(rows("a", "a", "a"), rows("b", "a", "a"))
    assert len(found.names) == 2
    assert len(set(found.names.values())) == 2
    assert len(found.removed) + len(found.added) + 2 * len(found.conflicts) == 2


def test_ids_of_the_author_stand_where_content_is_unknown() -> None:
    """One more column, or an older record without fingerprints: the id has to do."""
    longer = named(a={"q": "a", "lang": "de"}, b={"q": "b", "lang": "de"})
    for other in (longer, named(a=None, b=None)):
        found = match(named(a={"q": "a"}, b={"q": "b"}), other)
        assert found.names == {"a": "a", "b": "b"}


def test_positions_do_not_stand_for_unknown_content() -> None:
    """``row3`` of a list with other columns may be anything."""
    found = match(rows({"q": 1}, {"q": 2}), rows({"q": 1, "x": 1}, {"q": 2, "x": 1}))
    assert not found.names
    assert len(found.conflicts) == 2


def test_ids_of_the_author_with_other_content_are_told() -> None:
    """They are not paired, unless another id has the content."""
    found = match(named(a="1", b="2", c="3"), named(a="1", b="9", d="3"))
    assert found.names == {"a": "a", "c": "d"}
    assert found.conflicts == ("b",)


def test_arms_of_two_tests_and_tests_that_moved() -> None:
    """Content alone matches them."""
    found = match(rows("a", "b", test="old.py::test_q"), rows("b", "a", test="new.py::test_p"))
    assert places(found, "old.py::test_q", "new.py::test_p") == {0: 1, 1: 0}


def test_rows_of_the_same_test_come_first() -> None:
    """Where two tests have the same content."""
    base, cand = rows("a", test="t1"), rows("x", "a", test="t1")
    for side in (base, cand):
        other = rows("a", test="t2")
        side.trials += other.trials
    found = match(base, cand)
    assert found.names == {"t1[row0]": "t1[row1]", "t2[row0]": "t2[row0]"}


def test_aligned_samples_have_the_same_cases() -> None:
    """Under the candidate's names, and only where both sides have values."""
    matching = Matching(names={"a": "x", "b": "y", "c": "z"}, removed=("d",), added=("w",))
    before = sample([1.0, 2.0, 4.0], [0, 1, 2], names=["a", "b", "d"], kind=MEAN)
    after = sample([10.0, 30.0, 50.0], [0, 1, 2], names=["x", "z", "w"], kind=MEAN)
    old, new = matching.align(before, after)
    assert (old.by_case(), new.by_case()) == ({"x": 1.0}, {"x": 10.0})


def test_conflicts_are_left_out_even_if_nothing_matches() -> None:
    """They are not compared as if they were one case."""
    matching = Matching(conflicts=("a",), removed=("b",))
    before = sample([1.0, 2.0], [0, 1], names=["a", "b"])
    after = sample([3.0], [0], names=["a"])
    old, new = matching.align(before, after)
    assert (old.values.tolist(), new.n) == ([2.0], 0)


def rows_by_metric(compared: Sequence[Comparison]) -> dict[str, Comparison]:
    return {row.metric: row for row in compared}


def test_every_cell_is_about_the_matched_cases() -> None:
    """70 added slow cases, some of which fail and record nothing, change no cell of any row."""
    slow = {f"s{number}": "f" if number % 3 else "p" for number in range(70)}
    latency = [100.0 + number for number in range(100)]
    scores = [number / 100 for number in range(100)]
    base = observed(events(passed(100), {"score": scores}, latency_ms=latency))
    more = observed(
        events({**passed(100), **slow}, {"score": scores}, latency_ms=[*latency, *[9e3] * 70])
    )
    found = rows_by_metric(compare_subjects(Subject(base, {}), Subject(more, {})))
    for metric in ("success_rate", "latency", "latency.p95", "score.mean"):
        row = found[metric]
        assert row.baseline == row.candidate, metric
        assert row.verdict == EQUIVALENT, (metric, row.reason)
        assert row.change in (0.0, 1.0), metric


def test_no_row_says_one_thing_in_two_ways() -> None:
    """Change and both values agree: never 100 % → 55.6 %, +0.0 pp."""
    base = observed(events({"a": "p", "b": "p", "c": "p"}))
    cand = observed(events({"a": "p", "b": "p", "c": "p", "x": "f", "y": "f"}))
    (row,) = compare_subjects(Subject(base, {}), Subject(cand, {}))[:1]
    assert row.metric == "success_rate"
    assert (row.baseline, row.candidate, row.change) == (1.0, 1.0, 0.0)
