"""The same update in torch: autograd for the gradient, torch's own RAdam for the step. Slow with plain recurrences, and then the truth for ``cpu.py``;
with compiled ones, and parameters that fill the map by any differentiable function, what trains all other models."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.radam import radam

from dynrnn_kernels.additive.layout import unpack
from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.influence import forward_sequence
from dynrnn_kernels.radam import BETA1, BETA2, EPSILON
from dynrnn_kernels.recurrences import Map, recurrence_of
from dynrnn_kernels.update.problem import AFFINE, BAD_GRADIENT, BAD_STEP, Draws, Problem, State

MapOf = Callable[[int, Tensor], Map]     # (fit, its parameters theta [P]) -> its map, differentiable
Sequence = Callable[[Map, Tensor, Tensor, Tensor, Tensor | None, np.ndarray], Tensor]   # a forced sequence of these windows, differentiable


def by_backpropagation(
    map: Map, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor | None, windows: np.ndarray, backend: str = "reference", elapsed: np.ndarray | None = None
) -> Tensor:
    """The recurrence's own forced sequence. elapsed (trial, time): how long the step to each sample takes, of a map that takes times."""
    if elapsed is None:
        return recurrence_of(map).forced_sequence(map, z0, target, weight, u, backend=backend)
    to = windows[:, 1, None] + 1 + np.arange(target.shape[2])
    dt = torch.as_tensor(elapsed[windows[:, 0, None], to]).to(z0.dtype)[None]
    return recurrence_of(map).forced_sequence(map, z0, target, weight, u, backend=backend, dt=dt)


def by_influence(
    map: Map, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor | None, windows: np.ndarray, algorithm: str = "rtrl", backend: str = "reference",
    device: torch.device | None = None,
) -> Tensor:
    """The same with its gradient accumulated forwards, there and back where it is to be on a ``device`` (additive maps alone). Algorithms that draw do so by
    the windows, themselves a function of random state, fit and update."""
    rng = torch.Generator().manual_seed(int(np.random.SeedSequence(windows.ravel().tolist()).generate_state(1)[0]))
    if device is not None:
        plain = cast(AdditiveMap, map).written_out()
        map = plain.with_tensors({name: x.to(device) for name, x in plain.tensors().items()})
        drive = None if u is None else u.to(device)
        return forward_sequence(map, z0.to(device), target.to(device), weight.to(device), drive, algorithm=algorithm, backend=backend).to(z0.device)
    return forward_sequence(map, z0, target, weight, u, algorithm=algorithm, backend=backend, rng=rng)


def filled(template: AdditiveMap, problem: Problem) -> MapOf:
    """Parameters put into the map by index, as the compiled kernels do it."""
    fill, constant = torch.as_tensor(problem.fill), torch.as_tensor(problem.constant)

    def map_of(f: int, theta: Tensor) -> Map:
        return unpack(torch.where(fill >= 0, theta[fill.clamp_min(0)], constant.to(theta.dtype))[None], template)

    return map_of


def window_loss(
    map_of: MapOf, problem: Problem, f: int, theta: Tensor, windows: np.ndarray, noise: np.ndarray | None, alpha: float, T: int,
    sequence: Sequence = by_backpropagation,
) -> Tensor:
    """Mean squared error of fit ``f``'s forced predictions over what was seen, plus regularisers; theta [P]."""
    span = windows[:, 1, None] + np.arange(T + 1)
    x = torch.as_tensor(problem.data[windows[:, 0, None], span]).to(theta.dtype)                       # [B, T + 1, N]
    u = torch.as_tensor(problem.inputs[windows[:, 0, None], span[:, 1:]]).to(theta.dtype)
    seen = ~torch.isnan(x)
    if noise is not None:
        x = x + float(problem.noise_level[f]) * torch.as_tensor(noise).to(theta.dtype).transpose(0, 1)
    mean = torch.as_tensor(problem.channel_mean[f]).to(theta.dtype)
    map = map_of(f, theta)
    M, N = map.latent_dim, x.shape[2]
    inputs = u[None] if map.input_dim else None

    def forced(z0: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        return sequence(map, z0[None], target[None], weight[None], inputs, windows)[0]

    first = torch.where(seen[:, 0], x[:, 0], mean)
    pull = alpha * torch.as_tensor(problem.gate[f])[None, :, None] * torch.as_tensor(problem.unit)     # [1, T, M]
    weight = pull.to(theta.dtype).expand(len(x), T, M)
    start = problem.obs_weight
    if problem.observation == AFFINE:
        B = theta[start : start + N * M].reshape(N, M)
        b = theta[problem.obs_bias : problem.obs_bias + N] if problem.obs_bias >= 0 else torch.zeros(N, dtype=theta.dtype)
        with torch.no_grad():
            z0 = (first - b) @ torch.linalg.pinv(B).T
            target = torch.nan_to_num(x[:, :-1] - b) @ torch.linalg.pinv(B).T
            unique = torch.ones(len(x), T, 1, dtype=theta.dtype)
            for r, t in (~seen[:, :-1].all(-1)).nonzero().tolist():
                rows = seen[r, t]
                if int(rows.sum()) >= M and int(torch.linalg.matrix_rank(B[rows])) == M:
                    target[r, t] = torch.linalg.pinv(B[rows]) @ (x[r, t] - b)[rows]
                else:
                    unique[r, t] = 0
        z = forced(z0, target, weight * unique)
        prediction = z @ B.T + b
    else:
        L = theta[start : start + (M - N) * N].reshape(M - N, N)
        z0 = torch.cat([first, first @ L.T], -1)
        target = torch.cat([x[:, :-1], torch.zeros(len(x), T, M - N, dtype=theta.dtype)], -1)
        known = torch.cat([seen[:, :-1], torch.zeros(len(x), T, M - N, dtype=torch.bool)], -1)
        prediction = forced(z0, target, weight * known)[..., :N]
    error = torch.where(seen[:, 1:], prediction - x[:, 1:], torch.zeros((), dtype=theta.dtype))
    loss = error.square().sum() / max(int(seen[:, 1:].sum()), 1)
    loss = loss + (torch.as_tensor(problem.decay[f]) * (theta - torch.as_tensor(problem.decay_to)).square()).sum()
    if problem.observation == AFFINE and problem.condition[f] > 0:
        s = torch.linalg.svdvals(theta[start : start + N * M].reshape(N, M))
        loss = loss + float(problem.condition[f]) * (1 - s[0] / (s[-1] + 1e-8)) ** 2
    return loss


def run_updates_reference(
    map_of: MapOf, problem: Problem, state: State, draws: Draws, T: int, loss: np.ndarray, norm: np.ndarray, sequence: Sequence = by_backpropagation
) -> None:
    """What ``run_updates`` does, for the maps that ``map_of`` makes; fit by fit, so that none depends on another."""
    for i in range(len(draws.windows)):
        for f in range(len(state.theta)):
            loss[i, f], norm[i, f] = _one(map_of, problem, state, draws, T, i, f, sequence) if state.active[f] else (np.nan, np.nan)


def _one(map_of: MapOf, problem: Problem, state: State, draws: Draws, T: int, i: int, f: int, sequence: Sequence) -> tuple[float, float]:
    theta = torch.as_tensor(state.theta[f].copy()).requires_grad_()
    noise = draws.noise[i, f] if len(draws.noise) else None
    value = window_loss(map_of, problem, f, theta, draws.windows[i, f], noise, float(draws.alpha[i, f]), T, sequence)
    (grad,) = torch.autograd.grad(value, theta)
    grad = grad * torch.as_tensor(problem.trainable)
    size = float(grad.double().norm())
    reason = 0
    if not (np.isfinite(size) and np.isfinite(float(value.detach()))):
        reason = BAD_GRADIENT
    else:
        if size > problem.clip[f]:
            grad = grad * float(problem.clip[f] / size)
        new, first, second = theta.detach().clone(), torch.as_tensor(state.first[f].copy()), torch.as_tensor(state.second[f].copy())
        radam(
            [new], [grad], [first], [second], [torch.tensor(float(state.taken[f]))], beta1=BETA1, beta2=BETA2,
            lr=float(draws.learning_rate[i, f]), weight_decay=0.0, eps=EPSILON,
        )
        if all(bool(torch.isfinite(x).all()) for x in (new, first, second)):
            state.theta[f], state.first[f], state.second[f] = new.numpy(), first.numpy(), second.numpy()
            state.taken[f] += 1
            state.refused_in_row[f] = 0
        else:
            reason = BAD_STEP
    if reason:
        state.reason[f] = reason
        state.refused[f] += 1
        state.refused_in_row[f] += 1
        state.active[f] = state.refused_in_row[f] < problem.max_refused
    return float(value.detach()), size
