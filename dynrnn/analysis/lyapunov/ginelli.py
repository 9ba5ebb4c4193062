"""Ginelli's sweeps along one orbit a fit: frames forward with checkpoints, coefficients backward, blocks computed again as they are needed.

With Y_n = J_n Q_n = Q_{n+1} R_{n+1} the vectors V_n = Q_n C_n are covariant, J_n V_n = V_{n+1} D_n with D_n diagonal, if C_n = R_{n+1}^{-1} C_{n+1} D_n.
Frames are kept as rows, [k, M], so R_{n+1} = Q_{n+1} Y_n' and V_n = C_n' Q_n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dynrnn.analysis.lyapunov.carrier import Carrier, Mapped
from dynrnn.analysis.lyapunov.walk import forward_of, images

NUMBERS = 2**22          # held at once for the blocks that are computed again


@dataclass(frozen=True)
class Swept:
    """Of all fits over n_steps: coefficients C [F, n, k, k] (columns of length 1), state [F, n, M], growth [F, n, k] = ln |J v|, participation [F, n, k].

    vector [F, n, k, M], or [F, 0, k, M] if not kept. residual [F, k]: largest 1 - |cos(J v_n, v_{n+1})|. forward, backward [F, k]: what two random frames
    at the start, and two random coefficients at the end, still differ by, as 1 - |cos|. live [F]: leading directions that do not die. diverged [F].
    """

    C: Tensor
    state: Tensor
    growth: Tensor
    participation: Tensor
    vector: Tensor
    residual: Tensor
    forward: Tensor
    backward: Tensor
    live: Tensor
    diverged: Tensor


def apart(a: Tensor, b: Tensor) -> Tensor:
    """1 - |cos| of vectors along the last axis, without cancellation where they are nearly parallel."""
    a, b = a / torch.linalg.vector_norm(a, dim=-1, keepdim=True), b / torch.linalg.vector_norm(b, dim=-1, keepdim=True)
    sign = torch.where((a * b).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    return (a - sign * b).square().sum(-1) / 2


def block_length(carrier: Carrier, k: int, n_steps: int, checkpoint: int | None) -> tuple[int, int]:
    """Steps between checkpoints, and how many blocks are computed again side by side.

    The kernels take many blocks at once and give the same bits for each, so models do with few calls; a callable's orbit is followed state by state, since its
    rounding may depend on how many it gets.
    """
    size = carrier.n_fits * k * (carrier.dim + k)
    if not isinstance(carrier, Mapped):
        return min(n_steps, max(16, NUMBERS // (size + carrier.dim**2)) if checkpoint is None else checkpoint), 1
    m = min(n_steps, max(16, math.isqrt(n_steps)) if checkpoint is None else checkpoint)
    return m, max(1, NUMBERS // (m * size))


def sweep(
    carrier: Carrier, z: Tensor, frames: Tensor, C: Tensor, n_steps: int, warmup: int, backward: int, checkpoint: int | None, keep_vectors: bool
) -> Swept:
    """Forward from the states z [F, 1, M] with two frames [F, 2, k, M] each, backward from two upper triangular coefficients C [F, 2, k, k].

    Cost O(F T k (M H + k M + k^2)) with T = warmup + n_steps + backward; memory O(F (T k M / m + m k (M + k))) beside what is returned.
    """
    F, _, k, M = frames.shape
    m, together = block_length(carrier, k, n_steps + backward, checkpoint)
    B = math.ceil((n_steps + backward) / m)
    begun = forward_of(carrier, z.expand(F, 2, M), frames, warmup)
    forward = apart(begun.Q[:, 0], begun.Q[:, 1])
    checkpoints = [(begun.z[:, :1], begun.Q[:, :1])]
    log_r, diverged = begun.log_r.sum(1), begun.failed.any(1)
    for _ in range(B - 1):
        part = forward_of(carrier, *checkpoints[-1], m)
        checkpoints.append((part.z, part.Q))
        log_r, diverged = log_r + part.log_r.sum(1), diverged | part.failed.any(1)

    kept_C, state, growth = z.new_empty(F, n_steps, k, k), z.new_empty(F, n_steps, M), z.new_empty(F, n_steps, k)
    participation, vector = z.new_empty(F, n_steps, k), z.new_empty(F, n_steps if keep_vectors else 0, k, M)
    residual, settled = z.new_zeros(F, k), z.new_full((F, k), math.nan)
    live: Tensor | None = None
    for last in range(B, 0, -together):
        blocks = range(max(0, last - together), last)
        G = len(blocks)
        part = forward_of(carrier, torch.cat([checkpoints[b][0] for b in blocks], 1), torch.cat([checkpoints[b][1] for b in blocks], 1), m, keep=True)
        zs, Qs = part.states, part.frames
        if live is None:                                                                # the last block has been carried for the first time
            log_r, diverged = log_r + part.log_r.sum(1), diverged | part.failed.any(1)
            live = torch.where(diverged, 0, torch.isfinite(log_r).to(torch.int64).cumprod(1).sum(1))
        Y = images(carrier, zs[:, :, :m].reshape(F, G * m, M), Qs[:, :, :m].reshape(F, G * m, k, M)).reshape(F, G, m, k, M)
        R = _usable(torch.triu(Qs[:, :, 1:] @ Y.mT), live)
        Cs = z.new_empty(F, G, m + 1, k, k)
        for g in range(G - 1, -1, -1):
            Cs[:, g, m] = C[:, 0]
            for t in range(m - 1, -1, -1):
                n = blocks[g] * m + t
                C = torch.linalg.solve_triangular(R[:, g, t, None], C, upper=True)
                lengths = torch.linalg.vector_norm(C, dim=-2)
                C = C / lengths[..., None, :]
                Cs[:, g, t] = C[:, 0]
                if n == n_steps - 1:
                    settled = apart(C[:, 0].mT, C[:, 1].mT)
                    C = C[:, :1]
                if n < n_steps:
                    growth[:, n] = -torch.log(lengths[:, 0])
        first, end = blocks[0] * m, min(last * m, n_steps)
        if end <= first:
            continue
        V = Cs.mT @ Qs
        moved = images(carrier, zs[:, :, :m].reshape(F, G * m, M), V[:, :, :m].reshape(F, G * m, k, M)).reshape(F, G, m, k, M)
        off = apart(moved, V[:, :, 1:]).reshape(F, G * m, k)[:, : end - first]
        residual = torch.maximum(residual, off.amax(1))
        V = V[:, :, :m].reshape(F, G * m, k, M)[:, : end - first]
        kept_C[:, first:end] = Cs[:, :, :m].reshape(F, G * m, k, k)[:, : end - first]
        state[:, first:end] = zs[:, :, :m].reshape(F, G * m, M)[:, : end - first]
        participation[:, first:end] = V.square().sum(-1) ** 2 / V.pow(4).sum(-1)
        if keep_vectors:
            vector[:, first:end] = V
    assert live is not None
    return Swept(kept_C, state, growth, participation, vector, residual, forward, settled, live, diverged)


def _usable(R: Tensor, live: Tensor) -> Tensor:
    """R [F, G, m, k, k] with rows of the identity for dead directions: live vectors never reach them, since C is triangular, and nothing is divided by zero."""
    k = R.shape[-1]
    dead = torch.arange(k) >= live[:, None]
    return torch.where(dead[:, None, None, :, None], torch.eye(k, dtype=R.dtype), R)
