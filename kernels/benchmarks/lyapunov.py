"""What do Lyapunov spectra cost, beside packages that compute them and a jitted JAX loop, and are they the same? Prints four tables.

Clipped shallow PLRNNs with random parameters, |A| < 1, so that all orbits are bounded; chaotic ones and others. Ours is the public call with error
bars and checks: its time has the transient, the warm-up of every segment (a third of it, at most the 1,000 steps that a peer's frame has), the second
trajectory and the search for periods in it. "ours, chosen" chooses the steps between two orthonormalisations for itself. Peers go from the same states;
their times are without compilation, as ours. Where a peer takes one model at a time and would need hours, it is timed on a few models or steps, and its
time is given per model and step: that of all would be the multiple. pynamicalsys has no interval; clvlib and pynamicalsys form J. JAX uses all cores
whatever OMP_NUM_THREADS says.

    python kernels/benchmarks/lyapunov.py                  # half an hour
    python kernels/benchmarks/lyapunov.py --quick

Differences are in standard errors of ours and of theirs, which has the same spread for as many steps, and a bounded term, at most a few nats, over the
number of steps. Errors come from few segments, so that the largest of thousands lies further out than a normal one would; and some of the random
models leave a chaotic transient for a periodic orbit in the middle of the run, when rounding decides, so that no error of theirs covers the difference.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import tyro
from lyapunov_peers import Maps, by_clvlib, by_dysts, by_jax, by_jitcode, by_pynamicalsys, version
from timing import header, number, ratio, row, title

import dynrnn as dr
from dynrnn.analysis import lyapunov_spectrum

TRANSIENT, BOUNDED = 1_000, 5.0


@dataclass
class Settings:
    quick: bool = False
    """Few models and steps, to see that it runs."""
    turns: int = 3
    case: str = "all"
    """many, large, cost, flow or all."""


def random_maps(F: int, M: int, H: int, gain: float) -> Maps:
    g = np.random.default_rng(0)
    return {
        "A": g.uniform(0.3, 0.9, (F, M)), "W1": gain * g.standard_normal((F, M, H)) / np.sqrt(H), "W2": g.standard_normal((F, H, M)) / np.sqrt(M),
        "h1": 0.1 * g.standard_normal((F, M)), "h2": g.standard_normal((F, H)),
    }


def model_of(maps: Maps) -> dr.ShallowPLRNN:
    F, M, H = maps["W1"].shape
    model = dr.ShallowPLRNN(M, M, H, clipped=True, n_fits=F, random_state=0).double()
    with torch.no_grad():
        for name, values in maps.items():
            getattr(model, name).copy_(torch.tensor(values))
    return model


def first(maps: Maps, n: int) -> Maps:
    return {name: x[:n] for name, x in maps.items()}


def in_turns(calls: Mapping[str, Callable[[], object]], turns: int) -> tuple[dict[str, float], dict[str, object]]:
    """Median seconds of each, one after the other in turns, and what the last call gave. Everything is compiled before."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    last = {}
    for _ in range(turns):
        for name, call in calls.items():
            began = time.perf_counter()
            last[name] = call()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}, last


def compare(maps: Maps, k: int, n_steps: int, n_segments: int, interval: int, few: int, peer_steps: int, turns: int) -> None:
    """One table: ours and JAX on all models and steps; packages on ``few`` models and ``peer_steps``."""
    F, M, H = maps["W1"].shape
    z0 = 0.3 * np.random.default_rng(1).standard_normal((F, M))
    model, alone = model_of(maps), model_of(first(maps, 1))
    each = n_steps // n_segments
    warmup = min(TRANSIENT, max(100, each // 3))                                # the public default, but no longer than the peers' frames have

    def ours(model: dr.ShallowPLRNN, n: int, interval: int | None) -> Callable:
        initial = torch.tensor(z0[:n, None])
        return lambda: lyapunov_spectrum(model, k, each, n_segments, initial=initial, transient=TRANSIENT, warmup=warmup, interval=interval)

    def package(by: Callable, steps: int = peer_steps) -> Callable | None:
        return by(first(maps, few), z0[:few], k, steps, TRANSIENT, interval)

    ways = {"LAPACK": False} | ({"Gram-Schmidt": True} if k <= 8 else {})
    loops = {f"JAX, {name}": by_jax(maps, z0, k, n_steps, TRANSIENT, interval, way) for name, way in ways.items()}
    everything: dict[str, tuple[Callable | None, int, int]] = {
        "ours, chosen": (ours(model, F, None), F, n_steps), "ours": (ours(model, F, interval), F, n_steps),
        **{name: (call, F, n_steps) for name, call in loops.items()},
        "pynamicalsys, QR every step": (package(by_pynamicalsys), few, peer_steps), "clvlib": (package(by_clvlib), few, peer_steps),
    }
    if F > 1:
        everything |= {
            "ours, one model": (ours(alone, 1, interval), 1, n_steps),
            "JAX, one model": (by_jax(first(maps, 1), z0[:1], k, n_steps, TRANSIENT, interval, k <= 8), 1, n_steps),
        }
    calls = {name: call for name, (call, _, _) in everything.items() if call is not None}
    for call in (ours(alone, 1, interval), package(by_pynamicalsys, 10 * interval), package(by_clvlib, 10 * interval)):
        if call is not None:
            call()                                                              # compiles
    seconds, found = in_turns(calls, turns)
    truth = found["ours"]
    per = {name: 1e6 * seconds[name] / (everything[name][1] * everything[name][2]) for name in calls}
    print(f"{F:,} models, M = {M}, H = {H}, {k} exponents, {n_steps:,} steps in {n_segments} segments, QR every {interval} steps\n")
    apart = "differences in standard errors: median", "99 %", "largest", "above 4"
    print(title("by", "models", "steps", "seconds", "us per model and step", "theirs / ours", *apart))
    for name in calls:
        _, models, steps = everything[name]
        mine = per["ours, one model" if "one model" in name else "ours"]
        apart = differences(truth, found[name], steps, n_steps)
        print(row(name, f"{models:,}", f"{steps:,}", number(seconds[name]), number(per[name]), ratio(per[name], mine), *apart), flush=True)
    missing = [name for name in everything if name not in calls]
    chosen = found["ours, chosen"].interval.values
    print(f"\nnot installed: {', '.join(missing) or 'none'}; interval that ours chose: {chosen.min()} to {chosen.max()}, median {np.median(chosen):.0f}")
    kinds, counts = np.unique(truth.verdict.values, return_counts=True)
    print(f"verdicts: {', '.join(f'{count} {kind}' for kind, count in zip(kinds, counts))}\n", flush=True)


def differences(truth, other, steps: int, n_steps: int) -> tuple[str, ...]:
    """Quantiles of |theirs - ours| over the error of both, over the models that both have."""
    theirs = other if isinstance(other, np.ndarray) else other.value.values
    n = len(theirs)
    mine, error = truth.value.values[:n], truth.standard_error.values[:n]
    with np.errstate(invalid="ignore"):
        apart = np.abs(theirs - mine) / np.sqrt(error**2 * (1 + n_steps / steps) + (BOUNDED / steps) ** 2)
    apart = apart[np.isfinite(mine) & np.isfinite(theirs)]
    quantiles = (number(float(x), 2) if x > 1e-3 else "0" for x in (np.median(apart), np.quantile(apart, 0.99), apart.max()))
    return *quantiles, f"{100 * np.mean(apart > 4):.1f} %"


def cost(quick: bool, turns: int) -> None:
    """Time of one step of one orbit with k vectors, and over the operations of its products, 4 M H (k + 2): the orbit, the one beside it, and k vectors."""
    print(title("M", "H", "exponents", "us per step", "ns per M H (k + 2)"))
    n_steps, n_segments = (50, 8) if quick else (2_000, 16)
    sizes = [(3, 50), (10, 100)] if quick else [(3, 50), (10, 100), (20, 100), (20, 500), (50, 500), (100, 500)]
    for M, H in sizes:
        model = model_of(random_maps(1, M, H, 2.0))
        vectors = sorted({1, max(1, M // 4), max(1, M // 2), M})
        calls = {str(k): partial(lyapunov_spectrum, model, k, n_steps, n_segments, interval=1) for k in vectors}
        seconds, _ = in_turns(calls, turns)
        for k in vectors:
            per = 1e6 * seconds[str(k)] / (n_steps * n_segments)
            print(row(M, H, k, number(per), number(1e3 * per / (M * H * (k + 2)))), flush=True)
    print(flush=True)


def flow(quick: bool, turns: int) -> None:
    """Lorenz-63 by each one's own integrator and accuracy: what a unit of time costs with three exponents, and what these are."""
    duration, n_segments, known = 8.0 if quick else 500.0, 16, dr.known_system("lorenz63")
    calls: dict[str, tuple[Callable | None, float]] = {
        "ours, known flow": (lambda: lyapunov_spectrum(known, n_steps=round(duration / known.dt / n_segments), n_segments=n_segments), duration),
        version("jitcode"): (by_jitcode(duration), duration),
        version("dysts"): (by_dysts(duration / 10), duration / 10),                   # minutes for a few dozen units of time
    }
    seconds, found = in_turns({name: call for name, (call, _) in calls.items() if call is not None}, turns)
    print("Lorenz-63; 0.9056, 0, -14.5723 are right\n")
    print(title("by", "units of time", "seconds", "ms per unit", "theirs / ours", "exponents"))
    per = {name: 1e3 * took / calls[name][1] for name, took in seconds.items()}
    for name, took in seconds.items():
        values = found[name] if isinstance(found[name], np.ndarray) else found[name].value.values[0]
        cells = number(calls[name][1]), number(took), number(per[name]), ratio(per[name], per["ours, known flow"]), ", ".join(f"{x:.4f}" for x in values)
        print(row(name, *cells), flush=True)
    missing = [name for name in calls if name not in seconds]
    print(f"\n{', '.join(missing) or 'nothing missing'}; dysts and jitcode take flows alone, and so are not among the peers for maps")


def main(settings: Settings) -> None:
    quick, turns = settings.quick, 1 if settings.quick else settings.turns
    print(f"{header()}; {version('pynamicalsys')}, {version('clvlib')}, {version('dysts')}, {version('jitcode')}\n")
    if settings.case in ("many", "all"):
        compare(random_maps(20 if quick else 1_000, 3, 50, 12.0), 3, 400 if quick else 10_000, 8, 2, 2 if quick else 5, 400 if quick else 10_000, turns)
    if settings.case in ("large", "all"):
        compare(random_maps(1, 50, 500, 3.0), 50, 320 if quick else 100_000, 16, 2, 1, 40 if quick else 2_000, turns)
    if settings.case in ("cost", "all"):
        cost(quick, turns)
    if settings.case in ("flow", "all"):
        flow(quick, turns)


if __name__ == "__main__":
    main(tyro.cli(Settings))
