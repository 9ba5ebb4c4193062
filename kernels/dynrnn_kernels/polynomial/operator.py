"""The forced sequence: what callers use."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dynrnn_kernels.polynomial import reference
from dynrnn_kernels.polynomial.map import PolynomialMap
from dynrnn_kernels.stepwise import forced_stepwise


def backends() -> tuple[str, ...]:
    """Torch alone; ``run`` is compiled, one sequence at a time."""
    return ("reference",)


def forced_sequence(
    map: PolynomialMap, z0: Tensor, target: Tensor, weight: Tensor | float, u: Tensor | None = None, *, lengths: Sequence[int] | Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """T steps with arguments and result as those of ``dynrnn_kernels.additive.forced_sequence``, in torch. Cost O(F B T P (N + order))."""
    return forced_stepwise(reference.step, map, z0, target, weight, u, lengths, backend)
