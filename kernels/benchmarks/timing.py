"""What every benchmark here shares: its first line, calls timed in turns, table rows, the machine's matrix-product rate."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import torch

Run = Callable[[int], tuple[float, float]]   # n -> seconds per update over n updates, loss of the first of them


class Timing(NamedTuple):
    ms: float          # median per update
    spread: float      # distance of the quartiles over the median
    first_loss: float  # of the very first update


MISSING = Timing(float("nan"), float("nan"), float("nan"))


def header() -> str:
    """Processor, cores, versions, threads."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] if cpuinfo.exists() else []
    versions = [f"Python {platform.python_version()}"]
    for package in ("numpy", "torch", "numba", "jax"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    threads = f"threads: {numba.get_num_threads()} numba, {torch.get_num_threads()} torch"
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores; {', '.join(versions)}; {threads}"


def in_turns(runs: Mapping[str, Run | None], seconds: float = 0.3, turns: int = 7, longest: float = float("inf")) -> dict[str, Timing]:
    """Median time of each run, called one after the other in turns, so that a busy moment of the machine meets them all.

    The first call of a run compiles and warms up, some more find how many updates take about ``seconds``. A run that is None, or
    whose single update takes more than ``longest`` seconds, has no time.
    """
    first, repeats = {}, {}
    for name, run in runs.items():
        if run is None:
            continue
        first[name] = run(1)[1]
        n, per = 1, run(1)[0]
        if per > longest:
            continue
        while seconds / per > 1.5 * n:                     # step by step, because a call may have a cost of its own
            n = int(min(10 * n, max(seconds / per, n + 1)))
            per = run(n)[0]
        repeats[name] = max(1, int(seconds / per))
    times: dict[str, list[float]] = {name: [] for name in repeats}
    for _ in range(turns):
        for name, n in repeats.items():
            run = runs[name]
            assert run is not None
            times[name].append(1e3 * run(n)[0])
    out = dict.fromkeys(runs, MISSING)
    for name, values in times.items():
        middle, quartiles = statistics.median(values), np.percentile(values, [25, 75])
        out[name] = Timing(middle, float(quartiles[1] - quartiles[0]) / middle, first[name])
    return out


def product_rate(size: int = 1024, repeats: int = 15) -> dict[str, float]:
    """GFLOP/s of float32 matrix products through numpy's and torch's BLAS with all threads, in turns, medians."""
    g = np.random.default_rng(0)
    a, b = (g.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    c, d = torch.tensor(a), torch.tensor(b)
    times: dict[str, list[float]] = {"numpy": [], "torch": []}
    for repeat in range(repeats + 2):
        for name, multiply in (("numpy", lambda: a @ b), ("torch", lambda: c @ d)):
            began = time.perf_counter()
            multiply()
            if repeat > 1:
                times[name].append(time.perf_counter() - began)
    return {name: 2 * size**3 / statistics.median(values) / 1e9 for name, values in times.items()}


def title(*columns: str) -> str:
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def number(value: float, digits: int = 3, unit: str = "") -> str:
    """``value`` to so many significant digits without an exponent, a dash where there is none."""
    if not np.isfinite(value):
        return "-"
    decimals = digits - 1 - int(np.floor(np.log10(abs(value)))) if value else 0
    return f"{value:.{max(0, decimals)}f}{unit}"


def ratio(peer: float, ours: float) -> str:
    return number(peer / ours, 2, "x")
