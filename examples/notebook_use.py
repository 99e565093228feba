"""Without pytest, as in a notebook: run it with Python, or cell by cell.

It writes into ``crucible-results/`` below the folder that it is run in.
"""

# %% Two arms, each an experiment of its own
from __future__ import annotations

import bisect
import random

import pytest_crucible as crucible

words = [f"word{number}" for number in random.Random(0).sample(range(100_000), 5_000)]
wanted = words[::50]


def scan(word: str) -> bool:
    return word in words


ordered = sorted(words)


def search(word: str) -> bool:
    return ordered[bisect.bisect_left(ordered, word)] == word


arms = {}
for name, look_up in (("scan", scan), ("bisect", search)):
    with crucible.experiment("look up", condition=name, validate="error") as experiment:
        for word in wanted:
            with experiment.span("dictionary.lookup"):
                found = look_up(word)
            experiment.record(found=found)
    arms[name] = experiment

# %% What was measured
for name, experiment in arms.items():
    metrics = experiment.metrics()
    assert metrics.latency.count == len(wanted)
    share = metrics.recorded["found"].mean
    print(f"{name:8} median {metrics.latency.median:.4f} ms, found {share:.0%}")

# %% Side by side, with verdicts: as `crucible compare` prints them
print(crucible.compare(arms["scan"], arms["bisect"]))

# %% Claims, judged by their confidence bounds
print(crucible.judge([*arms.values()], "found.mean > 90%", "bisect.latency.p50 < 0.5 * scan"))

# %% A curve, as a training loop would log it
with crucible.experiment("square root of 2", tags=["curve"]) as newton:
    guess = 1.0
    for step in range(6):
        newton.log("error", abs(guess * guess - 2), step=step)
        guess = (guess + 2 / guess) / 2
steps, errors = newton.logged("error")
for step, error in zip(steps, errors, strict=True):
    print(f"after {step} steps the error is {error:.1e}")
summary = newton.metrics().logged["error"]
print(f"first {summary.first:.2g}, last {summary.last:.1e}, best at step {summary.best_step:.0f}")

# %% Keep it: a table for other tools, and an archive that `crucible show` reads
path = crucible.export_multiple(list(arms.values()), "csv", "crucible-results/lookups.csv")
print(f"events: {path}")
print(f"archive: {crucible.archive(newton)}")
for experiment in crucible.list_experiments():
    crucible.cleanup(experiment)
