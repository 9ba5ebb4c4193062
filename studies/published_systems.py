"""Every cycle of the published piecewise-linear test systems: what is found beside what is said to be there, whether anything is false, and how long it took.

    OMP_NUM_THREADS=1 python studies/published_systems.py --systems pwl_test_systems.json

The systems are those of Eisenmann, Monfared, Goering & Durstewitz (NeurIPS 2023): a JSON object of arrays, ``A_diagonal, W, h`` for PLRNNs and
``A, W1, W2, h1, h2`` for shallow ones, with ``expect`` in words; ``plrnn_2d`` is a list of such with the ``period`` of their two cycles.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
import xarray as xr

from dynrnn.analysis import PiecewiseLinearMap, cycles

TRUE = 1e-9                               # a cycle is false if a step misses its next point by more than this share of its size
SMALL = {"plrnn_10d": (1, 9, 10), "plrnn_2d_fixed_point": range(1, 11), "shallow_2d_fixed_point": range(1, 5), "shallow_2d_cycles": range(1, 8)}


@dataclass
class Settings:
    """Arguments of the study."""

    systems: Path
    """JSON file of the systems."""
    longest: int = 83
    """Planar systems with cycles longer than this are left out."""
    n_starts: int = 1000
    """Words that a search draws for each period, where a period has too many for a complete list."""


def map_of(system: dict[str, Any]) -> PiecewiseLinearMap:
    if "W" in system:
        M = len(system["h"])
        return PiecewiseLinearMap(system["A_diagonal"], system["W"], np.eye(M), system["h"], np.zeros(M))
    return PiecewiseLinearMap(*(system[name] for name in ("A", "W1", "W2", "h1", "h2")))


def n_false(map: PiecewiseLinearMap, row: xr.Dataset) -> int:
    """Rows whose points do not follow each other under the map itself, or come twice."""
    false = 0
    for i in np.flatnonzero(row.valid.values):
        z = row.location.values[i, : int(row.period[i])]
        size = 1 + np.abs(z).max()
        gaps = np.linalg.norm(z[:, None] - z, axis=-1)[~np.eye(len(z), dtype=bool)]
        false += bool(np.abs(map.step(z) - np.roll(z, -1, 0)).max() > TRUE * size or gaps.min(initial=np.inf) <= TRUE * size)
    return false


def tell(name: str, map: PiecewiseLinearMap, periods: Any, expect: str, n_starts: int) -> None:
    began = time.process_time()
    row = cycles(map, periods=periods, n_starts=n_starts).isel(fit=0)
    seconds = time.process_time() - began
    complete = row.cycle_period.values[row.complete.values]
    searched = row.cycle_period.values[~row.complete.values]
    known = f"complete for {len(complete)} of {row.sizes['cycle_period']} periods" + (f", searched: {searched.tolist()}" if len(searched) else "")
    print(f"\n{name}: said to have {expect}\n  {int(row.valid.sum())} cycles of periods {min(periods)} to {max(periods)}, {known}, {seconds:.2f} s")
    for i in np.flatnonzero(row.valid.values):
        sizes = np.abs(row.multiplier.values[i])
        begins = row.location.values[i, 0, :3].round(4)
        print(f"  period {int(row.period[i]):3d}  {row.stability.values[i]:14}  |multipliers| {np.sort(sizes)[::-1][:3].round(4)}  from {begins}")
    print(f"  false: {n_false(map, row)}", flush=True)


def main(settings: Settings) -> None:
    systems = json.loads(settings.systems.read_text())
    cycles(([2.0], [[-4.0]], [[1.0]], [0.0], [-0.5]), 3)                            # compiles
    for name, periods in SMALL.items():
        tell(name, map_of(systems[name]), list(periods), systems[name]["expect"], settings.n_starts)
    for system in systems["plrnn_2d"]:
        k = system["period"]
        if k <= settings.longest:
            tell(f"plrnn_2d, period {k}", map_of(system), list(range(1, k + 1)), system["expect"], settings.n_starts)


if __name__ == "__main__":
    main(tyro.cli(Settings))
