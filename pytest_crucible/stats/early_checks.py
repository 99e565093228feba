"""Checks of an expectation before the first test runs: misspelt metrics, impossible bounds."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from pytest_crucible._errors import ExpectationError
from pytest_crucible.metrics.catalog import BUILT_IN, PASSES, RESERVED_NAMES, SHARE, Metric
from pytest_crucible.stats.expression import Expectation, parse


def parse_checked(
    text: str,
    conditions: Sequence[str],
    declared: Iterable[Metric] = (),
    recorded: Collection[str] = (),
) -> Expectation:
    """Parse an expectation, and refuse what could never be judged as its author means it.

    Args:
        text: as the user wrote it.
        conditions: the experiment's conditions.
        declared: metrics of the author and of plugins.
        recorded: names of numbers that are known to be recorded: these are never misspelt.

    Raises:
        ExpectationError: the text cannot be parsed; its metric is almost the name of another one
            and of none itself; or its bound lies outside the range of the metric.
    """
    claim = parse(text, conditions)
    metrics = {metric.path: metric for metric in declared}
    name, _, statistic = claim.metric.partition(".")
    known = name in RESERVED_NAMES or name in metrics or name in recorded
    if not (known or claim.metric in metrics or PASSES.match(name)):
        names = (*RESERVED_NAMES, *(path.partition(".")[0] for path in metrics))
        meant = next((other for other in sorted(set(names)) if misspelt(name, other)), None)
        if meant is not None:
            whole = f"{meant}.{statistic}" if statistic else meant
            raise ExpectationError(
                f"unknown metric {claim.metric!r}; did you mean {whole}? (a number of your own "
                f'with this name: declare it, metrics={{"{name}": Metric()}})',
                text,
                _column(text, name),
            )
    metric = _metric(claim.metric, metrics)
    if metric is not None and claim.bound.condition is None:
        _check_bound(claim, metric)
    return claim


def _metric(path: str, declared: Mapping[str, Metric]) -> Metric | None:
    if PASSES.match(path):
        return Metric(path, "%", range=SHARE)
    if path in BUILT_IN or path in declared:
        return BUILT_IN.get(path) or declared[path]
    name, _, statistic = path.rpartition(".")
    # A count, a deviation or the number of a step has another range than the values.
    in_range = statistic in ("mean", "median", "min", "max", "first", "last", "best") or (
        re.fullmatch(r"p\d\d", statistic) is not None
    )
    return declared.get(name) if in_range else None


def _check_bound(claim: Expectation, metric: Metric) -> None:
    low, high = metric.range
    bound = claim.bound.offset
    percent = re.search(r"(\d+\.?\d*|\.\d+)\s*(%|pp)", claim.text[_bound_column(claim) - 1 :])
    if percent and high is not None and high > 1:
        said = f"{claim.metric} goes up to {high:g}, and {percent[0]} is {bound:g}"
        raise ExpectationError(f"{said}: write {percent[1]}", claim.text, _bound_column(claim))
    too_low, too_high = low is not None and bound < low, high is not None and bound > high
    if not (too_low or too_high):
        return
    if metric.range == SHARE:
        what = "a rate" if metric.unit == "%" else claim.metric
        said = f"{what} is between 0 and 1"
        if 1 < bound <= 100:
            said += f": {bound:g}%"
    elif too_low:
        said = f"{claim.metric} is never below {low:g}"
    else:
        said = f"{claim.metric} is never above {high:g}"
    raise ExpectationError(said, claim.text, _bound_column(claim))


def _bound_column(claim: Expectation) -> int:
    rest = claim.text.rindex(claim.comparison) + len(claim.comparison)
    return rest + len(claim.text[rest:]) - len(claim.text[rest:].lstrip()) + 1


def _column(text: str, name: str) -> int:
    match = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)
    return 1 if match is None else match.start() + 1


def misspelt(name: str, meant: str) -> bool:
    """Whether a name is so close to another one that it must be a slip of the fingers.

    Short names are close to many honest ones (``cost`` and ``lost``, ``tests`` and ``texts``): the
    longer the name, the more may differ. The first letter is never wrong.
    """
    if name == meant:
        return False
    if _squeezed(name) == _squeezed(meant):  # successRate, success-rate
        return True
    longest = max(len(name), len(meant))
    if name[:1] != meant[:1] or longest < 5:
        return False
    if longest < 7:
        return (len(name) != len(meant) and _distance(name, meant) == 1) or _swapped(name, meant)
    return _distance(name, meant) <= (2 if longest >= 11 else 1) or _swapped(name, meant)


def _squeezed(name: str) -> str:
    return re.sub(r"[_-]", "", name).lower()


def _swapped(first: str, second: str) -> bool:
    """Whether two neighbouring letters have changed places, and nothing else."""
    differ = [i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b]
    return (
        len(first) == len(second)
        and len(differ) == 2
        and differ[1] == differ[0] + 1
        and first[differ[0]] == second[differ[1]]
        and first[differ[1]] == second[differ[0]]
    )


def _distance(first: str, second: str) -> int:
    """Return how many letters to add, remove or replace turn one text into the other."""
    above = list(range(len(second) + 1))
    for row, letter in enumerate(first, 1):
        line = [row]
        for column, other in enumerate(second, 1):
            line.append(min(above[column] + 1, line[-1] + 1, above[column - 1] + (letter != other)))
        above = line
    return above[-1]
