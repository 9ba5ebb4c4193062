"""Columnar, constructive and columnar-constructive networks on trace patterning, beside truncated backpropagation and a predictor without memory; the copy
task.

    python studies/columnar.py                      # a quarter of an hour on one core
    python studies/columnar.py --only patterning --isi 24 36 --iti 80 120 --steps 2000000 --last 200000 --tuning 1      # published times, half an hour

After Javed et al. 2023 (JMLR 24), shortened: ISI 4 to 6, ITI 10 to 20, 200,000 samples in place of 24 to 36, 80 to 120 and 50 million. Step sizes, and the
decay of the mean squares that they are divided by (published: .9999, slow for so short a stream), are chosen by method on seeds of their own, then
5 other seeds are run, medians with their range. The error is that of each prediction, made before its sample is learned, to the return that came.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tyro
from truncated_lstm import operations, predict, units_for

import dynrnn as dr
from dynrnn_datasets import TracePatterning, copy_stream, discounted_return

GAMMA, LAMBDA, FLOOR = 0.9, 0.99, 0.01
BETAS, RATES = (0.9999, 0.999), (0.03, 0.01, 0.003, 0.001, 0.0003)
INPUTS = 12
BLOCK = 20_000


@dataclass
class Settings:
    """Arguments of the study."""

    only: tuple[str, ...] = ("patterning", "copy")
    steps: int = 200_000
    last: int = 50_000
    """Samples at the end over which errors are averaged."""
    isi: tuple[int, int] = (4, 6)
    iti: tuple[int, int] = (10, 20)
    seeds: int = 5
    tuning: int = 2
    """Seeds on which step sizes are chosen; others than those reported."""
    groups: tuple[int, int] = (4, 5)
    """Columns of a stage, and stages, of the columnar-constructive network; stages share the samples evenly."""
    steps_back: tuple[int, ...] = (1, 2, 5, 10, 20)
    """k of truncated backpropagation; as many units as take at least the operations of the columnar-constructive network."""
    decay: float = 0.999
    """Of running means and variances, for all methods."""
    copy_lengths: tuple[int, ...] = (8, 20)
    copy_seeds: int = 3
    copy_units: int = 64
    copy_seconds: float = 60.0


Method = Callable[[np.ndarray, np.ndarray, tuple[float, ...], float, int], np.ndarray]


def columns(stages, settings: Settings) -> tuple[Method, int]:
    def make(rates: tuple[float, ...], beta: float, seed: int) -> dr.ColumnarLearner:
        return dr.ColumnarLearner(
            INPUTS, stages, gamma=GAMMA, td_lambda=LAMBDA, learning_rate=list(rates), square_decay=beta, statistics_decay=settings.decay, floor=FLOOR,
            n_fits=len(rates), random_state=seed,
        )

    def run(x: np.ndarray, us: np.ndarray, rates: tuple[float, ...], beta: float, seed: int) -> np.ndarray:
        learner = make(rates, beta, seed)
        return np.concatenate([learner.learn(x[i : i + BLOCK], us[i : i + BLOCK]).prediction.values[..., 0] for i in range(0, len(x), BLOCK)], 1)

    return run, make((0.1,), 0.999, 0).n_operations


def truncated(n: int, k: int, settings: Settings) -> tuple[Method, int]:
    """A dense LSTM of n units through k samples; none is the predictor without memory."""

    def run(x: np.ndarray, us: np.ndarray, rates: tuple[float, ...], beta: float, seed: int) -> np.ndarray:
        out = np.empty((len(rates), len(x)))
        for y, rate in zip(out, rates, strict=True):
            W, w = np.random.default_rng(seed).uniform(-0.01, 0.01, (4, n, n + 1 + INPUTS)), np.zeros((n or INPUTS) + 1)
            predict(W, w, x, us, rate, k, GAMMA, LAMBDA, beta, settings.decay, FLOOR, y)
        return out

    return run, operations(n, INPUTS, k) if n else 9 * (INPUTS + 1)


def stream(settings: Settings, seed: int, steps: int) -> tuple[np.ndarray, ...]:
    data = TracePatterning(isi=settings.isi, iti=settings.iti, random_state=seed).draw(steps)
    return data.inputs.values, data.cumulant.values, data.since.values, data.announced.values


def floor_of(settings: Settings, steps: int = 2_000_000) -> tuple[float, float]:
    """Mean squared error of who knows all that can be known at a sample: whether the trial announces, the steps since its CS, whether the US has been, and
    when; and of who always says the mean. Means by such a state over a long stream."""
    _, us, since, announced = stream(settings, 1_000_000, steps)
    G = discounted_return(us, GAMMA)
    begins = np.maximum.accumulate(np.where(since == 0, np.arange(steps), 0))
    last_us = np.maximum.accumulate(np.where(us > 0, np.arange(steps), -1))
    after = np.where(last_us >= begins, np.arange(steps) - last_us, -1)
    key = (since * 2 + announced) * 1_000 + after + 1
    _, state = np.unique(np.where(after >= 0, after + 10**6, key), return_inverse=True)                  # after a US nothing else matters
    best = (np.bincount(state, G) / np.bincount(state))[state]
    keep = slice(0, steps - 200)
    return float(np.mean((G - best)[keep] ** 2)), float(np.var(G[keep]))


def errors(method: Method, settings: Settings, rates: tuple[float, ...], beta: float, seeds: range) -> np.ndarray:
    """[seed, rate] mean squared return error over the last samples; the stream goes on for 200 more, so that returns are known."""
    out = []
    for seed in seeds:
        x, us, *_ = stream(settings, seed, settings.steps + 200)
        y = method(x[: settings.steps], us[: settings.steps], rates, beta, seed)
        G = discounted_return(us, GAMMA)[: settings.steps]
        out.append(np.mean((y - G)[:, -settings.last :] ** 2, 1))
    return np.array(out)


def patterning(settings: Settings) -> None:
    size, n_stages = settings.groups
    ccn = [(size, settings.steps // n_stages)] * n_stages
    _, wanted = columns(ccn, settings)
    wide = next(k for k in range(1, 1000) if columns(k, settings)[1] >= wanted)
    methods = {
        f"columnar-constructive, {size * n_stages} in groups of {size}": columns(ccn, settings),
        "constructive, 10 one by one": columns([(1, settings.steps // 10)] * 10, settings),
        f"columnar, {wide}": columns(wide, settings), "linear, without memory": truncated(0, 1, settings),
    }
    for k in settings.steps_back:
        n = units_for(wanted, INPUTS, k)
        methods[f"truncated backpropagation, k = {k}, {n} units"] = truncated(n, k, settings)
    best, constant = floor_of(settings)
    print(f"trace patterning, ISI {settings.isi}, ITI {settings.iti}, {settings.steps:,} samples; mean squared return error over the last {settings.last:,}")
    print(f"floor (all that can be known at a sample): {best:.5f}; the mean, always: {constant:.5f}\n")
    print("| method | operations a sample | step size, decay | error, median (range) of seeds | above the floor | us a sample |\n|---|---|---|---|---|---|")
    for name, (method, cost) in methods.items():
        tuned = [np.median(errors(method, settings, RATES, beta, range(1000, 1000 + settings.tuning)), 0) for beta in BETAS]
        b, r = np.unravel_index(np.argmin(tuned), (len(BETAS), len(RATES)))
        rate, beta = RATES[r], BETAS[b]
        began = time.perf_counter()
        found = errors(method, settings, (rate,), beta, range(settings.seeds))[:, 0]
        each = (time.perf_counter() - began) / settings.seeds / settings.steps * 1e6
        spread = f"{np.median(found):.5f} ({found.min():.5f} to {found.max():.5f})"
        print(f"| {name} | {cost:,} | {rate:g}, {beta:g} | {spread} | {np.median(found) - best:.5f} | {each:.2f} |", flush=True)


def copy(settings: Settings) -> None:
    """One-layer element-wise LSTM, an update every 1000 samples, a step that falls to zero; tested on 2,000 sequences that were not seen."""
    for longest in settings.copy_lengths:
        _copy(settings, longest)


def _copy(settings: Settings, longest: int) -> None:
    n = settings.copy_units
    print(f"\ncopy task, 1 to {longest} bits, {n} units, {settings.copy_seconds:g} s of processor time a seed: bits recalled of sequences that were not seen\n")
    print("| seed | sequences learned | right | right, longest only |\n|---|---|---|---|", flush=True)
    test = copy_stream(2_000, longest, random_state=10**6)
    samples = np.diff(np.append(np.flatnonzero(test.start), test.sizes["time"]))
    length = np.repeat(samples // 2, samples)
    for seed in range(settings.copy_seeds):
        learner = dr.ElementwiseLSTMLearner(
            3, n, 2, head="classification", update_every=1_000, learning_rate=0.005, initial=0.5, forget_bias=2.0, random_state=seed
        )
        began, first = time.process_time(), 0
        while (gone := time.process_time() - began) < settings.copy_seconds:
            learner.learning_rate[:] = 0.005 * (1 - gone / settings.copy_seconds)
            task = copy_stream(1_000, longest, random_state=seed, first=first)
            learner.learn(task.inputs, task.answer, asked=task.asked, reset=task.start)
            first += 1_000
        right = learner.learn(test.inputs, reset=test.start).prediction.values[0].argmax(1) == test.answer.values
        print(f"| {seed} | {first:,} | {right[test.asked].mean():.4f} | {right[test.asked.values & (length == longest)].mean():.4f} |", flush=True)


def main(settings: Settings) -> None:
    for name in settings.only:
        {"patterning": patterning, "copy": copy}[name](settings)


if __name__ == "__main__":
    main(tyro.cli(Settings))
