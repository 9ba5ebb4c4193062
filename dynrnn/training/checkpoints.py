"""The models that a training passes through: kept while it goes on, and read back from its folder."""

from __future__ import annotations

import copy
import os
import re

import numpy as np

from dynrnn.errors import FileFormatError
from dynrnn.models.base import Model
from dynrnn.models.storage import load, save
from dynrnn.results.run_folder import RunFolder
from dynrnn.training.parameters import write

NAME = re.compile(r"update-(\d+)")


class Checkpoints:
    """Called with an update's number and the parameters after so many updates; each model is in the folder before training goes on.

    ``done``: updates of a training that is taken up again, whose models up to then are read from the folder.
    """

    def __init__(self, every: int, folder: RunFolder | None, done: int | None = None):
        self.every, self.folder = every, folder
        self.models: dict[int, Model] = {}
        if folder is not None and done is not None:
            self.models = {update: model for update, model in load_checkpoints(folder.path).items() if update <= done}

    def __call__(self, update: int, model: Model, theta: np.ndarray) -> None:
        self.models[update] = copy.deepcopy(model)
        write(self.models[update], theta)
        if self.folder is not None:
            save(self.models[update], self.folder.checkpoints / f"update-{update:09d}")


def load_checkpoints(run_folder: str | os.PathLike[str]) -> dict[int, Model]:
    """The models that ``fit(..., checkpoint_every=n, out=run_folder)`` has kept so far, by the number of updates that each had seen, in order.

    A fit that is still going on or was broken off has those up to then. FileFormatError if there are none.
    """
    folder = RunFolder.open(run_folder)
    found = {int(match[1]): path for path in folder.checkpoints.glob("*") if (match := NAME.fullmatch(path.name))}
    if not found:
        raise FileFormatError(f"{folder.checkpoints} holds no checkpoints of the training; ask for them with fit(..., checkpoint_every=1000, out=...).")
    return {update: load(found[update]) for update in sorted(found)}
