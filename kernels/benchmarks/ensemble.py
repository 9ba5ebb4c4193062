"""What do several fits at once, and several threads, gain? Fit-updates per second of 1, 2, 4, 8 fits on 1 and 2 threads.

One call trains all fits: with fewer fits than threads the threads share out the batch rows of an update, else the fits. The ratio is
to one fit on one thread; perfect sharing makes it the number of threads.

    python kernels/benchmarks/ensemble.py [--threads 1 2 8] [--quick]
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import tyro
from peers import ours, series
from timing import header, in_turns, number, row, title

SIZES = [(3, 50, 16, 200), (20, 100, 16, 200)]
QUICK = [(3, 50, 16, 20)]


@dataclass
class Settings:
    fits: tuple[int, ...] = (1, 2, 4, 8)
    threads: tuple[int, ...] = (1, 2)
    quick: bool = False
    """Small sizes and few repeats, to see that it runs."""
    seconds: float = 0.3
    """Time that one turn of one combination takes, about."""
    turns: int = 7


def main(settings: Settings) -> None:
    most = numba.config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    threads = [n for n in settings.threads if n <= most]
    print(header() + "\n")
    print(title("M", "H", "batch", "T", "threads", "fits", "fit-updates per second", "ratio", "ms per update of all", "quartiles apart"))
    for M, H, B, T in QUICK if settings.quick else SIZES:
        x = series(M)
        runs = {f"{n} {F}": ours(M, H, B, T, x, n_fits=F, n_threads=n) for n in threads for F in settings.fits}
        times = in_turns(runs, seconds=0.05 if settings.quick else settings.seconds, turns=2 if settings.quick else settings.turns)
        speed = {key: int(key.split()[1]) * 1e3 / t.ms for key, t in times.items()}
        one = speed[f"{threads[0]} {settings.fits[0]}"]
        for key, t in times.items():
            cells = (*key.split(), f"{speed[key]:,.0f}", number(speed[key] / one, 3, "x"), number(t.ms), f"{100 * t.spread:.0f} %")
            print(row(M, H, B, T, *cells), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings))
