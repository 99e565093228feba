"""Which direction of a metric is better, as far as its name tells."""

from __future__ import annotations

import re
from collections.abc import Mapping

MIN, MAX = "min", "max"

_LOWER = re.compile(
    r"(?i)(^|[._/-])(latency|cost|tokens?|duration\w*|time\w*|loss|errors?|error_rate|failure_rate"
    r"|wer|cer|mae|mse|rmse|nll|perplexity|toxicity|hallucinations?\w*|flips?|regret|distance"
    r"|memory|bytes|steps)([._/-]|$)"
)


def lower_is_better(metric: str, overrides: Mapping[str, bool] | None = None) -> bool:
    """Whether less of a metric is better: told by the user, else by what its name says."""
    for name, lower in (overrides or {}).items():
        if metric == name or metric.startswith(f"{name}."):
            return lower
    return _LOWER.search(metric) is not None
