"""What the registered operators of all recurrences share: shapes for torch.compile, batching for vmap, one derivative and no second.

An operator ``forward`` takes tensors (flat, z0, target, weight, u, ...), then options; ``backward`` the same tensors, out, gout and whether the target's
gradient is kept, then the options. It returns the gradients of flat, z0, target (empty, [F, 0, 0], unless kept) and u. All tensors have the fit first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor
from torch.library import Library

from dynrnn_kernels.errors import KernelError

library = Library("dynrnn", "DEF")
Operator = Callable[..., Any]


def register(name: str, tensors: tuple[str, ...], options: str, shared: Collection[str], forward: Operator, backward: Operator) -> tuple[Any, Any]:
    """Operators dynrnn::<name>_forward and dynrnn::<name>_backward, which call ``forward`` and ``backward`` on contiguous tensors.

    tensors : names of the tensors, in order; those in ``shared`` have no fit axis and are the same for all of a vmap.
    """
    n = len(tensors)
    arguments = ", ".join(f"Tensor {one}" for one in tensors)
    library.define(f"{name}_forward({arguments}, {options}) -> Tensor")
    library.define(f"{name}_backward({arguments}, Tensor out, Tensor gout, bool keep_gtarget, {options}) -> (Tensor, Tensor, Tensor, Tensor)")
    there, back = (getattr(torch.ops.dynrnn, f"{name}_{way}") for way in ("forward", "backward"))

    def run_forward(*args: Any) -> Tensor:
        return forward(*(x.contiguous() for x in args[:n]), *args[n:])

    def run_backward(*args: Any) -> tuple[Tensor, ...]:
        return backward(*(x.contiguous() for x in args[: n + 2]), *args[n + 2 :])

    def fake_forward(*args: Any) -> Tensor:
        return args[2].new_empty(args[2].shape)

    def fake_backward(*args: Any) -> tuple[Tensor, ...]:
        shapes = [args[i].shape for i in (0, 1, 2, 4)]
        if not args[n + 2]:                                                     # keep_gtarget
            shapes[2] = (shapes[2][0], 0, 0)
        return tuple(args[0].new_empty(shape) for shape in shapes)

    def fold(dims: tuple, size: int, given: tuple) -> list[Tensor]:
        """A batch dim becomes part of the fit dim: maps, states and sequences all have one."""
        folded = []
        for i, (dim, x) in enumerate(zip(dims, given, strict=True)):
            if i < n and tensors[i] in shared:
                if dim is not None:
                    raise KernelError("lengths and places of values cannot differ along a dimension that vmap maps over; call the operator once for each")
                folded.append(x)
                continue
            batched = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
            folded.append(batched.reshape(size * batched.shape[1], *batched.shape[2:]))
        return folded

    def batched_forward(info: Any, dims: tuple, *args: Any) -> tuple[Tensor, int]:
        out = there(*fold(dims[:n], info.batch_size, args[:n]), *args[n:])
        return out.reshape(info.batch_size, -1, *out.shape[1:]), 0

    def batched_backward(info: Any, dims: tuple, *args: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        outs = back(*fold(dims[: n + 2], info.batch_size, args[: n + 2]), *args[n + 2 :])
        return tuple(x.reshape(info.batch_size, len(x) // info.batch_size, *x.shape[1:]) for x in outs), (0, 0, 0, 0)

    ways = {"forward": (run_forward, fake_forward, batched_forward), "backward": (run_backward, fake_backward, batched_backward)}
    for way, (run, fake, batched) in ways.items():
        for device in ("CPU", "CUDA"):
            library.impl(f"{name}_{way}", run, device)
        torch.library.register_fake(f"dynrnn::{name}_{way}", fake)
        torch.library.register_vmap(f"dynrnn::{name}_{way}", batched)
    return there, back


def once(reverse: Operator) -> Operator:
    """``reverse`` as a function of its own, so that a derivative of it raises: torch's once_differentiable gives zeros inside torch.func."""

    class Gradient(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*args: Any) -> tuple[Tensor, ...]:
            return reverse(*args)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple:
            raise KernelError("forced_sequence is differentiable once; for second derivatives use backend='reference'")

    return Gradient.apply


def narrow(weight: Tensor, target: Tensor) -> Tensor:
    """The weight packed as [F, 1 or N, 1 or M]: what is the same everywhere is not written out."""
    given = weight.reshape((1,) * (target.ndim - weight.ndim) + weight.shape)
    F, *between, _ = target.shape
    kept = [1] * len(between) if all(n == 1 for n in given.shape[1:-1]) else between
    return given.expand(F, *kept, given.shape[-1]).reshape(F, -1, given.shape[-1])
