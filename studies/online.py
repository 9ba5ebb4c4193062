"""Lorenz-63 learned online, from one pass over a stream: beside an offline fit of the same length, with a drifting parameter, and how fast that is.

    python studies/online.py                    # all three tables, some minutes
    python studies/online.py --only drift

Medians over seeds with their range, the parameters of the last sample. Nothing is tuned on what judges. The drifting system's rho goes from
28 to 60 over half of the stream and stays there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro
from scipy.integrate import solve_ivp

import dynrnn as dr
from dynrnn.analysis import lyapunov_spectrum


@dataclass
class Settings:
    only: tuple[str, ...] = ()
    """stationary, drift; both by default."""
    samples: int = 1_000_000
    seeds: int = 5
    hidden: int = 50
    random_state: int = 0


OPTIONS: dict[str, Any] = {"learning_rate": (5e-3, 1e-5), "update_every": 16, "warmup": 2_000}
FORCING = dr.GeneralizedTeacherForcing((0.3, 0.1))


def spread(values: np.ndarray, digits: int = 2) -> str:
    return f"{np.median(values):.{digits}f} ({np.min(values):.{digits}f} to {np.max(values):.{digits}f})"


def make(settings: Settings) -> Any:
    return dr.ShallowPLRNN(3, 3, settings.hidden, n_fits=settings.seeds, random_state=settings.random_state)


def stationary(settings: Settings) -> None:
    n = settings.samples
    training = dr.load_dataset("lorenz63", n_steps=n, noise=0.05, random_state=settings.random_state)
    test = dr.load_dataset("lorenz63", n_steps=100_000, random_state=1_000)
    reference = dr.load_dataset("lorenz63", n_steps=100_000, n_trials=3, random_state=2_000)
    learned: dict[str, Any] = {}
    for name, data in (("5 % noise", training), ("no noise", dr.load_dataset("lorenz63", n_steps=n, random_state=settings.random_state))):
        for every in (1, 16):
            learner = dr.OnlineLearner(make(settings), forcing=FORCING, horizon=n, random_state=settings.random_state, **OPTIONS | {"update_every": every})
            began = time.perf_counter()
            learner.learn(data)
            learned[f"online, update every {every}, {name}"] = learner.model, time.perf_counter() - began
        began = time.perf_counter()
        run = dr.fit(make(settings), data, FORCING, n_updates=n // 32, learning_rate=(2e-3, 1e-5), random_state=settings.random_state, progress=False)
        learned[f"offline, {n // 32:,} updates of 3,200 samples, {name}"] = run.model, time.perf_counter() - began
    print("| how | seconds | D_stsp | D_H | valid time | largest exponent | second | third |\n|" + "---|" * 8)
    scores = None
    for name, (model, took) in learned.items():
        scores = dr.evaluate(model, test, reference=reference, preset="gtf-2023", n_null=0)
        value = lyapunov_spectrum(model, n_steps=2_000, n_segments=16).value.values
        cells = (spread(scores[k].values, 3) for k in ("d_stsp", "d_hellinger", "valid_prediction_time"))
        print(f"| {name} | {took:.0f} | {' | '.join(cells)} | {' | '.join(spread(value[:, k]) for k in range(3))} |", flush=True)
    if scores is not None:
        print(f"\nfloor D_stsp {np.median(scores.d_stsp_floor.values):.3f}, D_H {np.median(scores.d_hellinger_floor.values):.3f}; exponents .906, 0, -14.57\n")


def drifting(n: int, dt: float = 0.01, low: float = 28.0, high: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
    """States [n, 3] and rho [n]: constant for a quarter, rising for half, constant."""

    def rho(t: np.ndarray | float) -> Any:
        return low + (high - low) * np.clip((t / (n * dt) - 0.25) / 0.5, 0, 1)

    def field(t: float, x: np.ndarray) -> list[float]:
        return [10 * (x[1] - x[0]), x[0] * (rho(t) - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]]

    time = dt * np.arange(n)
    return solve_ivp(field, (0.0, n * dt), [1.0, 1.0, 20.0], method="RK45", t_eval=time, rtol=1e-6, atol=1e-6).y.T, rho(time)


def drift(settings: Settings) -> None:
    """The mean of z in free runs of the model stands for rho: that of Lorenz-63 itself rises with it, by which it is read off."""
    n = settings.samples
    x, rho = drifting(n)
    grid = np.linspace(20, 68, 13)
    means = np.array([drifting(20_000, low=r, high=r)[0][4_000:, 2].mean() for r in grid])
    options = OPTIONS | {"learning_rate": 1e-3}
    learner = dr.OnlineLearner(make(settings), forcing=FORCING, random_state=settings.random_state, horizon=n // 4, **options)
    print("rho of Lorenz-63 while it is learned, read off free runs of 10,000 samples; median over seeds and range\n")
    print("| sample | rho | of the model | behind by, in samples of the rise |\n|" + "---|" * 4)
    parts = 20
    for k in range(parts):
        learner.learn(x[k * n // parts : (k + 1) * n // parts])
        now = (k + 1) * n // parts
        orbit = dr.generate(learner.model, 10_000, initial=learner.state, transient=1_000).observed.values[:, 0, :, 2]
        mean = np.where(np.isfinite(orbit).all(1), orbit.mean(1), np.nan)
        found = np.interp(mean, means, grid, left=np.nan, right=np.nan)
        lag = (rho[now - 1] - np.nanmedian(found)) / ((60 - 28) / (n / 2))
        rising = 0.25 < (k + 1) / parts <= 0.75
        print(f"| {now:,} | {rho[now - 1]:.1f} | {np.nanmedian(found):.1f} ({np.nanmin(found):.1f} to {np.nanmax(found):.1f}) | "
              f"{f'{lag:,.0f}' if rising else '-'} |", flush=True)
    print(f"\ndrift found at samples {learner.drift}; counts {learner.counts.sum('fit').values.tolist()} (taken, refused, restarted)")


def main(settings: Settings) -> None:
    for name, table in (("stationary", stationary), ("drift", drift)):
        if not settings.only or name in settings.only:
            table(settings)


if __name__ == "__main__":
    main(tyro.cli(Settings))
