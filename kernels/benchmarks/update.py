"""How long does a whole training update take, beside an eager torch loop and a jitted JAX scan of the same map?

Ours and eager torch: windows, forcing, loss, gradient and RAdam step. JAX: value and gradient of the same loss alone, without an
optimiser. All in one process, one after the other in turns, median of the repeats; every one may use all cores. Prints a table.

    python kernels/benchmarks/update.py
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
import torch

from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.update import IDENTITY, Draws, Problem, State, run_updates

SIZES = [(3, 50, 16, 200), (20, 100, 16, 200)]
ALPHA, RATE = 0.15, 1e-3


def start(M: int, H: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters of a clipped shallow PLRNN, float32."""
    g = np.random.default_rng(seed)
    shapes = {"a": (M,), "W1": (M, H), "W2": (H, M), "h1": (M,), "h2": (H,)}
    out = {k: (g.uniform(-1, 1, s) / np.sqrt(s[-1])).astype(np.float32) for k, s in shapes.items()}
    return out | {"a": np.full(M, 0.95, np.float32)}


def ours(M: int, H: int, B: int, T: int, x: np.ndarray) -> Callable[[int], float]:
    p = start(M, H)
    map = AdditiveMap(phi="clipped", **{k: torch.tensor(v)[None] for k, v in p.items()})
    flat, lay = pack(map).numpy(), layout_of(map)
    P = flat.shape[1]
    ones = np.ones((1, T), np.float32)
    problem = Problem(
        fill=np.arange(P), constant=np.zeros(P, np.float32), observation=IDENTITY, obs_weight=0, obs_bias=-1, data=x[None],
        inputs=np.zeros((1, len(x), 0), np.float32), has_missing=False, channel_mean=np.zeros((1, M), np.float32),
        noise_level=np.zeros(1, np.float32), gate=ones, unit=np.ones(M, np.float32), trainable=np.ones(P, np.float32),
        decay=np.zeros((1, P), np.float32), decay_to=np.zeros(P, np.float32), condition=np.zeros(1, np.float32),
        clip=np.full(1, np.inf, np.float32), max_refused=20,
    )
    ints = [np.zeros(1, np.int64) for _ in range(4)]
    state = State(flat.copy(), np.zeros_like(flat), np.zeros_like(flat), ints[0], np.ones(1, bool), *ints[1:])
    g = np.random.default_rng(1)

    def run(n: int) -> float:
        windows = np.zeros((n, 1, B, 2), np.int64)
        windows[..., 1] = g.integers(0, len(x) - T, (n, 1, B))
        draws = Draws(windows, np.empty((0, 1, T + 1, B, M), np.float32), np.full((n, 1), ALPHA, np.float32), np.full((n, 1), RATE))
        with one_blas_thread():
            began = time.perf_counter()
            run_updates(lay, problem, state, draws, T, np.empty((n, 1)), np.empty((n, 1)))
            return (time.perf_counter() - began) / n

    return run


def eager(M: int, H: int, B: int, T: int, x: np.ndarray) -> Callable[[int], float]:
    p = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in start(M, H).items()}
    optimiser = torch.optim.RAdam(p.values(), lr=RATE)
    data = torch.tensor(x)
    span = torch.arange(T + 1)

    def run(n: int) -> float:
        began = time.perf_counter()
        for _ in range(n):
            window = data[torch.randint(0, len(data) - T, (B, 1)) + span]
            z, loss = window[:, 0], 0.0
            for t in range(T):
                z = z + ALPHA * (window[:, t] - z)
                v = z @ p["W2"].T
                z = p["a"] * z + (torch.relu(v + p["h2"]) - torch.relu(v)) @ p["W1"].T + p["h1"]
                loss = loss + (z - window[:, t + 1]).square().sum()
            loss = loss / (B * T * M)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return (time.perf_counter() - began) / n

    return run


def jax_scan(M: int, H: int, B: int, T: int, x: np.ndarray) -> Callable[[int], float] | None:
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None

    def loss(p, window):                                   # window [T + 1, B, M]
        def body(z, pair):
            now, after = pair
            z = z + ALPHA * (now - z)
            v = z @ p["W2"].T
            z = p["a"] * z + (jax.nn.relu(v + p["h2"]) - jax.nn.relu(v)) @ p["W1"].T + p["h1"]
            return z, jnp.square(z - after).sum()

        _, errors = jax.lax.scan(body, window[0], (window[:-1], window[1:]))
        return errors.sum() / (B * T * M)

    gradient = jax.jit(jax.value_and_grad(loss))
    p = {k: jnp.asarray(v) for k, v in start(M, H).items()}
    window = jnp.asarray(x[: B * (T + 1)].reshape(B, T + 1, M).transpose(1, 0, 2))
    jax.block_until_ready(gradient(p, window))

    def run(n: int) -> float:
        began = time.perf_counter()
        for _ in range(n):
            jax.block_until_ready(gradient(p, window))
        return (time.perf_counter() - began) / n

    return run


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, numba {numba.__version__}")
    print("| M | H | batch | T | ours, update [ms] | eager torch, update [ms] | ratio | JAX scan, gradient alone [ms] | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for M, H, B, T in SIZES:
        x = np.cumsum(np.random.default_rng(2).standard_normal((20_000, M)), 0).astype(np.float32)
        x = (x - x.mean(0)) / x.std(0)
        runs = {"ours": (ours(M, H, B, T, x), 100), "eager": (eager(M, H, B, T, x), 5), "jax": (jax_scan(M, H, B, T, x), 30)}
        times: dict[str, list[float]] = {k: [] for k in runs}
        for repeat in range(8):                            # in turns, so that a busy moment of the machine meets them all
            for name, (run, n) in runs.items():
                if run is not None:
                    took = run(n)
                    if repeat:                             # the first compiles and warms up
                        times[name].append(1e3 * took)
        a, b = statistics.median(times["ours"]), statistics.median(times["eager"])
        c = statistics.median(times["jax"]) if times["jax"] else float("nan")
        print(f"| {M} | {H} | {B} | {T} | {a:.3f} | {b:.2f} | {b / a:.1f}x | {c:.2f} | {c / a:.1f}x |")


if __name__ == "__main__":
    main()
