"""What changes while a model is trained, as one state to save and to go on from."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynrnn.errors import ArgumentError
from dynrnn.training.adaptive import AdaptiveAlpha
from dynrnn.training.history import History
from dynrnn.training.mean import Mean
from dynrnn.training.state import TrainingState
from dynrnn.training.validation import Validator
from dynrnn_kernels.update import State


class Book:
    """All that changes while a model is trained, given out as a ``TrainingState`` and taken back from one."""

    def __init__(
        self, state: State, history: History, validator: Validator | None, adaptive: AdaptiveAlpha | None, means: dict[str, Mean], about: dict[str, Any]
    ):
        self.history, self.validator, self.about = history, validator, about
        self.arrays = state._asdict() | {f"history_{name}": getattr(history, name) for name in History.ARRAYS}
        if validator is not None:
            self.arrays |= {"best": validator.best, "best_update": validator.update, "best_theta": validator.theta}
        for name, mean in means.items():
            self.arrays |= {f"{name}_total": mean.total, f"{name}_count": mean.count}
        if adaptive is not None:
            self.arrays["strength"] = adaptive.alpha

    def state(self, done: int) -> TrainingState:
        arrays = {name: value.copy() for name, value in self.arrays.items()}
        scores = {} if self.validator is None else self.validator.scores
        if scores:
            arrays["validation"] = np.stack(list(scores.values()), 1)
        return TrainingState(done, arrays, tuple(scores), self.about)

    def adopt(self, start: TrainingState) -> int:
        """The values of ``start`` in place of those of a beginning; ArgumentError if it is a state of something else."""
        found = {name: value for name, value in start.arrays.items() if name != "validation"}
        wrong = sorted(set(found) ^ set(self.arrays)) or [k for k, v in self.arrays.items() if v.shape != found[k].shape or v.dtype != found[k].dtype]
        if wrong or start.done > int(self.history.last_update[-1]):
            what = f"differ in {', '.join(wrong)}" if wrong else f"{start.done} updates are done of {int(self.history.last_update[-1])}"
            raise ArgumentError(f"the state to go on from is not one of this training: {what}. Give the model, recording and arguments that it was saved with.")
        for name, value in found.items():
            self.arrays[name][...] = value
        if self.validator is not None:
            self.validator.scores = {update: start.arrays["validation"][:, i].copy() for i, update in enumerate(start.validated)}
        return start.done
