"""What computes a stream: the compiled kernel or torch, behind one interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from dynrnn_kernels.influence import Algorithm


@dataclass(frozen=True)
class Settings:
    """What a learner has checked. unit [M] 1 for units that may be forced; clip, forgetting [F]; every: samples between two steps of the optimiser."""

    algorithm: Algorithm
    unit: np.ndarray
    clip: np.ndarray
    forgetting: np.ndarray
    every: int
    plain: bool
    random_state: int


@runtime_checkable
class Engine(Protocol):
    """``run``: standardised samples x [T, N] (NaN = missing), u [T, K], alpha and rate [F, T], restart [T] -> prediction [F, T, N] and loss [F, T].

    counts [F, 6]: see ``dynrnn_kernels.influence.cpu_stream``. ``tensors`` are all that it needs to go on, to the bit.
    """

    @property
    def theta(self) -> np.ndarray: ...
    @property
    def counts(self) -> np.ndarray: ...
    def run(self, x: np.ndarray, u: np.ndarray, alpha: np.ndarray, rate: np.ndarray, restart: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def tensors(self) -> dict[str, Tensor]: ...
    def adopt(self, tensors: dict[str, Tensor]) -> None: ...
