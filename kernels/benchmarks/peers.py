"""The same training update four ways: this package, eager torch, torch.compile of the step, a jitted JAX scan (gradient alone).

Map: z' = a z + W1 phi(W2 z + h2) + h1 with M = N, from the same parameters, on the same windows of the same series (all draw their
windows from one seed); generalised teacher forcing, mean squared error before forcing, RAdam at a constant rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numba
import numpy as np
import torch
from timing import Run

from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.additive.layout import cpu_layout, pack
from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.update import IDENTITY, Draws, Problem, State, run_updates

ALPHA, RATE = 0.15, 1e-3


def series(M: int, length: int = 20_000) -> np.ndarray:
    """A standardised random walk, [length, M] float32."""
    x = np.cumsum(np.random.default_rng(2).standard_normal((length, M)), 0)
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def start(M: int, H: int, seed: int = 0, phi: str = "clipped") -> dict[str, np.ndarray]:
    """Parameters of a shallow PLRNN, float32; units that are not clipped start from a fifth of W1, or free runs of them would grow without bound."""
    g = np.random.default_rng(seed)
    shapes = {"a": (M,), "W1": (M, H), "W2": (H, M), "h1": (M,), "h2": (H,)}
    out = {k: (g.uniform(-1, 1, s) / np.sqrt(s[-1])).astype(np.float32) for k, s in shapes.items()}
    return out | {"a": np.full(M, 0.95, np.float32), "W1": out["W1"] * np.float32(1.0 if phi == "clipped" else 0.2)}


def draw(g: np.random.Generator, x: np.ndarray, T: int, shape: int | tuple[int, ...]) -> np.ndarray:
    """First samples of windows."""
    return g.integers(0, len(x) - T, shape)


def make_map(M: int, H: int, n_fits: int = 1, phi: str = "clipped") -> AdditiveMap:
    a, W1, W2, h1, h2 = (torch.tensor(np.stack([start(M, H, seed, phi)[k] for seed in range(n_fits)])) for k in ("a", "W1", "W2", "h1", "h2"))
    return AdditiveMap(a=a, W1=W1, W2=W2, h1=h1, h2=h2, phi=phi)


def make_problem(map: AdditiveMap, x: np.ndarray, T: int) -> tuple[Problem, State]:
    """All entries of the map are parameters; identity observation of all units, no noise, no regularisers, no clipping."""
    flat = pack(map).numpy()
    F, P = flat.shape
    M = map.latent_dim
    ones = np.ones((F, T), np.float32)
    problem = Problem(
        fill=np.arange(P), constant=np.zeros(P, np.float32), observation=IDENTITY, obs_weight=0, obs_bias=-1, data=x[None],
        inputs=np.zeros((1, len(x), 0), np.float32), has_missing=False, channel_mean=np.zeros((F, M), np.float32),
        noise_level=np.zeros(F, np.float32), gate=ones, unit=np.ones(M, np.float32), trainable=np.ones(P, np.float32),
        decay=np.zeros((F, P), np.float32), decay_to=np.zeros(P, np.float32), condition=np.zeros(F, np.float32),
        clip=np.full(F, np.inf, np.float32), max_refused=20,
    )
    ints = [np.zeros(F, np.int64) for _ in range(4)]
    return problem, State(flat.copy(), np.zeros_like(flat), np.zeros_like(flat), ints[0], np.ones(F, bool), *ints[1:])


def make_draws(g: np.random.Generator, n: int, F: int, M: int, B: int, T: int, x: np.ndarray) -> Draws:
    windows = np.zeros((n, F, B, 2), np.int64)
    windows[..., 1] = draw(g, x, T, (n, F, B))
    return Draws(windows, np.empty((0, F, T + 1, B, M), np.float32), np.full((n, F), ALPHA, np.float32), np.full((n, F), RATE))


def ours(M: int, H: int, B: int, T: int, x: np.ndarray, *, n_fits: int = 1, n_threads: int | None = None, phi: str = "clipped") -> Run:
    """An update is one of all fits."""
    map = make_map(M, H, n_fits, phi)
    lay, (problem, state), g = cpu_layout(map), make_problem(map, x, T), np.random.default_rng(1)

    def run(n: int) -> tuple[float, float]:
        before = numba.get_num_threads()
        numba.set_num_threads(n_threads or before)
        loss = np.empty((n, n_fits))
        with one_blas_thread():
            began = time.perf_counter()
            run_updates(lay, problem, state, make_draws(g, n, n_fits, M, B, T, x), T, loss, np.empty((n, n_fits)))
            took = time.perf_counter() - began
        numba.set_num_threads(before)
        if state.refused.any():
            raise FloatingPointError("a step was refused, so these times mean nothing: training diverged")
        return took / n, float(loss[0, 0])

    return run


def torch_step(z, now, a, W1, W2, h1, h2):
    """One forced step of the clipped map."""
    z = z + ALPHA * (now - z)
    v = z @ W2.T
    return a * z + (torch.relu(v + h2) - torch.relu(v)) @ W1.T + h1


def torch_loss(p: Mapping[str, torch.Tensor], window: torch.Tensor, step: Callable = torch_step) -> torch.Tensor:
    """Mean squared error of the forced predictions; window [B, T + 1, M]. The error is taken once over all steps, which is faster than step by step."""
    z, predictions = window[:, 0], []
    for now in window[:, :-1].unbind(1):
        z = step(z, now, **p)
        predictions.append(z)
    return torch.nn.functional.mse_loss(torch.stack(predictions, 1), window[:, 1:])


def eager(M: int, H: int, B: int, T: int, x: np.ndarray, step: Callable = torch_step) -> Run:
    p = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in start(M, H).items()}
    optimiser, data, span, g = torch.optim.RAdam(p.values(), lr=RATE), torch.tensor(x), torch.arange(T + 1), np.random.default_rng(1)

    def run(n: int) -> tuple[float, float]:
        losses = []
        began = time.perf_counter()
        for _ in range(n):
            window = data[torch.as_tensor(draw(g, x, T, B))[:, None] + span]
            loss = torch_loss(p, window, step)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return (time.perf_counter() - began) / n, float(losses[0])

    return run


def compiled_step(M: int, H: int, B: int, T: int, x: np.ndarray) -> Run:
    """The eager loop with its step through torch.compile. (A whole loop is unrolled by torch.compile: minutes of compilation at T = 200.)"""
    torch.compiler.reset()                                 # else sizes add up to torch's limit of compilations, past which it runs eagerly
    return eager(M, H, B, T, x, torch.compile(torch_step, dynamic=False))


def jax_scan(M: int, H: int, B: int, T: int, x: np.ndarray) -> Run | None:
    """Value and gradient alone, at the parameters of the start; None without JAX."""
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
    first = draw(np.random.default_rng(1), x, T, B)
    window = jnp.asarray(x[first + np.arange(T + 1)[:, None]])

    def run(n: int) -> tuple[float, float]:
        value = None
        began = time.perf_counter()
        for _ in range(n):
            value = jax.block_until_ready(gradient(p, window))
        assert value is not None
        return (time.perf_counter() - began) / n, float(value[0])

    return run
