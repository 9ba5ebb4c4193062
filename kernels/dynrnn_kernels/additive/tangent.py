"""Tangent vectors carried along orbits: what Lyapunov spectra and covariant vectors are made of, whatever computes it.

``cpu`` carries them ROWS segments at a time (cpu_tangent.py), ``triton`` one segment a program (triton_tangent.py), and neither forms J;
``reference`` is the same in plain torch, on any device.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dynrnn_kernels.additive import cpu_tangent
from dynrnn_kernels.additive.cpu_frames import DEAD
from dynrnn_kernels.additive.layout import cpu_layout, layout_of, pack
from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.additive.reference import activation_slope, apply, preactivation, step
from dynrnn_kernels.backends import choose_backend
from dynrnn_kernels.errors import KernelError

if TYPE_CHECKING:
    from dynrnn_kernels.recurrences import Map


@dataclass(frozen=True)
class Carried:
    """What ``carry`` gives: where the segments end, and sums over their steps.

    z [F, S, M], Q [F, S, k, M] orthonormal, pair [F, S, M] or None. log_r [F, S, k]: ln of the frame's lengths, -inf from the first time on
    that a direction died. log_pair [F, S]: ln of the growth of the distance to ``pair``. widest [F, S]: ln of the longest over the shortest live vector
    between two orthonormalisations, at most. failed [F, S]: the first step at whose end a state was found not finite, -1 where all are.
    path [F, n_steps, M]: the states before each step of the first segment, empty if not asked for.
    """

    z: Tensor
    Q: Tensor
    pair: Tensor | None
    log_r: Tensor
    log_pair: Tensor
    widest: Tensor
    failed: Tensor
    path: Tensor


def carry(
    map: AdditiveMap, z: Tensor, Q: Tensor, n_steps: int, interval: int | Tensor = 1, *, u: Tensor | None = None, pair: Tensor | None = None,
    distance: float | Tensor = 1e-7, keep_path: bool = False, backend: str | None = None,
) -> Carried:
    """``n_steps`` of every segment with k tangent vectors, made orthonormal every ``interval`` steps and after the last.

    map : F maps. z [F, S, M] states; Q [F, S, k, M] orthonormal vectors; interval : steps, one number or one a fit [F].
    u : inputs [1 or F, 1 or S, n_steps, K], of which index t acts in step t; needed where the map takes inputs.
    pair : states at ``distance`` (one number, or one a fit [F]) from z, whose growing apart is measured without derivatives, and reset after each interval.

    Returns a ``Carried``; what is given is left as it is. Cost O(F S n_steps k (M H + k M / interval)), memory O(k M + H) a thread beside the results.
    Sums do not depend on the number of fits, segments or threads. float64 is meant; float32 works to its precision. KernelError for frames that backend
    ``triton`` has no registers for: M > 64 (float32: 128), or M k, both rounded up to powers of two, above 4,096 (float32: 8,192).
    """
    backend = choose_backend(z.device, backend)
    u, every, apart = checked(map, z, Q, n_steps, interval, u, pair, distance)
    if backend == "reference":
        return by_torch(map, step, tangents, z, Q, every, u, pair, apart, keep_path)
    map = map.to(z.dtype)
    if backend == "cpu":
        flats, layout = pack(map).detach().contiguous().numpy(), cpu_layout(map)
        return in_place(lambda *tensors: cpu_tangent.carry(flats, layout, *(x.numpy() for x in tensors)), z, Q, every, u, pair, apart, keep_path)
    plain = map.written_out()
    return in_place(partial(device_tangents().carry, pack(plain).detach().contiguous(), layout_of(plain)), z, Q, every, u, pair, apart, keep_path)


def device_tangents() -> Any:
    """The Triton kernel, imported when it is first used."""
    return importlib.import_module("dynrnn_kernels.additive.triton_tangent")


def checked(
    map: Map, z: Tensor, Q: Tensor, n_steps: int, interval: int | Tensor, u: Tensor | None, pair: Tensor | None, distance: float | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(u, interval [F], distance [F]) of what ``carry`` was given for F maps of any recurrence; KernelError, naming the argument, for what does not fit."""
    F, S, M = z.shape
    K, k = map.input_dim, Q.shape[2] if Q.ndim == 4 else 0
    if F != map.n_fits or M != map.latent_dim:
        raise KernelError(f"z must have shape (fit, segment, latent) = ({map.n_fits}, any, {map.latent_dim}), got {tuple(z.shape)}")
    if Q.ndim != 4 or Q.shape[:2] != z.shape[:2] or Q.shape[3] != M or not 1 <= k <= M:
        raise KernelError(f"Q must have shape (fit, segment, vector, latent) = ({F}, {S}, 1 to {M}, {M}), got {tuple(Q.shape)}")
    if pair is not None and pair.shape != z.shape:
        raise KernelError(f"pair must have the shape of z, {tuple(z.shape)}, got {tuple(pair.shape)}")
    if u is None and K:
        raise KernelError(f"the map takes {K} inputs: give u of shape (1 or {F}, 1 or {S}, {n_steps}, {K})")
    u = z.new_zeros(1, 1, n_steps, 0) if u is None else u
    if u.ndim != 4 or u.shape[0] not in (1, F) or u.shape[1] not in (1, S) or u.shape[2:] != (n_steps, K):
        raise KernelError(f"u must have shape (1 or {F}, 1 or {S}, {n_steps}, {K}), got {tuple(u.shape)}")
    every = torch.as_tensor(interval).expand(F).to(torch.int64)
    if bool((every < 1).any()):
        raise KernelError(f"interval must be at least 1 step, got {every.min()}")
    apart = torch.as_tensor(distance, dtype=z.dtype, device=z.device).expand(F)
    given = {"Q": Q, "u": u} | ({} if pair is None else {"pair": pair})
    for name, x in given.items():
        if x.dtype != z.dtype or x.device != z.device:
            raise KernelError(f"{name} is {x.dtype} on {x.device}, z is {z.dtype} on {z.device}; convert one of them")
    return u, every, apart


def in_place(
    compute: Callable[..., None], z: Tensor, Q: Tensor, every: Tensor, u: Tensor, pair: Tensor | None, distance: Tensor, keep_path: bool
) -> Carried:
    """What a kernel computes in place, on contiguous tensors of its own."""
    F, S, M = z.shape
    z, Q = z.detach().clone(memory_format=torch.contiguous_format), Q.detach().clone(memory_format=torch.contiguous_format)
    beside = z.new_empty(F, 0, M) if pair is None else pair.detach().clone(memory_format=torch.contiguous_format)
    log_r, log_pair, widest = z.new_zeros(F, S, Q.shape[2]), z.new_zeros(F, S), z.new_zeros(F, S)
    failed = torch.full((F, S), -1, dtype=torch.int64, device=z.device)
    path = z.new_empty(F, u.shape[2] if keep_path else 0, M)
    compute(z, Q, beside, u.detach().contiguous(), every.to(z.device).contiguous(), distance.contiguous(), log_r, log_pair, widest, failed, path)
    return Carried(z, Q, None if pair is None else beside, log_r, log_pair, widest, failed, path)


def tangents(map: AdditiveMap, z: Tensor, Q: Tensor, u: Tensor | None = None) -> Tensor:
    """J q of every vector: z [F, S, M], Q [F, S, k, M] -> [F, S, k, M]."""
    F, S, k, M = Q.shape
    slope = activation_slope(map, preactivation(map, z, u))
    flat = Q.reshape(F, S * k, M)
    linear = preactivation(map, flat, None)
    if map.h2 is not None:
        linear = linear - map.h2[:, None]
    out = apply(map.W1, (slope[:, :, None] * linear.reshape(F, S, k, -1)).reshape(F, S * k, -1)) + map.diagonal()[:, None] * flat
    if map.A is not None:
        out = out + apply(map.A, flat)
    return out.reshape(F, S, k, M)


def orthonormal(Q: Tensor) -> tuple[Tensor, Tensor]:
    """Frames [..., k, M] made orthonormal by Householder reflections, and their lengths [..., k], 0 for a dead direction."""
    finite = torch.isfinite(Q).all(-1).all(-1)
    safe = torch.where(finite[..., None, None], Q, torch.zeros_like(Q))
    q, r = torch.linalg.qr(safe.mT)
    lengths = r.diagonal(dim1=-2, dim2=-1).abs()
    before = torch.linalg.vector_norm(safe, dim=-1)
    dead = lengths <= DEAD * torch.maximum(before, lengths.cummax(-1).values)
    lengths = torch.where(dead, torch.zeros_like(lengths), lengths)
    return q.mT, torch.where(finite[..., None], lengths, torch.full_like(lengths, float("nan")))


def spread_of(lengths: Tensor) -> Tensor:
    """ln of the longest over the shortest live length, [...]."""
    live = lengths > 0
    longest = torch.where(live, lengths, torch.zeros_like(lengths)).amax(-1)
    shortest = torch.where(live, lengths, torch.full_like(lengths, float("inf"))).amin(-1)
    return torch.where(longest >= shortest, torch.log(longest / shortest), torch.zeros_like(longest))


def by_torch(
    map: Map, step: Callable[..., Tensor], tangents: Callable[..., Tensor], z: Tensor, Q: Tensor, every: Tensor, u: Tensor, pair: Tensor | None,
    distance: Tensor, keep_path: bool,
) -> Carried:
    """``carry`` of a map by its step(map, z, u) and tangents(map, z, Q, u)."""
    F, S, _ = z.shape
    map = map.to(z.dtype)

    def drive(t: int) -> Tensor | None:
        return u[:, :, t].expand(F, S, -1) if map.input_dim else None

    def both(z: Tensor, Q: Tensor, t: int) -> tuple[Tensor, Tensor]:
        return step(map, z, drive(t)), tangents(map, z, Q, drive(t))

    return carry_by(lambda z, t: step(map, z, drive(t)), both, z, Q, u.shape[2], every, pair, distance, keep_path)


def carry_by(
    move: Callable[[Tensor, int], Tensor], both: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]], z: Tensor, Q: Tensor, n_steps: int, every: Tensor,
    pair: Tensor | None, distance: Tensor, keep_path: bool,
) -> Carried:
    """``carry`` of anything: move(z, t) gives the next states [F, S, M], both(z, Q, t) these and J q of the vectors; every and distance are [F]."""
    F, S, M = z.shape
    log_r, log_pair, widest = z.new_zeros(F, S, Q.shape[2]), z.new_zeros(F, S), z.new_zeros(F, S)
    failed = torch.full((F, S), -1, dtype=torch.int64, device=z.device)
    path, since = [], torch.zeros(F, dtype=torch.int64)
    with torch.no_grad():
        for t in range(n_steps):
            if keep_path:
                path.append(z[:, 0])
            z, Q = both(z, Q, t)
            pair = None if pair is None else move(pair, t)
            since += 1
            due = torch.nonzero((since >= every) | (t == n_steps - 1))[:, 0]
            since[due] = 0
            if not len(due):
                continue
            frames, lengths = orthonormal(Q[due])
            Q = Q.index_put((due,), frames)
            log_r[due] += torch.log(lengths)
            widest[due] = torch.maximum(widest[due], spread_of(lengths))
            broken = ~torch.isfinite(z[due]).all(-1) & (failed[due] < 0)
            failed[due] = torch.where(broken, torch.full_like(failed[due], t), failed[due])
            if pair is not None:
                apart = pair[due] - z[due]
                length = torch.linalg.vector_norm(apart, dim=-1)
                log_pair[due] += torch.log(length / distance[due, None])
                away = torch.where((length > 0)[..., None], apart / length[..., None], frames[:, :, 0])
                pair = pair.index_put((due,), z[due] + distance[due, None, None] * away)
    kept = torch.stack(path, 1) if path else z.new_empty(F, 0, M)
    return Carried(z, Q, pair, log_r, log_pair, widest, failed, kept)


def random_frames(shape: tuple[int, int, int, int], rng: np.random.Generator) -> Tensor:
    """Orthonormal vectors [F, S, k, M], float64."""
    F, S, k, M = shape
    return torch.linalg.qr(torch.tensor(rng.standard_normal((F, S, M, k))))[0].mT.contiguous()
