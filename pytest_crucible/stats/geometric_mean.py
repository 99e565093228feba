"""The geometric mean of ratios: how several experiments changed, taken together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GeometricMean:
    """The geometric mean of the ratios of two sides, over what both have.

    It says how what was measured changed, and has no interval: which experiments there are is no
    sample of others.

    Attributes:
        ratio: candidate / baseline; .69 is 31 % less.
        n: number of ratios.
        left_out: names that only one side has, or of which a value is not above 0.
    """

    ratio: float
    n: int
    left_out: tuple[str, ...] = ()

    @property
    def change(self) -> float:
        """The change as a share: −.31 is 31 % less."""
        return self.ratio - 1


def geometric_mean_ratio(
    before: Mapping[str, float], after: Mapping[str, float]
) -> GeometricMean | None:
    """Return the geometric mean of the ratios ``after / before``, name by name.

    Unlike an arithmetic mean it does not depend on which side is the baseline, and no experiment
    counts for more because its numbers are larger (Fleming and Wallace 1986).

    Args:
        before: values above 0 of the baseline, by name.
        after: those of the candidate.

    Returns:
        None if no name has a ratio.
    """
    logs = {
        name: math.log(after[name]) - math.log(value)
        for name, value in before.items()
        if name in after and 0 < value < math.inf and 0 < after[name] < math.inf
    }
    if not logs:
        return None
    left_out = tuple(name for name in {**before, **after} if name not in logs)
    return GeometricMean(math.exp(math.fsum(logs.values()) / len(logs)), len(logs), left_out)
