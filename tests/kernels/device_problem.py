"""Small training problems for the device update, with the reference on the same draws beside it."""

from __future__ import annotations

import numpy as np
import torch

from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.update.problem import AFFINE, IDENTITY, Draws, Problem, State
from dynrnn_kernels.update.reference import filled, run_updates_reference
from tests.kernels.maps import random_map

KEY = 2**63 + 12345                                                             # of more than 63 bits: its sign bit is set on the device


def random_problem(
    seed: int, phi: str, w2: str, *, F: int = 2, M: int = 3, H: int = 5, K: int = 0, N: int = 2, T: int = 3, observation: int = IDENTITY, bias: bool = False,
    missing: bool = False, noise: bool = False, decay: bool = False, condition: bool = False, clip: bool = False, dtype: type = np.float64,
) -> tuple[AdditiveMap, Problem, State, np.ndarray]:
    """(map, problem, state, ends) with two entries of the map that are one parameter, one that is constant, and fits in different stages."""
    g, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    map = random_map(g, phi, w2, F, M, H, K, True)
    flat, S = pack(map).numpy(), layout_of(map).size
    fill = rng.permutation(S)
    fill[0], fill[-1], fill[S // 2] = -1, fill[1], fill[1]
    used, fill = np.unique(fill, return_inverse=True)
    fill = fill - 1
    n_map = len(used) - 1
    theta = np.stack([flat[:, np.flatnonzero(fill == p)[0]] for p in range(n_map)], 1)
    n_observation = N * M + N * bias if observation == AFFINE else (M - N) * N
    theta = np.concatenate([theta, 0.7 * rng.standard_normal((F, n_observation))], 1).astype(dtype)
    P = theta.shape[1]
    trials = np.array([9, T, 6, 12]) + 1                                        # the second has one window only
    data = rng.standard_normal((len(trials), 16, N))
    if missing:
        data[rng.random(data.shape) < 0.25] = np.nan
        data[0, 3] = np.nan
    for k, n in enumerate(trials):
        data[k, n:] = np.nan
    level = [0.3, 0.0, 0.1][:F] if noise else [0.0] * F
    per_fit = np.arange(1, F + 1)
    problem = Problem(
        fill=fill, constant=np.where(fill < 0, flat[0], 0.0).astype(dtype), observation=observation, obs_weight=n_map,
        obs_bias=n_map + N * M if bias else -1, data=data.astype(dtype), inputs=rng.standard_normal((len(trials), 16, K)).astype(dtype),
        has_missing=missing, channel_mean=0.3 * rng.standard_normal((F, N)).astype(dtype), noise_level=np.array(level, dtype=dtype),
        gate=(np.arange(T)[None] % (per_fit[:, None] + 1) == 0).astype(dtype), unit=(np.arange(M) != M - 1).astype(dtype),
        trainable=(np.arange(P) % 7 != 3).astype(dtype), decay=(decay * 0.1 * per_fit[:, None] * (rng.random(P) < 0.5)).astype(dtype),
        decay_to=rng.standard_normal(P).astype(dtype), condition=(condition * 0.02 * (per_fit - 1)).astype(dtype),
        clip=np.where(per_fit == 1, 0.1 if clip else np.inf, np.inf).astype(dtype), max_refused=2,
    )
    taken = 6 * (per_fit - 1)                                                   # the second fit's steps are rectified, the first one's not yet
    moments = [0.1 * rng.standard_normal((F, P)).astype(dtype), 0.01 * rng.random((F, P)).astype(dtype)]
    zero = [np.zeros(F, dtype=np.int64) for _ in range(3)]
    state = State(theta, *moments, taken, np.ones(F, dtype=np.bool_), *zero)
    return map, problem, state, np.cumsum(np.maximum(trials - T, 0))


def copied(state: State) -> State:
    return State(*(x.copy() for x in state))


def device_update(module, map: AdditiveMap, problem: Problem, state: State, ends: np.ndarray, B: int, fits: np.ndarray | None = None, **options):
    fits = np.arange(len(state.theta)) if fits is None else fits
    device = "cuda" if options.pop("cuda", False) else "cpu"
    T = problem.gate.shape[1]
    return module.DeviceUpdate(layout_of(map), problem, state, module.Source(ends, fits, KEY), B, T, device, **options)


def noise_of(module, map, problem: Problem, state: State, ends: np.ndarray, B: int, update: int, **options) -> np.ndarray:
    """The noise [F, T + 1, B, N] that the device draws in an update: the windows of data that are zero, with noise of level one."""
    still = problem._replace(data=np.zeros_like(problem.data), noise_level=np.ones_like(problem.noise_level))
    twin = device_update(module, map, still, state, ends, B, first_update=update, **options)
    module.launch_draws(twin.arrays)
    return twin.arrays.x.cpu().numpy().transpose(0, 2, 1, 3).copy()


def both(module, case, B: int, n: int, alpha: np.ndarray, rate: np.ndarray, **options):
    """(device state, loss, norm), (reference state, loss, norm) after n updates on what the device drew, one update a call."""
    map, problem, start, ends = case
    mine, truth = copied(start), copied(start)
    update = device_update(module, map, problem, start, ends, B, **options)
    F, T = problem.gate.shape
    results = [np.empty((2, n, F)) for _ in range(2)]
    for i in range(n):
        results[0][:, i : i + 1] = update.run(alpha[i : i + 1], rate[i : i + 1])
        windows = update.arrays.windows.cpu().numpy()[None]
        noise = np.empty((0, F, T + 1, B, problem.data.shape[2]))
        if (problem.noise_level > 0).any():
            noise = noise_of(module, map, problem, start, ends, B, i, **options)[None]
        draws = Draws(windows, noise, alpha[i : i + 1], rate[i : i + 1])
        run_updates_reference(filled(map, problem), problem, truth, draws, T, results[1][0, i : i + 1], results[1][1, i : i + 1])
    update.fetch(mine)
    return (mine, *results[0]), (truth, *results[1])
