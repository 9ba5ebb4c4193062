"""The registered operators under the differentiable one: shapes for torch.compile, batching for vmap, and the table of who computes.

They carry no gradient of their own (``operator.py`` has it); all tensors are packed as ``cpu.forward`` says. ``layout`` is a Layout without its
pattern, which comes as a tensor; only the CPU reads that. ``config`` is a Config, its kernel as a number, or empty for the rule's choice.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.library import Library

from dynrnn_kernels.additive import cpu
from dynrnn_kernels.additive.config import KERNELS, Config
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.errors import KernelError

ARGUMENTS = "Tensor flat, Tensor z0, Tensor target, Tensor weight, Tensor u, Tensor rows, Tensor pattern"
OPTIONS = "int[] layout, str backend, str precision, int[] config"
ROWS_AT, PATTERN_AT = 5, 6

_library = Library("dynrnn", "DEF")
_library.define(f"additive_forward({ARGUMENTS}, {OPTIONS}) -> Tensor")
_library.define(f"additive_backward({ARGUMENTS}, Tensor out, Tensor gout, bool keep_gtarget, {OPTIONS}) -> (Tensor, Tensor, Tensor, Tensor)")
forward: Any = torch.ops.dynrnn.additive_forward
backward: Any = torch.ops.dynrnn.additive_backward


class Backend(NamedTuple):
    """Who computes, on contiguous tensors [F, ...] packed as ``cpu.forward`` says.

    forward : (flat, z0, target, weight, u, rows, pattern, layout, precision, config, out) fills out.
    backward : (flat, z0, target, weight, u, rows, pattern, out, gout, keep_gtarget, layout, precision, config) -> gradients of flat, z0, target
        (empty, [F, 0, 0], unless kept) and u.
    """

    forward: Callable[..., None]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]


def device_kernels() -> Any:
    """The Triton kernels, imported when they are first used."""
    return importlib.import_module("dynrnn_kernels.additive.triton")


def _arrays(*tensors: Tensor) -> list:
    return [x.detach().numpy() for x in tensors]


def _cpu_forward(*args: Any) -> None:
    *tensors, pattern, layout, _, _, out = args
    flat, *arrays = _arrays(*tensors, out)
    cpu.forward(flat, Layout._make([*layout, pattern.numpy()]), *arrays)


def _cpu_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *tensors, keep_gtarget, layout, _, _ = args
    pattern = tensors.pop(PATTERN_AT)
    flat, z0, target, _, u = tensors[:5]
    grad, gz0, gu = (torch.zeros_like(x) for x in (flat, z0, u))
    gtarget = target.new_zeros(target.shape if keep_gtarget else (len(target), 0, 0))
    arrays = _arrays(*tensors, gz0, gtarget, gu, grad)
    cpu.backward(arrays[0], Layout._make([*layout, pattern.numpy()]), *arrays[1:])
    return grad, gz0, gtarget, gu


def _launching(precision: str, config: list[int]) -> dict[str, Any]:
    return {"precision": precision, "config": Config(list(KERNELS)[config[0]], *config[1:]) if config else None}


def _triton_forward(*args: Any) -> None:
    flat, z0, target, weight, u, rows, _, layout, precision, config, out = args
    weight = weight.expand(target.shape).contiguous()
    device_kernels().forward(flat, Layout._make([*layout, None]), z0, target, weight, u, rows, out, **_launching(precision, config))


def _triton_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    flat, z0, target, weight, u, rows, _, out, gout, keep_gtarget, layout, precision, config = args
    given = z0, target, weight.expand(target.shape).contiguous(), u, rows, out, gout
    grad, gz0, gtarget, gu = device_kernels().backward(flat, Layout._make([*layout, None]), *given, **_launching(precision, config))
    return grad, gz0, gtarget if keep_gtarget else gtarget.new_empty((len(gtarget), 0, 0)), gu


COMPUTE = {"cpu": Backend(_cpu_forward, _cpu_backward), "triton": Backend(_triton_forward, _triton_backward)}


def backends() -> tuple[str, ...]:
    """Names of all that compute, the reference first."""
    return "reference", *COMPUTE


def _of(backend: str) -> Backend:
    if backend not in COMPUTE:
        raise KernelError(f"backend must be one of {tuple(COMPUTE)} for a compiled kernel, got {backend!r}")
    return COMPUTE[backend]


def _forward(*args: Any) -> Tensor:
    *tensors, layout, backend, precision, config = args
    given = [x.contiguous() for x in tensors]
    out = torch.empty_like(given[2])
    _of(backend).forward(*given, layout, precision, config, out)
    return out


def _backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *tensors, keep_gtarget, layout, backend, precision, config = args
    return _of(backend).backward(*(x.contiguous() for x in tensors), keep_gtarget, layout, precision, config)


for _device in ("CPU", "CUDA"):
    _library.impl("additive_forward", _forward, _device)
    _library.impl("additive_backward", _backward, _device)


@torch.library.register_fake("dynrnn::additive_forward")
def _(*args: Any) -> Tensor:
    return args[2].new_empty(args[2].shape)


@torch.library.register_fake("dynrnn::additive_backward")
def _(*args: Any) -> tuple[Tensor, ...]:
    shapes = [args[i].shape for i in (0, 1, 2, 4)]
    if not args[9]:                                                             # keep_gtarget
        shapes[2] = (shapes[2][0], 0, 0)
    return tuple(args[0].new_empty(shape) for shape in shapes)


def _fold(dims: tuple, size: int, tensors: tuple) -> list[Tensor]:
    """A batch dim becomes part of the fit dim: maps, states and sequences all have one. ``rows`` and ``pattern`` are shared."""
    folded = []
    for i, (dim, x) in enumerate(zip(dims, tensors, strict=True)):
        if i in (ROWS_AT, PATTERN_AT):
            if dim is not None:
                raise KernelError("lengths and places of values cannot differ along a dimension that vmap maps over; call the operator once for each")
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


torch.library.register_vmap("dynrnn::additive_forward", _forward_batched)
torch.library.register_vmap("dynrnn::additive_backward", _backward_batched)
