"""Gradients of forced windows by influence on a CUDA device: chooses and launches the Triton kernels. The contract is that of cpu.py.

Nothing is kept over time but S: kernels go through blocks of ``STEPS`` steps, J and what a step adds are those of one block.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
import triton
from torch import Tensor

from dynrnn_kernels.additive.config import check_fits
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.additive.map import W2_KINDS
from dynrnn_kernels.additive.triton import choose, launch, padded, positions
from dynrnn_kernels.influence.columns import TENSORS, sizes
from dynrnn_kernels.influence.triton_steps import influence_kernel, terms_kernel

STEPS = 64                   # of a block of time
DENSE = W2_KINDS.index("dense")


def table_of(lay: Layout, wanted: Collection[str] = TENSORS) -> Tensor:
    """For every column of S on the device, where it finds its x and its y, and its L: [3, Q]. Of the wanted tensors alone.

    Columns lie as the numbers in the flat vector, but that slopes have theirs once for each state; those of the first state lie behind them.
    """
    M, H, K, bases = lay.M, lay.H, lay.K, lay.n_bases
    z, u, phi = 1, 1 + M, 1 + M + K                                             # where parts of x begin
    rises, gains = phi + H, phi + H + H * bases
    units, hidden, inputs, own = (torch.arange(n) for n in (M, H, K, bases))
    of_state, slope = -1 - units, 2 + hidden
    every = {
        "a": (z + units, 0, of_state),
        "W1": (phi + hidden, 0, of_state[:, None]),
        "h1": (0, 0, of_state),
        "A": (z + units, 0, of_state[:, None]),
        "W2": (z + units, slope[:, None], hidden[:, None]),
        "h2": (0, slope + H, hidden),
        "C": (u + inputs, 0, of_state[:, None]),
        "D": (u + inputs, slope[:, None], hidden[:, None]),
        "slope": (gains + units[:, None] * bases + own, 0, of_state[:, None]),
        "threshold": (rises + hidden[:, None] * bases + own, 0, hidden[:, None]),
    }
    present = [parts for name, parts in every.items() if name in wanted and getattr(lay, name) >= 0]
    present.append((0, 1, of_state))                                            # the first state's: y[1] is 0, nothing is added
    rows = [torch.broadcast_tensors(*(torch.as_tensor(part) for part in parts)) for parts in present]
    return torch.cat([torch.stack([part.reshape(-1) for part in row]) for row in rows], 1).to(torch.int32).contiguous()


def of_numbers(grad: Tensor, lay: Layout, wanted: Collection[str]) -> Tensor:
    """Columns [F, B, Q] added up to the derivative by each number and by the first state, [F, B, size + M]."""
    out, end = grad.new_zeros(*grad.shape[:2], lay.size + lay.M), 0
    for name, n in sizes(lay).items():
        if name in wanted:
            copies = lay.M if name == "slope" else 1
            start, end = end, end + copies * n
            out[..., getattr(lay, name) :][..., :n] = grad[..., start:end].unflatten(-1, (copies, n)).sum(-2)
    out[..., lay.size :] = grad[..., end:]
    return out


def gradients(
    lay: Layout, flat: Tensor, z0: Tensor, z: Tensor, target: Tensor, weight: Tensor, u: Tensor, gout: Tensor, how: int, reset: int,
    wanted: Collection[str] = TENSORS,
) -> Tensor:
    """Of all sequences, [F, B, size + M]; contiguous, of one dtype and device. ``how``, ``reset`` and ``wanted`` as in cpu.py."""
    F, B, T, M = z.shape
    check_fits(max(F, B))
    wide, warps = hidden_of_block(lay, z.dtype), 8 if M > 32 or lay.n_bases else 4
    table = table_of(lay, wanted).to(z.device)
    Q, new = table.shape[1], lambda *shape: torch.empty(shape, dtype=z.dtype, device=z.device)
    NX, NY, block = 1 + M + lay.K + lay.H + (lay.H + M) * lay.n_bases, 2 + 2 * lay.H, min(STEPS, max(T, 1))
    J, x, y = new(F, B, block, M, M), new(F, B, block, NX), new(F, B, block, NY)
    S, grad = new(F, B, M, Q).zero_(), new(F, B, Q).zero_()
    S[..., Q - M :] = torch.eye(M, dtype=z.dtype, device=z.device)
    of_terms: dict[str, Any] = dict(lay=lay, HOW=how, BM=padded(M), BH=wide, BB=padded(lay.n_bases), NX=NX, NY=NY, warps=warps)
    chunks = triton.cdiv(positions(lay), wide)
    columns = columns_of_block(M, z.dtype)
    sizes: dict[str, Any] = dict(lay=lay, BM=padded(M), BQ=columns, NX=NX, NY=NY, UNROLLED=M <= 20, warps=1)
    for first in range(0, T, block):
        steps = min(block, T - first)
        launch(terms_kernel, (steps, B, F), flat, z0, z, target, weight, u, J, x, y, B, T, first, block, chunks, reset, **of_terms)
        launch(influence_kernel, (triton.cdiv(Q, columns), B, F), flat, table, J, x, y, gout, S, grad, B, T, Q, first, steps, block, **sizes)
    return of_numbers(grad, lay, wanted)


def hidden_of_block(lay: Layout, dtype: torch.dtype) -> int:
    """Hidden columns at once in the terms of a step, found by compiling; with bases in float64 the numbers of each column's own take most registers.
    KernelError for an M that is too large."""
    config = choose(lay, 1, 1, dtype)
    return config.hidden if lay.w2 != DENSE else min(config.hidden, 16 if lay.n_bases and dtype == torch.float64 else 2048 // padded(lay.M))


def columns_of_block(M: int, dtype: torch.dtype) -> int:
    """Columns of S in the registers of a program, a warp; found by compiling: more take all 255 of them and some of the stack."""
    return max(1, min(32, 512 * 4 // (padded(M) * dtype.itemsize)))
