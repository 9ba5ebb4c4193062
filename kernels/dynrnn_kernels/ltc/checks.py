"""What an elapsed time may be: said before any work, so that no vector broadcasts along an axis that it was not meant for."""

from __future__ import annotations

import torch
from torch import Tensor

from dynrnn_kernels.errors import KernelError
from dynrnn_kernels.ltc.map import LTCMap

AXES = {1: "(fit, sample)", 2: "(fit, sequence)", 3: "(fit, sequence, time)"}


def elapsed(map: LTCMap, dt: Tensor | float | None, wanted: tuple[int, ...], like: Tensor, axes: str | None = None) -> Tensor:
    """dt as a tensor with as many axes as ``wanted``, each of its length or 1; None is the map's own.

    KernelError for another shape (a vector over sequences would otherwise pass for one over time or units wherever their numbers agree), another dtype or
    device, and times that are not above 0 and finite.
    """
    axes = axes or AXES[len(wanted)]
    dt = map.dt if dt is None else dt
    if not isinstance(dt, Tensor):
        if not 0 < float(dt) < float("inf"):
            raise KernelError(f"dt must be an elapsed time above 0 and finite, got {dt}")
        return like.new_full((1,) * len(wanted), float(dt))
    if dt.ndim == 0:
        dt = dt.reshape((1,) * len(wanted))
    if dt.ndim != len(wanted) or any(n not in (1, full) for n, full in zip(dt.shape, wanted)):
        raise KernelError(
            f"dt must be a number or have the shape {axes} = {wanted}, where any axis may be 1, got {tuple(dt.shape)}. "
            "Axes are never guessed: give a vector over sequences as dt[None, :, None], one over time as dt[None, None, :]"
        )
    if dt.dtype != like.dtype:
        raise KernelError(f"dt is {dt.dtype}, z0 is {like.dtype}; convert it with .to({like.dtype})")
    if dt.device != like.device:
        raise KernelError(f"dt is on {dt.device}, z0 on {like.device}; move it with .to({str(like.device)!r})")
    right = (dt > 0) & (dt < float("inf"))
    if torch.compiler.is_compiling():                                           # values are not known yet: a graph checks them when it runs
        torch._assert_async(right.all(), "dt must be above 0 and finite everywhere")
    elif not bool(right.all()):
        at = tuple(int(i) for i in (~right).nonzero()[0])
        raise KernelError(f"dt must be above 0 and finite everywhere; at {at} of {axes} it is {float(dt[at])}, and {int((~right).sum())} entries are such")
    return dt
