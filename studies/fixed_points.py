"""How long complete lists of fixed points take on one core, and what share of them the search finds.

    OMP_NUM_THREADS=1 python studies/fixed_points.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tyro

from dynrnn.analysis import count_regions, fixed_points
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap


@dataclass
class Settings:
    """Arguments of the study."""

    models: int = 200
    units: int = 16
    n_starts: int = 256
    random_state: int = 0


def almost_linear(rng: np.random.Generator, M: int, P: int) -> PiecewiseLinearMap:
    """An AL-RNN's map, with coupling that gives it several fixed points."""
    A = np.diag(rng.uniform(0.3, 0.9, M)) + 0.3 * rng.standard_normal((M, M)) / np.sqrt(M)
    return PiecewiseLinearMap(A, rng.standard_normal((M, P)) / np.sqrt(P), np.eye(M)[-P:], rng.standard_normal(M), np.zeros(P))


def shallow(rng: np.random.Generator, M: int, H: int, clipped: bool = False, gain: float = 2.0) -> PiecewiseLinearMap:
    """A shallow PLRNN's map; clipped units are two planes each."""
    A, W1, W2 = rng.uniform(-0.9, 0.9, M), gain * rng.standard_normal((M, H)) / np.sqrt(H), rng.standard_normal((H, M))
    h1, h2 = rng.standard_normal(M), rng.standard_normal(H)
    if not clipped:
        return PiecewiseLinearMap(A, W1, W2, h1, h2)
    return PiecewiseLinearMap(A, np.hstack([W1, -W1]), np.vstack([W2, W2]), h1, np.r_[h2, 0 * h2], bounded=True)


def timed(name: str, call: Callable) -> None:
    call()                                                                          # compiles
    began = time.process_time()
    found = call()
    seconds = time.process_time() - began
    if isinstance(found, int):
        print(f"{name:45} {seconds:7.2f} s   {found:,} regions")
        return
    one = found.isel(fit=0)
    print(f"{name:45} {seconds:7.2f} s   {int(one.n_fixed_points)} fixed points, {int(one.n_candidates):,} regions solved, complete {bool(one.complete)}")


def recall(settings: Settings) -> None:
    """The search against complete lists, by region."""
    print(f"\nsearch, {settings.models} models each, {settings.n_starts} walks")
    kinds = {
        f"AL-RNN M=30 P={settings.units}": lambda rng: almost_linear(rng, 30, settings.units),
        "shallow M=3 H=100": lambda rng: shallow(rng, 3, 100),
        "clipped M=3 H=50": lambda rng: shallow(rng, 3, 50, clipped=True, gain=4.0),
    }
    for name, make in kinds.items():
        found = missed = false = whole = flagged = 0
        solved, share = [], []
        for k in range(settings.models):
            map = make(np.random.default_rng([settings.random_state, k]))
            every = fixed_points(map, route="exact", n_virtual=0).isel(fit=0)
            some = fixed_points(map, route="search", n_virtual=0, n_starts=settings.n_starts).isel(fit=0)
            true, seen = ({word.tobytes() for word in one.region.values} for one in (every, some))
            found, missed, false = found + len(true & seen), missed + len(true - seen), false + len(seen - true)
            whole += true == seen
            flagged += bool(true - seen) and float(some.n_unseen) > 0
            solved.append(int(some.n_candidates))
            share.append(bool(every.complete))
        print(
            f"{name:20} {found} of {found + missed} fixed points ({found / max(1, found + missed):.1%}), {false} false; {whole} models whole; of the "
            f"{settings.models - whole} others {flagged} say so (n_unseen > 0); {np.mean(solved):,.0f} regions solved on average; {sum(share)} lists complete"
        )


def main(settings: Settings) -> None:
    rng = np.random.default_rng(settings.random_state)
    print("user time of one core, second call")
    for P in (16, 20):
        map = almost_linear(rng, 100, P)
        timed(f"AL-RNN M=100, P={P}", lambda map=map: fixed_points(map))
    map = shallow(rng, 3, 100)
    timed("shallow M=3, H=100", lambda: fixed_points(map))
    timed("count_regions of it", lambda: count_regions(map))
    clipped = shallow(rng, 3, 50, clipped=True)
    timed("clipped M=3, H=50 (100 planes)", lambda: fixed_points(clipped))
    recall(settings)


if __name__ == "__main__":
    main(tyro.cli(Settings))
