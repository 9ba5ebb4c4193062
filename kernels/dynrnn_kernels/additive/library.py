"""The registered operators under the differentiable one: shapes for torch.compile, batching for vmap, and which backend computes.

They carry no gradient of their own (``operator.py`` has it); all tensors are packed as ``cpu.forward`` says. ``layout`` is a Layout without its
pattern, which comes as a tensor; only the CPU reads that.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

import torch
from torch import Tensor
from torch.library import Library

from dynrnn_kernels.additive import cpu
from dynrnn_kernels.additive.layout import Layout
from dynrnn_kernels.errors import KernelError

TRITON_INSTALLED = importlib.util.find_spec("triton") is not None               # looked for once: it costs as much as a small kernel
BACKENDS = ("reference", "cpu", "triton")
ARGUMENTS = "Tensor flat, Tensor z0, Tensor target, Tensor weight, Tensor u, Tensor rows, Tensor pattern"
ROWS_AT, PATTERN_AT = 5, 6

_library = Library("dynrnn", "DEF")
_library.define(f"additive_forward({ARGUMENTS}, int[] layout, str backend) -> Tensor")
_library.define(f"additive_backward({ARGUMENTS}, Tensor out, Tensor gout, bool keep_gtarget, int[] layout, str backend) -> (Tensor, Tensor, Tensor, Tensor)")
forward: Any = torch.ops.dynrnn.additive_forward
backward: Any = torch.ops.dynrnn.additive_backward


def choose_backend(device: torch.device, backend: str | None = None) -> str:
    """The backend to use: the argument, else the environment's DYNRNN_BACKEND, else ``cpu`` on a CPU, ``triton`` on CUDA where it is installed,
    and ``reference`` elsewhere. On a CPU ``triton`` runs in Triton's interpreter, for tests: it wants TRITON_INTERPRET=1 and is slow.
    """
    by_device = {"cpu": "cpu", "cuda": "triton" if TRITON_INSTALLED else "reference"}.get(device.type, "reference")
    wanted = backend or os.environ.get("DYNRNN_BACKEND") or by_device
    if wanted not in BACKENDS:
        raise KernelError(f"backend must be one of {BACKENDS}, got {wanted!r}")
    if wanted == "cpu" and device.type != "cpu":
        raise KernelError(f"backend 'cpu' needs tensors on the CPU, these are on {device}; move them there or name another backend")
    if wanted == "triton" and not TRITON_INSTALLED:
        raise KernelError("backend 'triton' needs the package triton, which is not installed here; name another backend, or install it")
    if wanted == "triton" and device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise KernelError("backend 'triton' needs tensors on a CUDA device, these are on the CPU; move them there, or name backend 'cpu'")
    return wanted


def _device_kernels() -> Any:
    """The Triton kernels, imported when they are first used."""
    return importlib.import_module("dynrnn_kernels.additive.triton")


def _arrays(*tensors: Tensor) -> list:
    return [x.detach().numpy() for x in tensors]


def _forward(
    flat: Tensor, z0: Tensor, target: Tensor, weight: Tensor, u: Tensor, rows: Tensor, pattern: Tensor, layout: list[int], backend: str
) -> Tensor:
    out = torch.empty(target.shape, dtype=target.dtype, device=target.device)
    if backend == "triton":
        weight = weight.expand(target.shape)
    given = [x.contiguous() for x in (flat, z0, target, weight, u, rows)]
    if backend == "triton":
        _device_kernels().forward(given[0], Layout._make([*layout, None]), *given[1:], out)
        return out
    arrays = _arrays(*given, out)
    cpu.forward(arrays[0], Layout._make([*layout, pattern.numpy()]), *arrays[1:])
    return out


def _backward(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *tensors, keep_gtarget, layout, backend = args
    pattern = tensors.pop(PATTERN_AT)
    if backend == "triton":
        tensors[3] = tensors[3].expand(tensors[2].shape)
    tensors = [x.contiguous() for x in tensors]
    if backend == "triton":
        return _device_kernels().backward(tensors[0], Layout._make([*layout, None]), *tensors[1:])
    flat, z0, target, _, u = tensors[:5]
    grad, gz0, gu = (torch.zeros(x.shape, dtype=x.dtype, device=x.device) for x in (flat, z0, u))
    gtarget = target.new_zeros(target.shape if keep_gtarget else (len(target), 0, 0))
    arrays = _arrays(*tensors, gz0, gtarget, gu, grad)
    cpu.backward(arrays[0], Layout._make([*layout, pattern.numpy()]), *arrays[1:])
    return grad, gz0, gtarget, gu


for _device in ("CPU", "CUDA"):
    _library.impl("additive_forward", _forward, _device)
    _library.impl("additive_backward", _backward, _device)


@torch.library.register_fake("dynrnn::additive_forward")
def _(*args: Any) -> Tensor:
    return args[2].new_empty(args[2].shape)


@torch.library.register_fake("dynrnn::additive_backward")
def _(*args: Any) -> tuple[Tensor, ...]:
    keep_gtarget, backend = args[9], args[11]
    shapes = [args[i].shape for i in (0, 1, 2, 4)]
    if not keep_gtarget and backend != "triton":
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
