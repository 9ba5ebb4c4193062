"""A chain of additive maps as a bundle of tensors with a leading fit axis."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dynrnn_kernels.additive.map import AdditiveMap
from dynrnn_kernels.errors import KernelError


@dataclass(frozen=True)
class ChainMap:
    """``z' = F_L(... F_2(F_1(z, u), u) ...)``: ``stages`` F_1..F_L, each an additive map of the whole state, for F fits at once.

    A stage changes some units and keeps the others, which later stages then find as they are after this step. A stage without C and D takes no input.
    """

    stages: tuple[AdditiveMap, ...]

    def __post_init__(self) -> None:
        sizes = {(stage.n_fits, stage.latent_dim) for stage in self.stages}
        if len(sizes) != 1:
            raise KernelError(f"a chain wants at least one stage, all of the same fits and latent units, got (fits, units) {sorted(sizes)}")
        taken = {stage.input_dim for stage in self.stages} - {0}
        if len(taken) > 1:
            raise KernelError(f"stages that take inputs must take equally many, got {sorted(taken)}")

    @property
    def n_fits(self) -> int:
        return self.stages[0].n_fits

    @property
    def latent_dim(self) -> int:
        return self.stages[0].latent_dim

    @property
    def input_dim(self) -> int:
        return max(stage.input_dim for stage in self.stages)

    def tensors(self) -> dict[str, Tensor]:
        """Those of all stages, as ``<stage>.<name>``."""
        return {f"{k}.{name}": value for k, stage in enumerate(self.stages) for name, value in stage.tensors().items()}

    def with_tensors(self, tensors: dict[str, Tensor]) -> ChainMap:
        """The same chain with other tensors in the places of the old ones."""
        stages = []
        for k, stage in enumerate(self.stages):
            own = f"{k}."
            stages.append(stage.with_tensors({name[len(own) :]: value for name, value in tensors.items() if name.startswith(own)}))
        return ChainMap(tuple(stages))

    def to(self, dtype: torch.dtype) -> ChainMap:
        return ChainMap(tuple(stage.to(dtype) for stage in self.stages))

    def written_out(self) -> ChainMap:
        """The same chain without structures."""
        return ChainMap(tuple(stage.written_out() for stage in self.stages))
