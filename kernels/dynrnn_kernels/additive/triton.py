"""The additive recurrence on a CUDA device: chooses and launches the Triton kernels.

Tensors as in cpu.py, all contiguous, float32 or float64: flat [F, size], z0 [F, B, M], target, weight and out [F, N, M], u [F, N, K], and
rows [B, 2] the first sample and length of each sequence, at least 1. README.md in this folder has the derivation of the reverse pass.
Three kernels share one source (triton_steps.py): ``lane`` has one sequence a program and its weights in registers; ``tile`` has a block of
sequences and multiplies with tl.dot; ``stream`` is either, with weights loaded again at each step. Sums have a fixed order, no atomics: two
runs give the same bits. But the kernel depends on the numbers of sequences and fits, so a fit in other company may differ in rounding.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import triton
from torch import Tensor

from dynrnn_kernels.additive.config import Config, check_config, check_fits, check_precision
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.additive.map import PHI_KINDS, W2_KINDS
from dynrnn_kernels.additive.triton_gradient import hidden_gradient_kernel, input_gradient_kernel, latent_gradient_kernel
from dynrnn_kernels.additive.triton_norms import norm_kernel
from dynrnn_kernels.additive.triton_steps import adjoint_kernel, forward_kernel
from dynrnn_kernels.errors import KernelError

PROCESSORS, FLOPS_PER_MICROSECOND = 132, 455_000                                 # of the card; of one of them in float32, with sums in registers
SPLITS = 128                                                                    # of the packed rows, each with its own partial gradients
DENSE, TANH = W2_KINDS.index("dense"), PHI_KINDS.index("tanh")


def padded(n: int, least: int = 1) -> int:
    return max(least, triton.next_power_of_2(max(n, 1)))


def positions(lay: Layout) -> int:
    """Length of the hidden axis: unless W2 is dense it lies over the latent one."""
    return max(lay.H, 1) if lay.w2 == DENSE else lay.M


def choose(lay: Layout, n_sequences: int, n_fits: int, dtype: torch.dtype, precision: str = "ieee") -> Config:
    """The configuration for a size, found by compiling: the ones below need no stack and at most 255 registers on compute capability 9.0,
    but for float64 with a dense A, inputs, M > 32 and a tanh or bases, where a thread spills up to some 200 bytes.

    One sequence a program as long as that keeps all multiprocessors of a large card within about a microsecond a step; beyond, a block
    of 16 sequences, in float32. float64 stays with one sequence. ``precision`` is the least: one sequence a program is always exact.
    """
    check_precision(precision)
    double = dtype == torch.float64
    M, H, wide = padded(lay.M), positions(lay), padded(positions(lay))
    most = 64 if double else 128
    if lay.M > most:
        raise KernelError(f"M = {lay.M} latent units do not fit the registers in {dtype}; at most {most} do, or use another backend")
    if lay.w2 != DENSE and lay.M > 64:
        raise KernelError(f"M = {lay.M} latent units do not fit the registers with w2 = {W2_KINDS[lay.w2]!r}; at most 64 do, or a dense W2 with M <= {most}")
    flops = -(-n_sequences * n_fits // PROCESSORS) * 4 * lay.M * H
    if flops > FLOPS_PER_MICROSECOND and not double and M <= (32 if precision == "tf32x3" else 64):
        M = max(M, 16)
        if lay.w2 != DENSE or M * wide <= (4096 if precision == "tf32" and M <= 32 else 2048):
            return Config("tile", 16, M if lay.w2 != DENSE else max(wide, 16), 8)
        return Config("stream", 16, 32, 8)
    heavy = lay.phi == TANH or lay.n_bases > 0                                  # exponentials and sums of bases want registers of their own
    numbers = M * wide * ((4 if double and lay.n_bases else 2) if heavy else 1)
    thread = 512 if double else 1024                                            # numbers of a tile that a warp holds
    warps = min(8, max(1, numbers // thread, M * M // thread if lay.A >= 0 else 1))
    if lay.w2 != DENSE or numbers <= (4096 if double else 8192):
        return Config("lane", 1, wide, warps)
    if numbers <= 16384 and wide <= 512 and M <= 32 and not double:
        return Config("lane", 1, wide, 16)
    return Config("stream", 1, (1024 if double and heavy else 2048) // M, 8)


def settle(config: Config | None, lay: Layout, n_sequences: int, n_fits: int, dtype: torch.dtype, precision: str) -> Config:
    """The configuration to use: the rule's, or a given one that is possible at all."""
    check_fits(n_fits)
    if config is None:
        return choose(lay, n_sequences, n_fits, dtype, precision)
    check_precision(precision)
    check_config(config)
    if config.hidden < positions(lay) and (config.kernel != "stream" or lay.w2 != DENSE):
        raise KernelError(f"config.hidden = {config.hidden} must cover all {positions(lay)} hidden positions, but for kernel 'stream' and a dense W2")
    return config


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, warps: int, **constants: Any) -> None:
    """Fused multiply-adds are asked for, since their default is about to change; and all registers that a thread may have, since the
    compiler else spills a few for the sake of a second program beside the first."""
    device = arguments[0].device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        kernel[grid](*arguments, **constants, num_warps=warps, enable_fp_fusion=True, maxnreg=min(255, 2048 // warps))


def recurrent(lay: Layout, config: Config, precision: str) -> dict[str, Any]:
    """Compile-time arguments of the recurrent kernels."""
    least = 1 if config.rows == 1 else 16
    return dict(
        lay=lay, ROWS=config.rows, BM=padded(lay.M, least), BH=config.hidden, CHUNKED=config.kernel == "stream", PRECISION=precision, warps=config.warps
    )


def forward(
    flat: Tensor, lay: Layout, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor, rows: Tensor, out: Tensor, *,
    precision: str = "ieee", config: Config | None = None,
) -> None:
    """Fills out[first + t] = z[t+1], the unforced predictions."""
    F, B, _ = z0.shape
    config = settle(config, lay, B, F, out.dtype, precision)
    chunks = triton.cdiv(positions(lay), config.hidden)
    grid = (triton.cdiv(B, config.rows), F)
    launch(forward_kernel, grid, flat, z0, target, weight, u, rows, out, B, out.shape[1], chunks, **recurrent(lay, config, precision))


def adjoint(
    flat: Tensor, lay: Layout, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor, rows: Tensor, out: Tensor, gout: Tensor,
    G: Tensor, zt: Tensor, gz0: Tensor, gtarget: Tensor, covered: Tensor, *, precision: str = "ieee", config: Config | None = None,
) -> None:
    """Fills G, the forced states zt, gz0 and gtarget at packed rows that a sequence covers, and marks these in ``covered`` [N] int8."""
    F, B, _ = z0.shape
    config = settle(config, lay, B, F, out.dtype, precision)
    chunks = triton.cdiv(positions(lay), config.hidden)
    grid = (triton.cdiv(B, config.rows), F)
    arguments = (flat, z0, target, weight, u, rows, out, gout, G, zt, gz0, gtarget, covered, B, out.shape[1], chunks)
    launch(adjoint_kernel, grid, *arguments, **recurrent(lay, config, precision))


def backward(
    flat: Tensor, lay: Layout, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor, rows: Tensor, out: Tensor, gout: Tensor, *,
    precision: str = "ieee", config: Config | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The reverse of ``forward``: gradients of flat, z0, target and u. Packed rows that no sequence covers get zeros."""
    F, _, M = z0.shape
    N = out.shape[1]
    G, zt, gz0 = torch.empty_like(out), torch.empty_like(out), torch.empty_like(z0)
    gtarget, gu = torch.zeros_like(out), torch.zeros_like(u)
    covered = torch.zeros(N, dtype=torch.int8, device=out.device)
    adjoint(flat, lay, z0, target, weight, u, rows, out, gout, G, zt, gz0, gtarget, covered, precision=precision, config=config)
    grad = map_gradient(flat, lay, zt, G, u, covered)
    if lay.K > 0:
        BH = gradient_block(lay, flat.dtype)
        sizes: dict[str, Any] = dict(lay=lay, ROWS=16, BM=padded(M), BH=BH, BK=padded(lay.K), warps=8)
        launch(input_gradient_kernel, (triton.cdiv(N, 16), F), flat, zt, G, u, covered, gu, N, triton.cdiv(lay.H, BH), **sizes)
    return grad, gz0, gtarget, gu


def gradient_block(lay: Layout, dtype: torch.dtype) -> int:
    """Hidden columns at once in the kernels without recurrence: their tiles have as many rows, and the latent, input and basis axes as columns."""
    numbers = 2048 // (2 if dtype == torch.float64 else 1) // (2 if lay.n_bases else 1)
    return min(padded(lay.H), max(8, numbers // padded(max(lay.M, lay.K, lay.n_bases))))


def empty_partials(lay: Layout, F: int, N: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Room for ``partial_gradients``: [F, splits, size] and, for slopes, [F, splits * blocks of hidden columns, n_bases]. Splits depend on N alone."""
    splits, blocks = triton.cdiv(N, rows_of_split(N)), triton.cdiv(lay.H, gradient_block(lay, dtype))
    return (
        torch.empty((F, splits, lay.size), dtype=dtype, device=device),
        torch.empty((F, splits * blocks, lay.n_bases), dtype=dtype, device=device),
    )


def rows_of_split(N: int) -> int:
    return max(16, triton.cdiv(N, SPLITS))


def partial_gradients(flat: Tensor, lay: Layout, zt: Tensor, G: Tensor, u: Tensor, covered: Tensor, partial: Tensor, slopes: Tensor) -> None:
    """The gradient of flat from forced states and adjoints [F, N, M], in parts whose sums over axis 1 are wanted. The slopes' own entries of
    ``partial`` are left as they are."""
    F, N, M = zt.shape
    BM, BH, BK = padded(M), gradient_block(lay, flat.dtype), padded(lay.K)
    per_split, splits = rows_of_split(N), partial.shape[1]
    launch(latent_gradient_kernel, (splits, F), zt, G, u, covered, partial, N, per_split, lay=lay, BM=BM, BK=BK, warps=8)
    if lay.H > 0:
        sizes: dict[str, Any] = dict(lay=lay, BM=BM, BH=BH, BK=BK, BASES=padded(lay.n_bases), warps=8)
        grid = (splits, triton.cdiv(lay.H, BH), F)
        launch(hidden_gradient_kernel, grid, flat, zt, G, u, covered, partial, slopes, N, per_split, **sizes)


def map_gradient(flat: Tensor, lay: Layout, zt: Tensor, G: Tensor, u: Tensor, covered: Tensor) -> Tensor:
    """The gradient of flat from forced states and adjoints [F, N, M]. How rows are split depends on N alone."""
    partial, slopes = empty_partials(lay, zt.shape[0], zt.shape[1], flat.dtype, flat.device)
    partial_gradients(flat, lay, zt, G, u, covered, partial, slopes)
    grad = partial.sum(1)
    if lay.slope >= 0:
        grad[:, lay.slope : lay.slope + lay.n_bases] = slopes.sum(1)            # summed over hidden columns too
    return grad


def first_vector(M: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Where the power iteration starts: of no symmetry, since it must not be orthogonal to the vector that it looks for."""
    return torch.cos(2.4 * torch.arange(1, M + 1, dtype=torch.float64) ** 1.5).to(device, dtype)


def spectral_norms(flat: Tensor, lay: Layout, states: Tensor, u: Tensor, n_iterations: int = 30) -> Tensor:
    """||J||_2 at states [F, R, M] with inputs u [F, R, K], as [F, R], from below: the relative error of the square is at most
    tan(angle of the first vector to the right one)^2 * (second / first singular value)^(4 (n_iterations - 1))."""
    F, R, M = states.shape
    check_fits(F)
    out = torch.empty((F, R), dtype=states.dtype, device=states.device)
    config = choose(lay, 1, 1, states.dtype)
    start = first_vector(M, states.dtype, states.device)
    chunked = config.kernel == "stream"
    BH = max(8, config.hidden // 2) if chunked else config.hidden               # both products wait for the same weights here
    sizes: dict[str, Any] = dict(lay=lay, BM=padded(M), BH=BH, CHUNKED=chunked, warps=config.warps)
    launch(norm_kernel, (R, F), flat, states, u, start, out, R, n_iterations, triton.cdiv(positions(lay), BH), **sizes)
    return out
