"""How does the time of a whole update grow with T, B, H and M? One varied at a time from (M, H, B, T) = (20, 100, 16, 200).

Beside eager torch where one of its updates takes less than a few seconds. The column per unit is the time over M H B T: constant where
time is in the products, falling where something fixed (a step's or a call's own cost) still shows. Batch rows are computed in eights.

    python kernels/benchmarks/scaling.py [--quick]
"""

from __future__ import annotations

from dataclasses import dataclass

import tyro
from peers import eager, ours, series
from timing import header, in_turns, number, ratio, row, title

BASE = {"M": 20, "H": 100, "B": 16, "T": 200}
VARIED = {"T": (100, 300, 1000, 3000, 10_000), "B": (1, 4, 8, 16, 64, 256), "H": (10, 30, 100, 300, 1000), "M": (3, 8, 20, 40, 64)}
QUICK = {"T": (10, 30), "B": (1, 8), "H": (10, 30), "M": (3, 8)}


@dataclass
class Settings:
    quick: bool = False
    """Small sizes and few repeats, to see that it runs."""
    seconds: float = 0.3
    """Time that one turn of one contestant takes, about."""
    turns: int = 5
    longest: float = 3.0
    """Leave eager torch out where one of its updates takes more seconds."""


def main(settings: Settings) -> None:
    print(header() + "\n")
    print(title("varied", "M", "H", "batch", "T", "ours [ms]", "per M H B T [ns]", "eager torch [ms]", "per M H B T [ns]", "ratio"))
    base = BASE | {"T": 20} if settings.quick else BASE
    for name, values in (QUICK if settings.quick else VARIED).items():
        for value in values:
            size = base | {name: value}
            M, H, B, T = size.values()
            x = series(M, length=max(20_000, 2 * T))
            runs = {"ours": ours(M, H, B, T, x), "eager": eager(M, H, B, T, x)}
            few = {"seconds": 0.05, "turns": 2} if settings.quick else {"seconds": settings.seconds, "turns": settings.turns}
            mine, theirs = in_turns(runs, longest=settings.longest, **few).values()
            per = 1e6 / (M * H * B * T)
            cells = (number(mine.ms), number(per * mine.ms), number(theirs.ms), number(per * theirs.ms), ratio(theirs.ms, mine.ms))
            print(row(name, M, H, B, T, *cells), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings))
