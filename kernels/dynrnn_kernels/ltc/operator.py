"""The forced sequence as one differentiable operator: what callers use, whatever computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dynrnn_kernels.backends import choose_backend
from dynrnn_kernels.checks import check_sequence
from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.ltc import library, reference
from dynrnn_kernels.ltc.checks import elapsed
from dynrnn_kernels.ltc.config import KERNELS, Config, check_launching
from dynrnn_kernels.ltc.layout import layout_of, pack
from dynrnn_kernels.ltc.map import LTCMap
from dynrnn_kernels.operators import narrow, once

_once = once(library.backward)


class _ForcedSequence(torch.autograd.Function):
    """torch.func's transforms and torch.compile take this form: a plain registered operator inside, ``setup_context`` outside, no ``jvp``
    (without one forward mode raises, and torch.compile refuses functions that have one)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(flat, z0, target, weight, u, dt, rows, layout, backend, config) -> Tensor:
        """One by one: torch.compile counts the arguments to see that the first is no context."""
        return library.forward(flat, z0, target, weight, u, dt, rows, layout, backend, config)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.layout, ctx.backend, ctx.config = inputs
        ctx.save_for_backward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, gout: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        for at, name in ((3, "weight"), (5, "dt")):
            if ctx.needs_input_grad[at]:
                raise KernelError(f"forced_sequence has no derivative by {name}; detach the {name}, or use backend='reference', which has it")
        # torch.compile cannot trace one function inside another, and refuses second derivatives by itself
        reverse = library.backward if torch.compiler.is_compiling() else _once
        wanted = ctx.needs_input_grad[2]                                            # the one gradient as large as the states
        grad, gz0, gtarget, gu = reverse(*ctx.saved_tensors, gout, wanted, ctx.layout, ctx.backend, ctx.config)
        return grad, gz0, gtarget if wanted else None, None, gu, *[None] * 5


def forced_sequence(
    map: LTCMap,
    z0: Tensor,
    target: Tensor,
    weight: Tensor | float,
    u: Tensor | None = None,
    *,
    dt: Tensor | float | None = None,
    lengths: Sequence[int] | Tensor | None = None,
    backend: str | None = None,
    config: Config | None = None,
) -> Tensor:
    """T steps of the map, each after a pull towards its target: ``z[t+1] = F(z[t] + weight[t] (target[t] - z[t]), u[t], dt[t])``.

    Parameters
    ----------
    map : F maps. z0 [F, B, M].
    target [F, B, T, M]; weight, a number or what is broadcastable to target; u [F, B, T, K], where u[t] acts in the step from t to t+1.
    dt : time that the step from t to t+1 takes, in the units of the map's ``cm / gleak``: a number, or a tensor of exactly three axes, [F, B, T] (with
        ``lengths`` two, [F, N]), any of them 1. By default the map's own. Above 0 and finite; tensors of fewer axes are refused, never guessed.
    lengths : for B sequences of unequal length that lie one after the other: target [F, N, M], weight broadcastable to it, u [F, N, K]
        with N the sum of ``lengths`` [B], each at least 1.
    backend : see ``choose_backend``. Compiled kernels have the semi-implicit solver alone: maps with another one run on ``reference`` whatever is named.
    config : how ``triton`` runs, in place of its own rule (``triton.choose``).

    Returns the predictions before forcing, z[1..T], in the shape of ``target``. Differentiable once in the map's tensors, z0, target and u,
    also under torch.func.grad, vmap and torch.compile; forward mode and second derivatives raise, and so does a derivative by weight or dt, which
    only ``reference`` has. An entry of weight zero is never read from ``target``. Raises KernelError, naming the argument, for what does not fit.

    Cost O(F B T unfolds M^2) exponentials, memory O(F B T M), on ``triton`` O(F B T unfolds M) while the reverse pass runs: unfolds are computed again there.
    """
    rows, target, weight, u = check_sequence(map, z0, target, weight, u, lengths)
    times = elapsed(map, dt, tuple(target.shape[:-1]), z0, "(fit, sample)" if lengths is not None else None)
    backend = choose_backend(z0.device, backend, library.backends())
    check_launching(backend, config)
    if map.solver != "semi-implicit":                                               # there are no kernels of it to choose from
        backend = "reference"
    shape = target.shape
    if target.numel() == 0:                                                         # no numbers, and zero as the gradient of everything
        return target + sum(x.sum() for x in (*map.tensors().values(), z0, *([] if u is None else [u])))
    if backend == "reference":
        return reference.forced_sequence(map, z0, target, weight, u, None if lengths is None else rows, times)
    F, B = z0.shape[:2]
    N, M = shape[-2] if lengths is not None else B * shape[2], shape[-1]
    if u is None or map.input_w is None or map.input_b is None:
        inputs = z0.new_zeros(F, N, 0)
    else:
        inputs = u.reshape(F, N, -1) * map.input_w[:, None] + map.input_b[:, None]
    packed = target.reshape(F, N, M), narrow(weight, target), inputs, narrow(times[..., None], target)[..., 0]
    numbers = [] if config is None else [KERNELS.index(config.kernel), *config[1:]]
    out = _ForcedSequence.apply(pack(map), z0, *packed, rows, list(layout_of(map)), backend, numbers)
    return out.reshape(shape)
