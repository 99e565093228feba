"""Exports: seconds and peak memory per format and number of events; every export in a new process.

``floor`` is the minimum of any export: decode the frames of the spool, encode as many equal rows
with msgspec, and write them. Figures vary on shared machines: compare a line with the floor of the
same size. ``python -m benchmarks exporting``
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from benchmarks.merging import peak_mb
from benchmarks.rounds import ROUNDS, Figure, Row

SIZES = (10_000, 250_000, 1_000_000, 4_000_000)
FORMATS = ("floor", "jsonl", "csv", "parquet", "jsonl.gz")
# By format: limit in CPU seconds for a million events, and limit in MB.
LIMITS = {"jsonl": (4, 60), "csv": (12, 60), "parquet": (10, 200)}
LARGEST = {"jsonl.gz": 1_000_000}  # gzip is slow, and its memory does not grow further


def export(folder: Path, format: str) -> None:
    """Export a run folder and print seconds, CPU seconds, peak MB and file MB, in a new process."""
    from pytest_crucible.exports.export import export_as
    from pytest_crucible.runs.run import open_folder

    target = folder.parent / f"events.{format}"
    began, began_cpu = time.perf_counter(), time.process_time()
    if format == "floor":
        _floor(folder, target)
    else:
        export_as(lambda: open_folder(folder).events, target, format)
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    peak = peak_mb()
    print(seconds, cpu, peak, target.stat().st_size / 2**20)
    target.unlink()


def _floor(folder: Path, target: Path) -> None:
    import msgspec

    from pytest_crucible.exports.rows import nested_row
    from pytest_crucible.record.spool_reader import SpoolReader
    from pytest_crucible.runs.run import open_folder

    run, encoder = open_folder(folder), msgspec.json.Encoder()
    row = nested_row(next(event for event in run.events if event.scope and not event.internal))
    frames = 0
    with open(target, "wb") as file:
        for _ in SpoolReader(folder / "nodes" / "main.spool"):
            frames += 1
            if frames % 128 == 0:
                file.write(encoder.encode_lines([row] * 128))


def _measure(folder: Path, format: str) -> tuple[float, ...]:
    code = (
        f"from pathlib import Path; from benchmarks.exporting import export;"
        f"export(Path({str(folder)!r}), {format!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return tuple(map(float, done.stdout.split()))


@contextmanager
def _recorded(*sizes: int) -> Iterator[dict[int, Path]]:
    """Record a run folder for every number of events; yield the folders by this number."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {size: Path(temporary) / str(size) for size in sizes}
        for size, folder in folders.items():
            (folder / "nodes").mkdir(parents=True)
            recorder = "from benchmarks.merging import record; from pathlib import Path;"
            recorder += f"record(Path({str(folder)!r}), 'main', {size})"
            subprocess.run([sys.executable, "-c", recorder], check=True)
        yield folders


def rows(events: int = 1_000_000, rounds: int = ROUNDS) -> list[Row]:
    """Measure CPU seconds for ``events`` events, and peak MB for ¼, 1 and 4 times as many."""
    sizes = (events // 4, events, events * 4)
    table = []
    with _recorded(*sizes) as folders:
        # Not `interleaved`: a new process needs no warming up.
        measured: dict[str, list[tuple[float, ...]]] = {name: [] for name in LIMITS}
        for _ in range(rounds):
            for name in LIMITS:
                measured[name].append(_measure(folders[events], name))
        for name, (most_seconds, most_mb) in LIMITS.items():
            cpu, peak = (
                Figure(tuple(figures[column] for figures in measured[name])) for column in (1, 2)
            )
            others = [_measure(folders[size], name)[2] for size in (sizes[0], sizes[2])]
            peaks = [others[0], peak.median, others[1]]
            text = " / ".join(f"{mb:.0f}" for mb in peaks)
            flat = max(peaks) <= 1.1 * min(peaks)
            table.append(
                Row(
                    f"export {events:,} events: {name}",
                    f"{cpu.median:.2f} s ± {cpu.spread:.0%}, "
                    f"peak {text} MB at {', '.join(f'{size:,}' for size in sizes)}",
                    f"≤ {most_seconds} s, ≤ {most_mb} MB, flat",
                    cpu.median <= most_seconds and max(peaks) <= most_mb and flat,
                )
            )
    return table


def main() -> None:
    """Record runs of all sizes, export them in all formats, print a line per export."""
    packages = ("pytest-crucible", "msgspec", "pyarrow")
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, CPython {platform.python_version()}, "
        + ", ".join(f"{package} {version(package)}" for package in packages)
    )
    print(
        f"{'format':10} {'events':>9} {'seconds':>8} {'CPU s':>8} {'µs/event':>8} "
        f"{'peak MB':>8} {'file MB':>8}"
    )
    with _recorded(*SIZES) as folders:
        for events, folder in folders.items():
            for name in FORMATS:
                if events > LARGEST.get(name, events):
                    continue
                seconds, cpu, peak, size = _measure(folder, name)
                print(
                    f"{name:10} {events:>9,} {seconds:8.2f} {cpu:8.2f} {cpu / events * 1e6:8.2f} "
                    f"{peak:8.0f} {size:8.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
