"""What does adaptive forcing cost, beside training with a constant strength and beside torch's singular values of the same Jacobians?

Whole updates of dr.fit with its loop, draws and history, a check every 5 of them; one process, in turns, medians. ``by torch`` is product_upper_bound
from Jacobians formed and taken apart by torch. Data: a random walk, whose states follow each other closely as those of a recording do, and white
noise, where each state lies elsewhere: the worst that data can be.

    python kernels/benchmarks/adaptive.py                # about three minutes
    python kernels/benchmarks/adaptive.py --threads 1
    python kernels/benchmarks/adaptive.py --quick
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from peers import series
from timing import Run, header, in_turns, number, ratio, row, title

import dynrnn as dr
from dynrnn.training.norms import JACOBIAN_NORMS
from dynrnn_kernels.additive import jacobian
from dynrnn_kernels.additive.norms import map_of

SIZES = [(3, 50, 16, 200), (20, 100, 16, 200)]
QUICK = [(3, 50, 16, 20)]
ALPHA = 0.15


@dataclass
class Settings:
    quick: bool = False
    """Small sizes and few repeats, to see that it runs."""
    slowest: bool = False
    """Also explog_approx at the larger size, which takes minutes."""
    threads: int | None = None
    """Numba's threads; all if not given."""
    seconds: float = 0.5
    """Time that one turn of one contestant takes, about."""
    turns: int = 5


def by_torch(flat, lay, states, *, backend=None):
    """product_upper_bound as torch would have it."""
    F, B, T, M = states.shape
    J = jacobian(map_of(flat, lay), states.reshape(F, B * T, M)).reshape(F, B, T, M, M)
    return torch.linalg.matrix_norm(J, ord=2).log().mean(-1).exp().numpy()


def training(x: np.ndarray, H: int, B: int, T: int, forcing: dr.training.Forcing, threads: int | None, norm: Callable | None = None) -> Run:
    def run(n: int) -> tuple[float, float]:
        n = max(n, 10)
        kept = JACOBIAN_NORMS["product_upper_bound"]
        JACOBIAN_NORMS["product_upper_bound"] = norm or kept
        model = dr.ShallowPLRNN(x.shape[1], x.shape[1], H, clipped=True, random_state=0)
        history = dr.fit(
            model, x, forcing, n_updates=n, sequence_length=T, batch_size=B, learning_rate=1e-4, progress=False, random_state=0, n_threads=threads
        ).history
        JACOBIAN_NORMS["product_upper_bound"] = kept
        seconds = history.seconds.values[0]
        return (seconds[-1] - seconds[0]) / (history["update"].values[-1] - history["update"].values[0]), float(history.loss[0, 0])

    return run


def main(settings: Settings) -> None:
    print(header() + "\n")
    norms = ["jacobian_upper_bound", "arithmetic_mean", "product_upper_bound", "batch_maximum"]
    print(title("M", "H", "batch", "T", "data", "constant [ms]", *norms, "by torch", "explog_approx"))
    spread = 0.0
    for M, H, B, T in QUICK if settings.quick else SIZES:
        for data, x in (("walk", series(M)), ("white", np.random.default_rng(3).standard_normal((20_000, M)).astype(np.float32))):
            runs: dict[str, Run] = {"constant": training(x, H, B, T, dr.GeneralizedTeacherForcing(ALPHA), settings.threads)}
            for name in norms + ["explog_approx"] * (M < 10 or settings.slowest):
                runs[name] = training(x, H, B, T, dr.AdaptiveTeacherForcing(alpha=ALPHA, norm=name), settings.threads)
            runs["by torch"] = training(x, H, B, T, dr.AdaptiveTeacherForcing(alpha=ALPHA), settings.threads, by_torch)
            times = in_turns(runs, seconds=0.05 if settings.quick else settings.seconds, turns=2 if settings.quick else settings.turns)
            constant = times.pop("constant")
            cells = [ratio(times[name].ms, constant.ms) if name in times else "-" for name in [*norms, "by torch", "explog_approx"]]
            print(row(M, H, B, T, data, number(constant.ms), *cells), flush=True)
            spread = max([spread, constant.spread] + [t.spread for t in times.values()])
    print(f"\nupdates with a check every 5 over updates without; quartiles of a time lie at most {100 * spread:.0f} % of it apart")


if __name__ == "__main__":
    main(tyro.cli(Settings))
