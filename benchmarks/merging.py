"""Merging: one process reads one million events of four workers into results.

Prints time and peak memory of the reader, and the same for the events of a single node: the
difference is the cost of merging. ``python -m benchmarks merging``
"""

from __future__ import annotations

import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rounds import Figure

EVENTS = 1_000_000
WORKERS = 4
TRIALS = 200


def record(folder: Path, node: str, events: int) -> None:
    """Record ``events`` events as a worker does: in trials, into the spool of ``node``."""
    from pytest_crucible import telemetry
    from pytest_crucible.capture.open_scope import current_scope
    from pytest_crucible.capture.recorder import record_into
    from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP
    from pytest_crucible.events.scope import Scope
    from pytest_crucible.experiments.recording import NodeRecording
    from pytest_crucible.runs.experiment_definition import define

    recording = NodeRecording(folder, "run", node)
    recording.announce({"bench": define("bench")}, [])
    for trial in range(TRIALS):
        case = f"{node}-{trial}"
        opened = recording.open(Scope(experiment="bench", test=case, case=case, trial=1, attempt=1))
        record_into(opened, TRIAL_START, {}, {})
        current_scope.set(opened)
        for number in range(events // TRIALS):
            telemetry.execute(
                "req_llm.request.stop",
                {"duration": 1_000_000 + number, "input_tokens": 100, "output_tokens": 20},
                {"model": "gpt-4o-mini", "provider": "openai", "cost": 0.001},
            )
        record_into(opened, TRIAL_STOP, {"duration": 1}, {"outcome": "passed"})
        recording.close_scope(opened)
    recording.close()


def read(folder: Path, what: str) -> None:
    """Read a run folder and print seconds, peak MB and number of events; for a fresh process.

    Args:
        folder: the run folder.
        what: ``events`` to only read, ``analyse`` to work out the results.
    """
    from pytest_crucible.analysis.analyse import analyse
    from pytest_crucible.runs.run import open_folder

    began = time.perf_counter()
    if what == "analyse":
        results = analyse(open_folder(folder))
        count = sum(node["events"] for node in results.nodes)
    else:
        count = sum(1 for _ in open_folder(folder).events)
    seconds = time.perf_counter() - began
    peak = peak_mb()
    print(seconds, peak, count)


def peak_mb() -> float:
    """Return the peak memory of this process, in MB."""
    # Not `getrusage`: there a process inherits the peak of its parent.
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _measure(folder: Path, what: str) -> tuple[float, float, int]:
    code = (
        f"from pathlib import Path; from benchmarks.merging import read;"
        f"read(Path({str(folder)!r}), {what!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seconds, peak, count = done.stdout.split()
    return float(seconds), float(peak), int(count)


def measure_one(events: int, rounds: int) -> tuple[Figure, Figure]:
    """Measure seconds and peak MB of working out all metrics of one node's events, from disk."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "nodes").mkdir()
        process = multiprocessing.get_context("spawn").Process(
            target=record, args=(folder, "main", events)
        )
        process.start()
        process.join()
        measured = [_measure(folder, "analyse") for _ in range(rounds)]
    seconds, peaks, _ = zip(*measured, strict=True)
    return Figure(seconds), Figure(peaks)


def main() -> None:
    """Record both runs, read them three times, print the medians."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {}
        for workers in (1, WORKERS):
            folder = folders[workers] = Path(temporary) / f"run{workers}"
            (folder / "nodes").mkdir(parents=True)
            processes = [
                multiprocessing.get_context("spawn").Process(
                    target=record, args=(folder, f"gw{worker}", EVENTS // workers)
                )
                for worker in range(workers)
            ]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
        print(f"{'what':28} {'nodes':>5} {'seconds':>8} {'events/s':>10} {'peak MB':>8}")
        for what in ("events", "analyse"):
            for workers, folder in folders.items():
                runs = sorted(_measure(folder, what) for _ in range(3))
                seconds, peak, count = runs[1]
                print(f"{what:28} {workers:>5} {seconds:8.2f} {count / seconds:10,.0f} {peak:8.0f}")


if __name__ == "__main__":
    main()
