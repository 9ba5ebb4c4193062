"""Reservoirs beside what is published of them: memory capacity, Mackey-Glass one step ahead, Lorenz-63 in closed loop.

    python studies/reservoirs.py                    # three minutes on two cores
    python studies/reservoirs.py --only memory
    python studies/reservoirs.py --only depth             # side by side at 100 units in all
    python studies/reservoirs.py --only next-generation

Medians over seeds with their range; nothing is selected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tyro

import dynrnn as dr
from dynrnn.analysis import lyapunov_spectrum, memory_capacity
from dynrnn.models.reservoirs import Reservoir


@dataclass
class Settings:
    """Arguments of the study."""

    only: tuple[str, ...] = ("memory", "depth", "mackey-glass", "lorenz", "next-generation")
    seeds: int = 8


def spread(values: np.ndarray, digits: int = 3) -> str:
    return f"{np.median(values):.{digits}g} ({np.min(values):.{digits}g} to {np.max(values):.{digits}g})"


def memory(seeds: int) -> None:
    """100 units, delays to 200, 6,000 inputs; figures in brackets: the notebook of reservoirpy that compares them."""
    one_hot = np.zeros((100, 1))
    one_hot[0] = 0.1
    many = {"n_fits": seeds, "random_state": 0}
    rows: dict[str, tuple[Reservoir, float, str]] = {
        "ES2N, beta .05": (dr.ResidualESN(1, 100, beta=0.05, input_scaling=0.1, **many), 1e-7, "97.4"),
        "ring .9, one-hot input, ridge 1e-12": (dr.ESN(1, 100, topology="ring", spectral_radius=0.9, W_in=one_hot), 1e-12, "95.6 at ridge 1e-7"),
        "residual, random branch, alpha .95, beta .01": (dr.ResidualESN(1, 100, alpha=0.95, beta=0.01, input_scaling=0.25, **many), 1e-7, "-"),
        "residual, cycle, alpha .95, beta 1e-4": (dr.ResidualESN(1, 100, branch="cycle", alpha=0.95, beta=1e-4, input_scaling=0.25, **many), 1e-7, "-"),
        "residual, identity, alpha .01, beta 1.1": (dr.ResidualESN(1, 100, branch="identity", alpha=0.01, beta=1.1, input_scaling=0.25, **many), 1e-7, "-"),
        "tanh, orthogonal .9": (dr.ESN(1, 100, topology="orthogonal", input_scaling=0.1, **many), 1e-7, "89.3 (radius 1 in fact)"),
        "nearly linear, dense, ridge 1e-18": (dr.ESN(1, 100, topology="uniform", input_scaling=1e-4, **many), 1e-18, "36.4"),
        "leaky tanh .5, dense": (dr.ESN(1, 100, leak=0.5, topology="uniform", input_scaling=0.1, **many), 1e-7, "31.9"),
    }
    print("memory capacity, 100 units\n\n| reservoir | capacity | published |\n|---|---|---|")
    for name, (model, ridge, published) in rows.items():
        print(f"| {name} | {spread(memory_capacity(model, 200, ridge=ridge).capacity.values)} | {published} |", flush=True)


def depth(seeds: int) -> None:
    """100 units in all, whatever the number of layers; residual ones with the published settings for this task (of a search that was not ours), leaky and plain
    ones at a spectral radius of .9. Ridge 1e-7, and 1e-12, below which memories of nearly linear units are limited by the penalty."""
    many = {"n_fits": seeds, "random_state": 0}
    published = {"random": {"alpha": 0.95, "beta": 0.01}, "cycle": {"alpha": 0.95, "beta": 1e-4}, "identity": {"alpha": 0.01, "beta": 1.1}}
    residual = {"spectral_radius": 0.9, "input_scaling": 0.25}
    rows: dict[str, Reservoir] = {
        "ESN, sparse": dr.ESN(1, 100, input_scaling=0.1, **many), "ESN, leak .5": dr.ESN(1, 100, leak=0.5, input_scaling=0.1, **many),
        "ES2N, beta .05": dr.ResidualESN(1, 100, beta=0.05, input_scaling=0.1, **many),
    }
    for layers in (2, 5, 10):
        shape = {"density": 0.1 * layers, "input_scaling": 0.1}
        rows[f"deep, {layers} layers"] = dr.DeepESN(1, 100, layers, **shape, **many)
        rows[f"deep, {layers} layers, leak .5"] = dr.DeepESN(1, 100, layers, leak=0.5, **shape, **many)
    for branch, sizes in published.items():
        rows[f"residual, {branch}"] = dr.ResidualESN(1, 100, branch=branch, **residual, **sizes, **many)
        for layers in (2, 5, 10):
            rows[f"deep residual, {branch}, {layers} layers"] = dr.DeepESN(1, 100, layers, branch=branch, **residual, **sizes, **many)
    for memory_dim in (50, 90):
        for readout in ("reservoir", "all"):
            rows[f"memory network, {memory_dim} of a ring of radius 1, readout of {readout}"] = dr.ResidualMemoryNetwork(
                1, 100 - memory_dim, memory_dim, readout=readout, beta=0.05, input_scaling=0.1, memory_scaling=0.01, memory_input_scaling=0.1, **many
            )
            rows[f"memory network, {memory_dim} of a ring of radius .95, readout of {readout}"] = dr.ResidualMemoryNetwork(
                1, 100 - memory_dim, memory_dim, readout=readout, beta=0.05, input_scaling=0.1, memory_scaling=0.01, memory_input_scaling=0.1,
                memory_radius=0.95, **many,
            )
    print(f"\nmemory capacity, 100 units in all, {seeds} seeds: median (range)\n\n| reservoir | ridge 1e-7 | ridge 1e-12 |\n|---|---|---|")
    for name, model in rows.items():
        found = [spread(memory_capacity(model, 200, ridge=ridge).capacity.values) for ridge in (1e-7, 1e-12)]
        print(f"| {name} | {found[0]} | {found[1]} |", flush=True)


def next_generation(seeds: int) -> None:
    """400 samples of .025, 28 features, ridge 2.5e-6, as published; errors over one Lyapunov time (44 steps) from 20 samples after them."""
    means, times = [], []
    for seed in range(seeds):
        recording = dr.load_dataset("lorenz63", n_steps=4_000, dt=0.025, random_state=seed)
        x = recording.observed.values[0]
        run = dr.fit(dr.NextGenerationReservoir(3), x[:400], ridge=2.5e-6, standardise=False, progress=False)
        starts = np.linspace(450, 3_400, 20).astype(int)
        ahead = dr.forecast(run, x, np.stack([0 * starts, starts], 1), 500).values[0]
        truth = np.stack([x[t + 1 : t + 501] for t in starts])
        apart = np.sqrt(((ahead - truth) ** 2).sum(-1) / x.var(0).sum())
        means.append(np.mean(np.sqrt(np.mean(apart[:, :44] ** 2, 1))))
        lost = ~(apart <= 0.4)
        times.append(np.median(np.where(lost.any(1), lost.argmax(1), 500)) * 0.025 * 0.9056)
    print(f"\nnext-generation reservoir, Lorenz-63: NRMSE over a Lyapunov time {spread(np.array(means))}, published .0024; "
          f"valid Lyapunov times (threshold .4) {spread(np.array(times))}")


def mackey_glass(n: int, seed: int) -> np.ndarray:
    """x' = .2 x(t - 17) / (1 + x(t - 17)^10) - .1 x by Runge-Kutta of step 1, the delayed term held within a step, as the published figure has it."""
    x = list(1.2 + 0.2 * (np.random.default_rng(seed).random(18) - 0.5))
    for _ in range(n):
        gain, now = 0.2 * x[-18] / (1 + x[-18] ** 10), x[-1]
        a = gain - 0.1 * now
        b = gain - 0.1 * (now + a / 2)
        c = gain - 0.1 * (now + b / 2)
        x.append(now + (a + 2 * b + 2 * c + gain - 0.1 * (now + c)) / 6)
    return np.array(x[18:])


def one_step(seeds: int) -> None:
    x = mackey_glass(2_000, 0)
    model = dr.ESN(1, 100, spectral_radius=1.25, leak=0.3, n_fits=seeds, random_state=0)
    run = dr.fit(model, x[:1_600, None], ridge=1e-5, standardise=False, progress=False)
    starts = np.stack([np.zeros(399, int), np.arange(1_600, 1_999)], 1)
    error = np.sqrt(np.mean((dr.forecast(run, x[:, None], starts, 1).values[:, :, 0, 0] - x[1_601:]) ** 2, 1))
    persistence = np.sqrt(np.mean((x[1_600:-1] - x[1_601:]) ** 2))
    print(f"\nMackey-Glass, one step, 100 units: root mean squared error {spread(error)}; persistence {persistence:.3g}; reservoirpy's README .00203")


def lorenz(seeds: int) -> None:
    """5,300 samples of .02 without noise; forecasts and free runs are judged on other orbits."""
    training = dr.load_dataset("lorenz63", n_steps=5_300, dt=0.02, random_state=0)
    test, reference = (dr.load_dataset("lorenz63", n_steps=50_000, dt=0.02, n_trials=n, random_state=s) for n, s in ((1, 1), (4, 2)))
    model = dr.ESN(3, 300, spectral_radius=0.4, input_scaling=0.5, bias_scaling=1.0, n_fits=seeds, random_state=0)
    for ridge in (1e-6, 1e-8):
        run = dr.fit(model, training, ridge=ridge, progress=False)
        print(f"\nLorenz-63, 300 units, spectral radius .4, ridge {ridge:g}\n")
        print(dr.score_table(dr.evaluate(run, test, reference=reference)))
        found = lyapunov_spectrum(run, 3, n_steps=2_000, n_segments=16)
        print("exponents " + "; ".join(spread(found.value.values[:, k]) for k in range(3)) + "; the flow's are .9056, 0, -14.57", flush=True)


def main(settings: Settings) -> None:
    if "memory" in settings.only:
        memory(settings.seeds)
    if "depth" in settings.only:
        depth(settings.seeds)
    if "mackey-glass" in settings.only:
        one_step(settings.seeds)
    if "lorenz" in settings.only:
        lorenz(settings.seeds)
    if "next-generation" in settings.only:
        next_generation(settings.seeds)


if __name__ == "__main__":
    main(tyro.cli(Settings))
