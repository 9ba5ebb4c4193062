"""The forced sequence: what callers use."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dynrnn_kernels.chain import reference
from dynrnn_kernels.chain.map import ChainMap
from dynrnn_kernels.stepwise import forced_stepwise


def backends() -> tuple[str, ...]:
    """Torch alone; free orbits and tangents are compiled (``orbit``, ``carry``), and deep reservoirs are driven by ``dynrnn_kernels.reservoir``."""
    return ("reference",)


def forced_sequence(
    map: ChainMap, z0: Tensor, target: Tensor, weight: Tensor | float, u: Tensor | None = None, *, lengths: Sequence[int] | Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """T steps with arguments and result as those of ``dynrnn_kernels.additive.forced_sequence``, in torch. Cost O(F B T sum of the stages' M H)."""
    return forced_stepwise(reference.step, map, z0, target, weight, u, lengths, backend)
