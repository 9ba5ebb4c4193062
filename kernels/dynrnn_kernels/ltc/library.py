"""The registered operators under the differentiable one: shapes for torch.compile, batching for vmap, and the table of who computes.

They carry no gradient of their own (``operator.py`` has it); all tensors are packed as ``cpu.forward`` says. ``layout`` is a Layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.library import Library

from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.ltc import cpu
from dynrnn_kernels.ltc.layout import Layout

ARGUMENTS = "Tensor flat, Tensor z0, Tensor target, Tensor weight, Tensor u, Tensor dt, Tensor rows"
OPTIONS = "int[] layout, str backend"
ROWS_AT = 6

_library = Library("dynrnn", "FRAGMENT")
_library.define(f"ltc_forward({ARGUMENTS}, {OPTIONS}) -> Tensor")
_library.define(f"ltc_backward({ARGUMENTS}, Tensor out, Tensor gout, bool keep_gtarget, {OPTIONS}) -> (Tensor, Tensor, Tensor, Tensor)")
forward: Any = torch.ops.dynrnn.ltc_forward
backward: Any = torch.ops.dynrnn.ltc_backward


class Backend(NamedTuple):
    """Who computes, on contiguous tensors [F, ...] packed as ``cpu.forward`` says.

    forward : (flat, z0, target, weight, u, dt, rows, layout, out) fills out.
    backward : (flat, z0, target, weight, u, dt, rows, out, gout, keep_gtarget, layout) -> gradients of flat, z0, target (empty, [F, 0, 0], unless
        kept) and u.
    """

    forward: Callable[..., None]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]


def _arrays(*tensors: Tensor) -> list:
    return [x.detach().numpy() for x in tensors]


def _cpu_forward(*args: Any) -> None:
    *tensors, layout, out = args
    flat, *arrays = _arrays(*tensors, out)
    cpu.forward(flat, Layout._make(layout), *arrays)


def _cpu_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *tensors, keep_gtarget, layout = args
    flat, z0, target, _, u = tensors[:5]
    grad, gz0, gu = (torch.zeros_like(x) for x in (flat, z0, u))
    gtarget = target.new_zeros(target.shape if keep_gtarget else (len(target), 0, 0))
    arrays = _arrays(*tensors, gz0, gtarget, gu, grad)
    cpu.backward(arrays[0], Layout._make(layout), *arrays[1:])
    return grad, gz0, gtarget, gu


COMPUTE = {"cpu": Backend(_cpu_forward, _cpu_backward)}


def backends() -> tuple[str, ...]:
    """Names of all that compute, the reference first."""
    return "reference", *COMPUTE


def _of(backend: str) -> Backend:
    if backend not in COMPUTE:
        raise KernelError(f"backend must be one of {tuple(COMPUTE)} for a compiled kernel, got {backend!r}")
    return COMPUTE[backend]


def _forward(*args: Any) -> Tensor:
    *tensors, layout, backend = args
    given = [x.contiguous() for x in tensors]
    out = torch.empty_like(given[2])
    _of(backend).forward(*given, layout, out)
    return out


def _backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *tensors, keep_gtarget, layout, backend = args
    return _of(backend).backward(*(x.contiguous() for x in tensors), keep_gtarget, layout)


for _device in ("CPU", "CUDA"):
    _library.impl("ltc_forward", _forward, _device)
    _library.impl("ltc_backward", _backward, _device)


@torch.library.register_fake("dynrnn::ltc_forward")
def _(*args: Any) -> Tensor:
    return args[2].new_empty(args[2].shape)


@torch.library.register_fake("dynrnn::ltc_backward")
def _(*args: Any) -> tuple[Tensor, ...]:
    shapes = [args[i].shape for i in (0, 1, 2, 4)]
    if not args[9]:                                                             # keep_gtarget
        shapes[2] = (shapes[2][0], 0, 0)
    return tuple(args[0].new_empty(shape) for shape in shapes)


def _fold(dims: tuple, size: int, tensors: tuple) -> list[Tensor]:
    """A batch dim becomes part of the fit dim: maps, states and sequences all have one. ``rows`` is shared."""
    folded = []
    for i, (dim, x) in enumerate(zip(dims, tensors, strict=True)):
        if i == ROWS_AT:
            if dim is not None:
                raise KernelError("lengths cannot differ along a dimension that vmap maps over; call the operator once for each")
            folded.append(x)
            continue
        batched = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
        folded.append(batched.reshape(size * batched.shape[1], *batched.shape[2:]))
    return folded


def _forward_batched(info: Any, dims: tuple, *args: Any) -> tuple[Tensor, int]:
    out = forward(*_fold(dims[:7], info.batch_size, args[:7]), *args[7:])
    return out.reshape(info.batch_size, -1, *out.shape[1:]), 0


def _backward_batched(info: Any, dims: tuple, *args: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    outs = backward(*_fold(dims[:9], info.batch_size, args[:9]), *args[9:])
    return tuple(x.reshape(info.batch_size, len(x) // info.batch_size, *x.shape[1:]) for x in outs), (0, 0, 0, 0)


torch.library.register_vmap("dynrnn::ltc_forward", _forward_batched)
torch.library.register_vmap("dynrnn::ltc_backward", _backward_batched)
