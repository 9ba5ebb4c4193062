"""The recurrences that there are: a new one is a folder and a row here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from dynrnn_kernels import additive


class Recurrence(NamedTuple):
    """What every recurrence offers, on F maps and states [F, B, M].

    A map need only have ``n_fits``, ``latent_dim``, ``input_dim``, ``tensors()`` and ``with_tensors()``.

    forced_sequence : (map, z0, target, weight, u, *, lengths, backend) -> the predictions before forcing, differentiable once.
    step : (map, z, u) -> the next states. jacobian : (map, z, u) -> the step's derivative by z [F, B, M, M].
    backends : their names, ``reference`` first; the folder has a file of each name.
    """

    forced_sequence: Callable[..., Tensor]
    step: Callable[..., Tensor]
    jacobian: Callable[..., Tensor]
    backends: tuple[str, ...]


RECURRENCES = {"additive": Recurrence(additive.forced_sequence, additive.step, additive.jacobian, additive.backends())}
