"""Clocks, peak memory, and the rows that a benchmark returns."""

import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; `target` is what it should stay within, in words."""

    what: str
    measured: str
    baseline: str = ""
    ratio: float | None = None
    target: str = ""


def seconds(function: Callable[[], object], *, rounds: int = 5) -> float:
    """The best of some rounds: what the code needs where nothing else disturbs it."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


_WORKED = (0, 10)
"""Exit codes of a command that did its work: served live, the demo's certificates have long expired, which is found."""


def processes(commands: Sequence[Sequence[str]], *, rounds: int = 9) -> list[float]:
    """The best wall time of each command, taken in turns so that all meet the same weather."""
    best = [float("inf")] * len(commands)
    with tempfile.TemporaryDirectory() as compiled:
        # Modules are compiled once, as after an installation, and not into the source tree.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(rounds + 1):
            for index, command in enumerate(commands):
                start = time.perf_counter()
                done = subprocess.run(command, check=False, env=environment, capture_output=True)
                if done.returncode not in _WORKED:
                    raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
                if turn:  # the first turn fills the caches
                    best[index] = min(best[index], time.perf_counter() - start)
    return best


def peak_mb() -> float:
    """The most memory that this process has ever had, in MB (Linux counts kilobytes: getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def workers_mb() -> float:
    """The most that workers can have had at once: one for each processor, all as large as the largest."""
    return len(os.sched_getaffinity(0)) * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def python(*words: str) -> list[str]:
    """A command for the interpreter that runs this."""
    return [sys.executable, *words]


def ms(value: float) -> str:
    """Seconds as milliseconds."""
    return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.2f} ms"


def table(rows: Sequence[Row]) -> str:
    """The rows under their headings."""
    cells = [("what", "measured", "baseline", "ratio", "target")]
    cells += [(r.what, r.measured, r.baseline, "" if r.ratio is None else f"{r.ratio:.2f}", r.target) for r in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
