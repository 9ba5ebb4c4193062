"""The forced sequence once more, with a gradient that is accumulated forwards."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.backends import choose_backend
from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.influence import cpu
from dynrnn_kernels.influence.algorithms import Algorithm, algorithm_of
from dynrnn_kernels.influence.cpu_step import DIAGONAL, FULL, LEAK
from dynrnn_kernels.influence.rules import rule_of
from dynrnn_kernels.influence.terms import split, terms
from dynrnn_kernels.recurrences import Map, forced_sequence

PARTS = {"rtrl": FULL, "truncated": FULL, "diagonal": DIAGONAL, "e-prop": DIAGONAL, "rflo": LEAK}


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, options: tuple, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor | None, *tensors: Tensor) -> Tensor:
        map, ctx.algorithm, ctx.backend, ctx.rng = options
        ctx.map = map.with_tensors({name: x.detach() for name, x in zip(map.tensors(), tensors, strict=True)})
        z = forced_sequence(ctx.map, z0.detach(), target.detach(), weight.detach(), u, backend=ctx.backend)
        ctx.save_for_backward(z0, z, target, weight, u)
        return z

    @staticmethod
    def backward(ctx: Any, gout: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        if any(ctx.needs_input_grad[2:5]):
            raise KernelError("a gradient that is accumulated forwards has no part by target, weight or u: detach them, or use forced_sequence")
        z0, z, target, weight, u = ctx.saved_tensors
        if isinstance(ctx.map, AdditiveMap) and ctx.algorithm.compiled and ctx.backend != "reference":
            backend = choose_backend(z0.device, ctx.backend)
            wanted = [name for name, needed in zip(ctx.map.tensors(), ctx.needs_input_grad[5:]) if needed]
            numbers, first = _by_kernel(backend, ctx.map, ctx.algorithm, z0, z, target, weight, u, gout, wanted)
        else:
            numbers, first = _by_rule(ctx.map, ctx.algorithm, ctx.rng, z0, z, target, weight, u, gout)
        return None, first, None, None, None, *numbers


def forward_sequence(
    map: Map, z0: Tensor, target: Tensor, weight: Tensor | float, u: Tensor | None = None, *, algorithm: str | Algorithm = "rtrl", backend: str | None = None,
    rng: torch.Generator | None = None,
) -> Tensor:
    """``forced_sequence`` whose gradient by the map's tensors and z0 comes from ``algorithm``; with ``rtrl`` it is the same to rounding.

    z0 [F, B, M], target [F, B, T, M], u [F, B, T, K] or None; weight a number or broadcastable to target. backend ``reference`` is automatic derivatives
    in torch throughout, of any map; ``cpu`` (in float64 throughout) and ``triton`` (in the precision of z0, on its device) are compiled for additive maps and
    the algorithms in ``COMPILED``. rng is what uoro and kronecker draw from.
    Time O(F B T M^2 Q) for Q numbers of the map (backpropagation: O(F B T Q)); memory O(F B M Q), and the states.
    """
    chosen = algorithm_of(algorithm) if isinstance(algorithm, str) else algorithm
    weight = torch.as_tensor(weight, dtype=z0.dtype, device=z0.device)
    tensors = map.tensors()
    generator = torch.Generator().manual_seed(0) if rng is None else rng
    return _Sequence.apply((map, chosen, backend, generator), z0, target, weight, u, *tensors.values())


def device_influence() -> Any:
    """The Triton kernels, imported when they are first used."""
    return importlib.import_module("dynrnn_kernels.influence.triton")


def _by_kernel(
    backend: str, map: AdditiveMap, algorithm: Algorithm, z0: Tensor, z: Tensor, target: Tensor, weight: Tensor, u: Tensor | None, gout: Tensor,
    wanted: list[str],
) -> tuple[list[Tensor], Tensor]:
    """Of the map written out; back to its structures by their own derivative. Zero by tensors that are not wanted."""
    dtype = torch.float64 if backend == "cpu" else z0.dtype
    leaves = {name: x.detach().to(dtype).requires_grad_() for name, x in map.tensors().items()}
    with torch.enable_grad():
        written = map.with_tensors(leaves).written_out()
        flat = pack(written)
    drive = z.new_zeros(*z.shape[:3], 0) if u is None else u.expand(*z.shape[:3], -1)
    unread = torch.where(weight == 0, torch.zeros_like(target), target)         # a missing target may be NaN
    given = [x.detach().to(dtype).contiguous() for x in (flat, z0, z, unread, weight.expand_as(target), drive, gout)]
    options = {"how": PARTS[algorithm.name], "reset": algorithm.n}
    if backend == "triton":
        grads = device_influence().gradients(layout_of(written), *given, **options, wanted=wanted)
    else:
        with one_blas_thread():
            grads = torch.from_numpy(cpu.gradients(layout_of(written), *(x.numpy() for x in given), **options, wanted=wanted))
    size = flat.shape[1]
    pulled = torch.autograd.grad(flat, list(leaves.values()), grads[..., :size].sum(1))
    return [g.to(x.dtype) for g, x in zip(pulled, map.tensors().values())], grads[..., size:].to(z0.dtype)


def _by_rule(
    map: Map, algorithm: Algorithm, rng: torch.Generator, z0: Tensor, z: Tensor, target: Tensor, weight: Tensor, u: Tensor | None, gout: Tensor
) -> tuple[list[Tensor], Tensor]:
    F, B, T, M = z.shape
    rule = rule_of(algorithm, map, B, rng)
    weight = weight.expand_as(target)
    unread = torch.where(weight == 0, torch.zeros_like(target), target)
    total: Tensor | None = None
    for t in range(T):
        before, kept = (z0 if t == 0 else z[:, :, t - 1]), 1 - weight[:, :, t]
        now = before + weight[:, :, t] * (unread[:, :, t] - before)
        drive = None if u is None else u[:, :, t].expand(F, B, -1)
        _, J, E = terms(map, now, drive)
        rule.advance(map, J * kept[:, :, None], E, now, kept, drive)
        here = rule.gradient(gout[:, :, t])
        total = here if total is None else total + here
    if total is None:
        return [torch.zeros_like(x) for x in map.tensors().values()], torch.zeros_like(z0)
    numbers = split(total[..., :-M].sum(1), map)
    return list(numbers.values()), total[..., -M:]
