"""Both sides run the same case one after the other, and neither is always the first."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.turns.messages import Case
from pytest_crucible.turns.schedule import BASE, HEAD, Pair, match, schedule


def case(name: str, trial: int = 1, content: str | None = None, test: str = "test_a") -> Case:
    return Case("e", "default", name, trial, f"{test}[{name}]", content)


def cases(names: str) -> list[Case]:
    return [case(name) for name in names]


def order(base: str, head: str, rounds: int) -> str:
    """The runs as text: the case, in upper case on the head."""
    before, after = cases(base), cases(head)
    steps = schedule(before, after, match(before, after), rounds)
    sides = (before, after)
    names = [(sides[step.side][step.run.index].case, step.side) for step in steps]
    return "".join(name.upper() if side == HEAD else name for name, side in names)


def test_two_rounds_are_a_b_b_a() -> None:
    """And the next case begins with the other side."""
    assert order("xy", "xy", 4) == "xXXxxXXx" + "YyyYYyyY"
    assert order("xy", "xy", 1) == "xXYy"


def test_what_one_side_lacks_runs_alone_in_its_place() -> None:
    """Next to its neighbours, which may need the same fixtures."""
    assert order("abc", "xac", 1) == "X" + "aA" + "b" + "Cc"
    assert order("ba", "a", 2) == "bb" + "aAAa"
    assert order("", "a", 2) == "AA"
    assert order("ab", "ba", 1) == "bB" + "Aa"  # in the order of the head


def test_a_warm_up_runs_once() -> None:
    both = [case("a", -1), case("a")]
    steps = schedule(both, both, match(both, both), 3)
    assert Counter(step.run.index for step in steps) == {0: 2, 1: 6}


def test_renamed_cases_are_known_by_their_content() -> None:
    """Within the same test, and if their id does not match already."""
    base = [case("0", content="red"), case("1", content="green"), case("2", content="blue")]
    head = [case("1", content="red"), case("9", content="blue"), case("8", content="red")]
    assert match(base, head) == [Pair(1, 0), Pair(2, 1), Pair(0, 2)]
    other = [case("7", content="red", test="test_b")]
    assert match(base[:1], other) == [Pair(0, None), Pair(None, 0)]
    assert match([case("a")], [case("b")]) == [Pair(0, None), Pair(None, 0)]


def test_the_same_case_of_two_tests_is_two() -> None:
    base = [case("q1", test="test_a"), case("q1", test="test_b")]
    assert match(base, base) == [Pair(0, 0), Pair(1, 1)]


names = st.lists(st.sampled_from("abcdef"), max_size=6, unique=True).map("".join)


@given(names, names, st.integers(1, 5))
def test_everything_runs_and_knows_what_follows(base: str, head: str, rounds: int) -> None:
    before, after = cases(base), cases(head)
    pairs = match(before, after)
    steps = schedule(before, after, pairs, rounds)
    for side, own in ((BASE, before), (HEAD, after)):
        runs = [step.run for step in steps if step.side == side]
        assert Counter(run.index for run in runs) == dict.fromkeys(range(len(own)), rounds)
        following = [run.index for run in runs[1:]]
        assert [run.then for run in runs] == [*following, None][: len(runs)]
    assert sum(pair.base is not None and pair.head is not None for pair in pairs) == len(
        {*base} & {*head}
    )
    for step in steps:
        assert 1 <= step.round <= rounds
