"""The forced sequence as one differentiable operator: what callers use, whatever computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dynrnn_kernels.additive import library, reference
from dynrnn_kernels.additive.config import KERNELS, Config, check_launching
from dynrnn_kernels.additive.layout import layout_of, pack
from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.additive.pattern import pattern
from dynrnn_kernels.backends import choose_backend
from dynrnn_kernels.checks import check_sequence
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.operators import narrow, once

_once = once(library.backward)


class _ForcedSequence(torch.autograd.Function):
    """torch.func's transforms and torch.compile take this form: a plain registered operator inside, ``setup_context`` outside, no ``jvp``
    (without one forward mode raises, and torch.compile refuses functions that have one)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(flat, z0, target, weight, u, rows, pattern, layout, backend, precision, config) -> Tensor:
        """One by one: torch.compile counts the arguments to see that the first is no context."""
        return library.forward(flat, z0, target, weight, u, rows, pattern, layout, backend, precision, config)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.layout, ctx.backend, ctx.precision, ctx.config = inputs
        ctx.save_for_backward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, gout: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        if ctx.needs_input_grad[3]:
            raise KernelError("forced_sequence has no derivative by weight; detach the weight, or use backend='reference', which has it")
        # torch.compile cannot trace one function inside another, and refuses second derivatives by itself
        reverse = library.backward if torch.compiler.is_compiling() else _once
        wanted = ctx.needs_input_grad[2]                                            # the one gradient as large as the states
        grad, gz0, gtarget, gu = reverse(*ctx.saved_tensors, gout, wanted, ctx.layout, ctx.backend, ctx.precision, ctx.config)
        return grad, gz0, gtarget if wanted else None, None, gu, *[None] * 6


def forced_sequence(
    map: AdditiveMap,
    z0: Tensor,
    target: Tensor,
    weight: Tensor | float,
    u: Tensor | None = None,
    *,
    lengths: Sequence[int] | Tensor | None = None,
    backend: str | None = None,
    precision: str = "ieee",
    config: Config | None = None,
) -> Tensor:
    """T steps of the map, each after a pull towards its target: ``z[t+1] = F(z[t] + weight[t] (target[t] - z[t]), u[t])``.

    Parameters
    ----------
    map : F maps. z0 [F, B, M].
    target [F, B, T, M]; weight, a number or what is broadcastable to target; u [F, B, T, K], where u[t] acts in the step from t to t+1.
    lengths : for B sequences of unequal length that lie one after the other: target [F, N, M], weight broadcastable to it, u [F, N, K]
        with N the sum of ``lengths`` [B], each at least 1. No padding is computed on beyond the longest of eight neighbours.
    backend : see ``choose_backend``.
    precision : of products in float32 on backend ``triton``: ``ieee``, or on tensor cores ``tf32x3`` (to some 1e-6) or ``tf32`` (to 1e-3).
    config : how ``triton`` runs, in place of its own rule (``triton.choose``).

    Returns the predictions before forcing, z[1..T], in the shape of ``target``. Differentiable once in the map's tensors, z0, target and u,
    also under torch.func.grad, vmap and torch.compile; forward mode and second derivatives raise, and so does a derivative by weight, which
    only ``reference`` has. An entry of weight zero is never read from ``target``. Raises KernelError, naming the argument, for what does not
    fit; where torch.compile traces lengths that are a tensor, the graph raises RuntimeError when it runs.

    Cost O(F B T M H), memory O(F B T M), nothing of hidden size over time.
    """
    rows, target, weight, u = check_sequence(map, z0, target, weight, u, lengths)
    backend = choose_backend(z0.device, backend, library.backends())
    check_launching(backend, precision, config)
    shape = target.shape
    if target.numel() == 0:                                                         # no numbers, and zero as the gradient of everything
        return target + sum(x.sum() for x in (*map.tensors().values(), z0, *([] if u is None else [u])))
    if backend == "reference":
        return reference.forced_sequence(map, z0, target, weight, u, None if lengths is None else rows)
    F, B = z0.shape[:2]
    N, M = shape[-2] if lengths is not None else B * shape[2], shape[-1]
    inputs = z0.new_zeros(F, N, 0) if u is None else u.reshape(F, N, -1)
    packed = target.reshape(F, N, M), narrow(weight, target), inputs
    if backend == "triton":
        map = map.written_out()
    numbers = [] if config is None else [list(KERNELS).index(config.kernel), *config[1:]]
    out = _ForcedSequence.apply(pack(map), z0, *packed, rows, pattern(map), list(layout_of(map)[:-1]), backend, precision, numbers)
    return out.reshape(shape)
