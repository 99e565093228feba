"""The metrics: each written down once."""

from __future__ import annotations

RESERVED_NAMES = frozenset(
    {
        "anomalies",
        "cost",
        "ensemble",
        "flip_rate",
        "hedging",
        "latency",
        "pass_rate",
        "reliability",
        "success_rate",
        "tests",
        "tokens",
    }
)  # fmt: skip
"""Names of built-in metrics, which ``record`` must not take."""
