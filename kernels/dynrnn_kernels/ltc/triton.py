"""The liquid time-constant recurrence on a CUDA device: chooses and launches the Triton kernels.

Tensors as in cpu.py, all contiguous, float32 or float64, but for the weights, which are written out: flat [F, size], z0 [F, B, M], target, weight and out
[F, N, M], u [F, N, K], dt [F, 1 or N], and rows [B, 2] the first sample and length of each sequence, at least 1. A program has one sequence. Sums have a
fixed order, no atomics: two runs give the same bits.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from dynrnn_kernels.additive.config import check_fits
from dynrnn_kernels.additive.triton import SPLITS, launch, padded
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.ltc.config import Config, check_launching
from dynrnn_kernels.ltc.layout import Layout
from dynrnn_kernels.ltc.triton_gradient import input_gradient_kernel, unit_gradient_kernel
from dynrnn_kernels.ltc.triton_steps import adjoint_kernel, fixed_kernel, forward_kernel, unfolds_kernel

MOST_UNITS = 1024
SYNAPSES = 256                                                                  # of a warp in float32, so that four of them share the sigmoids of 32 units


def choose(lay: Layout, dtype: torch.dtype) -> Config:
    """The configuration for a size, found by compiling: none needs a stack, at compute capability 9.0."""
    if lay.M > MOST_UNITS:
        raise KernelError(f"M = {lay.M:,} latent units are too many for backend 'triton', which takes {MOST_UNITS:,}; use another backend")
    BM, double = padded(lay.P), dtype == torch.float64
    if BM <= (32 if double else 64):
        return Config("lane", BM, min(8, max(1, BM * BM * (2 if double else 1) // SYNAPSES)))
    return Config("stream", max(1, 2048 // BM), 8)


def settle(config: Config | None, lay: Layout, n_fits: int, dtype: torch.dtype) -> Config:
    """The configuration to use: the rule's, or a given one that is possible at all."""
    check_fits(n_fits)
    if config is None:
        return choose(lay, dtype)
    check_launching("triton", config)
    if config.kernel == "lane" and config.sources != padded(lay.P):
        raise KernelError(f"config.sources = {config.sources} must be all {padded(lay.P)} for kernel 'lane', with padding; or take kernel 'stream'")
    return config


def _sizes(lay: Layout, config: Config) -> dict[str, Any]:
    """Compile-time arguments of the kernels with unfolds. The number of these is none."""
    return dict(lay=lay._replace(unfolds=0), BM=padded(lay.P), BJ=config.sources, CHUNKED=config.kernel == "stream", warps=config.warps)


def _block(lay: Layout, n_sources: int, dtype: torch.dtype) -> int:
    """Sources at once in the kernels without recurrence."""
    return min(padded(n_sources), max(1, (1024 if dtype == torch.float64 else 2048) // padded(lay.P)))


def _split(N: int) -> tuple[int, int]:
    """Packed rows of a program, and programs: of N alone."""
    per_split = triton.cdiv(N, SPLITS)
    return per_split, triton.cdiv(N, per_split)


def fixed_currents(flat: Tensor, lay: Layout, u: Tensor) -> Tensor:
    """[F, N, 2, M], or [F, 1, 2, M] without inputs: pull and leak of what does not change within a step."""
    F, N = u.shape[:2]
    N = N if lay.K else 1
    per_split, splits = _split(N)
    fixed = torch.empty((F, N, 2, lay.M), dtype=flat.dtype, device=flat.device)
    BJ = _block(lay, lay.K, flat.dtype)
    launch(fixed_kernel, (splits, F), flat, u, fixed, N, per_split, triton.cdiv(lay.K, BJ), lay=lay._replace(unfolds=0), BM=padded(lay.P), BJ=BJ, warps=4)
    return fixed


def forward(
    flat: Tensor, lay: Layout, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor, dt: Tensor, rows: Tensor, out: Tensor, *, config: Config | None = None
) -> None:
    """Fills out[first + t] = z[t+1], the unforced predictions."""
    F, B, _ = z0.shape
    config = settle(config, lay, F, out.dtype)
    fixed, share = fixed_currents(flat, lay, u), lay.unfolds / dt
    counts = B, out.shape[1], fixed.shape[1], share.shape[1], lay.unfolds, triton.cdiv(lay.M, config.sources)
    launch(forward_kernel, (B, F), flat, z0, target, weight, fixed, share, rows, out, *counts, **_sizes(lay, config))


def backward(
    flat: Tensor, lay: Layout, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor, dt: Tensor, rows: Tensor, out: Tensor, gout: Tensor, *,
    config: Config | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The reverse of ``forward``: gradients of flat, z0, target and u. Packed rows that no sequence covers get zeros."""
    F, B, M = z0.shape
    N, device = out.shape[1], out.device
    config = settle(config, lay, F, out.dtype)
    fixed, share = fixed_currents(flat, lay, u), lay.unfolds / dt
    n_share, chunks, sizes = share.shape[1], triton.cdiv(M, config.sources), _sizes(lay, config)
    per_split, splits = _split(N)
    states, below, pulls = (torch.empty((F, N, lay.unfolds, M), dtype=out.dtype, device=device) for _ in range(3))
    zt = forced_states(z0, target, weight, rows, out)
    counts = N, fixed.shape[1], n_share, lay.unfolds, per_split, chunks
    launch(unfolds_kernel, (splits, F), flat, zt, fixed, share, states, below, *counts, **sizes)
    gz0, gtarget, gu = torch.empty_like(z0), torch.zeros_like(out), torch.zeros_like(u)
    launch(adjoint_kernel, (B, F), flat, weight, share, rows, out, gout, states, below, pulls, gz0, gtarget, B, N, n_share, lay.unfolds, chunks, **sizes)

    covered = covered_rows(rows, N)
    partial = torch.empty((F, splits, lay.size), dtype=out.dtype, device=device)
    shape: dict[str, Any] = dict(lay=lay._replace(unfolds=0), BM=padded(lay.P), warps=8)
    BJ = _block(lay, M, out.dtype)
    counts = N, n_share, lay.unfolds, per_split
    launch(unit_gradient_kernel, (splits, triton.cdiv(M, BJ), F), flat, out, states, pulls, share, covered, partial, *counts, BJ=BJ, **shape)
    if lay.K > 0:
        BJ = _block(lay, lay.K, out.dtype)
        counts = N, lay.unfolds, per_split
        launch(input_gradient_kernel, (splits, triton.cdiv(lay.K, BJ), F), flat, u, out, states, pulls, covered, gu, partial, *counts, BJ=BJ, **shape)
    return partial.sum(1), gz0, gtarget, gu


def forced_states(z0: Tensor, target: Tensor, weight: Tensor, rows: Tensor, out: Tensor) -> Tensor:
    """What each step starts from [F, N, M]: the prediction before it, or its sequence's z0, pulled towards the target."""
    before = torch.cat([z0[:, :1], out[:, :-1]], 1)
    before[:, rows[:, 0]] = z0
    return torch.where(weight == 0, before, before + weight * (target - before))


def covered_rows(rows: Tensor, N: int) -> Tensor:
    """[N] int8, 1 at packed rows that a sequence covers."""
    ends = torch.zeros(N + 1, dtype=torch.int32, device=rows.device)
    one = torch.ones(len(rows), dtype=torch.int32, device=rows.device)
    ends.index_add_(0, rows[:, 0], one)
    ends.index_add_(0, rows.sum(1), -one)
    return (ends.cumsum(0)[:N] > 0).to(torch.int8)
