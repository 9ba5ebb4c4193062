"""All that a training needs to go on to the bit: parameters, moments, counts, history, validation; every array with the fit axis first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynrnn.errors import ArgumentError, FileFormatError
from dynrnn.results.bundle import read_bundle, write_bundle

KIND = "dynrnn-training"


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands after ``done`` updates.

    arrays : by name, fit axis first. validated : the updates after which ``arrays["validation"]`` [F, n] was scored.
    about : what was trained and how (the config of the run), by which a state is recognised.

    A state of several fits is those of each, side by side: ``select`` takes some out, ``concat`` puts states of equal length together, and the fits train
    on as they would have. Memory three times the parameters and five numbers for each row of the history, for each fit; with validation eight times.
    """

    done: int
    arrays: dict[str, np.ndarray]
    validated: tuple[int, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def n_fits(self) -> int:
        return len(self.arrays["theta"])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """As a folder of safetensors and JSON, in place of an older state in one step."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in self.arrays.items()}
        return write_bundle(path, tensors, {"kind": KIND, "done": self.done, "validated": list(self.validated), "about": self.about})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainingState:
        """The state that ``save`` wrote. FileFormatError for anything else."""
        tensors, config = read_bundle(path)
        kinds = {"done": int, "validated": list, "about": dict}
        whole = all(isinstance(config.get(name), kind) for name, kind in kinds.items()) and "theta" in tensors
        if config.get("kind") != KIND or not whole or len({len(value) for value in tensors.values()}) != 1:
            raise FileFormatError(f"{path} holds no state of a training by this version of dynrnn (kind {config.get('kind')!r}).")
        return cls(config["done"], {name: value.numpy() for name, value in tensors.items()}, tuple(config["validated"]), config["about"])

    def select(self, fits: Sequence[int]) -> TrainingState:
        """The state of these fits, by their places."""
        return TrainingState(self.done, {name: value[list(fits)] for name, value in self.arrays.items()}, self.validated, self.about)


def concat_states(states: Sequence[TrainingState]) -> TrainingState:
    """One state of all fits of states that stand at the same update and hold the same."""
    first = states[0]
    for i, other in enumerate(states[1:], 1):
        if other.done != first.done or other.validated != first.validated or {k: v.shape[1:] for k, v in other.arrays.items()} != {
            k: v.shape[1:] for k, v in first.arrays.items()
        }:
            raise ArgumentError(f"state {i} (update {other.done}) and state 0 (update {first.done}) do not go together: give states of one shape and update.")
    return TrainingState(first.done, {k: np.concatenate([s.arrays[k] for s in states]) for k in first.arrays}, first.validated, first.about)
