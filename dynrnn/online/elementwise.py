"""What learners whose units do not mix share: one sample or a block, bad samples, a state that can be stored, fits taken out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from dynrnn.errors import ArgumentError, FileFormatError, RecordingError, check_int, unknown_name
from dynrnn.online.samples import block_of
from dynrnn.online.step import ON_BAD, Step
from dynrnn.results.bundle import read_bundle, write_bundle
from dynrnn.streams import check_random_state
from dynrnn_kernels.columnar import CLASSIFICATION, LARGEST, REGRESSION, SKIP, TD

HEADS = {"td": TD, "regression": REGRESSION, "classification": CLASSIFICATION}


class ElementwiseLearner:
    """``state`` holds every number that changes, the fit axis first; ``n_samples`` counts all samples that were given, those skipped among them."""

    kind: ClassVar[str] = "dynrnn-elementwise-learner"
    heads: ClassVar[tuple[str, ...]] = ("regression", "classification")

    def __init__(self, input_dim: int, output_dim: int, head: str, n_fits: int, on_bad: str, random_state: int | None):
        self.input_dim, self.output_dim = check_int("input_dim", input_dim, low=1), check_int("output_dim", output_dim, low=1)
        self.n_fits, self.random_state = check_int("n_fits", n_fits, low=1), check_random_state(random_state)
        if head not in self.heads:
            raise unknown_name("head", head, self.heads)
        if on_bad not in ON_BAD:
            raise unknown_name("on_bad", on_bad, ON_BAD)
        if head == "classification" and output_dim < 2:
            raise ArgumentError(f"classification needs an output_dim of at least 2 classes, got {output_dim}.")
        self.head, self.on_bad = head, on_bad
        self.n_samples = 0
        self.n_skipped = np.zeros(self.n_fits, np.int64)
        self.state: Any = None
        self.settings: Any = None

    def config(self) -> dict[str, Any]:
        """The arguments that make this learner again."""
        raise NotImplementedError

    def _run(self, x: np.ndarray, target: np.ndarray, flags: np.ndarray, y: np.ndarray, loss: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _pick_settings(self, fit: int) -> dict[str, Any]:
        """The arguments of ``config`` that have a value per fit, for one of them."""
        return {}

    @property
    def stopped(self) -> np.ndarray:
        """[fit] whether its traces have grown beyond 1e30, so that no sample is learned any more until a sample with reset=True."""
        return ~(self.state.size <= LARGEST**2)

    def step(self, x: Any, target: Any = None, *, reset: bool | np.bool_ = False) -> Step:
        """Predict from one sample, (input) for all fits or (fit, input), and learn from its target if there is one; the prediction is that before learning.

        Errors as ``learn``. Equal to a block of one sample to the last bit, and so is a loop over a block to the block.
        """
        array = np.asarray(x)
        if array.ndim not in (1, 2) or (array.ndim == 2 and len(array) != self.n_fits):
            raise ArgumentError(f"a sample must be (input) or (fit, input) with {self.n_fits} fits and {self.input_dim} inputs, got shape {array.shape}.")
        if target is not None:
            goal = np.asarray(target)
            per_fit = goal.ndim == (2 if self.head == "regression" and self.output_dim > 1 else 1) and len(goal) == self.n_fits
            target = goal[:, None] if per_fit else goal[None]
        prediction, loss, _ = self._learn(array[..., None, :], target, None, bool(reset))
        return Step(prediction[:, 0], loss[:, 0])

    def learn(self, block: Any, target: Any = None, *, asked: Any = None, reset: Any = None) -> xr.Dataset:
        """Predict and learn a block of samples in one compiled call, whose memory is that of the block.

        block : (time, input) for all fits, or (fit, time, input). target : (time) or (fit, time) cumulants or labels, or (..., time, output) for regression.
        asked : booleans (time) or (fit, time), false where there is no target (what stands there is not read); default all. reset : the same, true at the
        samples before which states and traces start from zero.

        Returns prediction (fit, time, output), each before its target was learned; loss (fit, time), NaN where nothing was asked; skipped (fit, time).

        Raises ArgumentError for shapes that do not fit. With on_bad="raise", RecordingError before anything has changed for NaN, inf, numbers
        beyond 1e30, another width, or a label out of range; and afterwards for a fit whose traces have grown beyond 1e30: it stands as it was before
        that sample, the others have learned the block. With on_bad="skip" such samples are left out and counted in ``n_skipped``.
        """
        first = self.n_samples
        prediction, loss, skipped = self._learn(block, target, asked, reset)
        dims = ("fit", "time")
        data = {"prediction": ((*dims, "output"), prediction), "loss": (dims, loss), "skipped": (dims, skipped)}
        return xr.Dataset(data, coords={"fit": np.arange(self.n_fits), "time": first + np.arange(loss.shape[1])})

    def _learn(self, block: Any, target: Any, asked: Any, reset: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        given = block_of(
            block, target, asked, reset, n_fits=self.n_fits, input_dim=self.input_dim, output_dim=self.output_dim, kind=HEADS[self.head], seen=self.n_samples,
            skips=self.on_bad == "skip",
        )
        F, T = given.flags.shape
        y, loss = np.empty((F, T, self.output_dim)), np.empty((F, T))
        began = self.n_samples
        stopped = self._run(given.x, given.target, given.flags, y, loss)
        self.n_samples += T
        skipped = given.flags & SKIP != 0
        self.n_skipped += skipped.sum(1)
        if (stopped < T).any() and self.on_bad == "raise":
            f = int(stopped.argmin())
            raise RecordingError(
                f"fit {f} was stopped at sample {began + int(stopped[f])} of the stream: the traces of its gradient have grown beyond "
                f"{LARGEST:g}. Its state is as before that sample. Take a smaller learning_rate, or give reset=True where a new stretch "
                "begins; on_bad='skip' lets other fits go on without it."
            )
        return y, loss, skipped

    def select(self, fit: int) -> Any:
        """One fit as a learner of its own, which goes on as the fit does in its ensemble, to the last bit. A copy."""
        k = check_int("fit", fit, low=0, high=self.n_fits - 1)
        one = type(self)(**{**self.config(), **self._pick_settings(k), "n_fits": 1})
        one.state = type(self.state)(*(np.ascontiguousarray(a[k : k + 1]).copy() for a in self.state))
        one.n_samples, one.n_skipped = self.n_samples, self.n_skipped[k : k + 1].copy()
        return one

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the learner as the folder ``path`` (safetensors and JSON, checksummed); an older one there is replaced in one step. RunFolderError if it
        cannot be."""
        tensors = {name: torch.from_numpy(array) for name, array in {**self.state._asdict(), "n_skipped": self.n_skipped}.items()}
        return write_bundle(path, tensors, {"kind": self.kind, "learner": type(self).__name__, "config": self.config(), "n_samples": self.n_samples})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """The learner that ``save`` wrote, which goes on as if it had never stopped, to the last bit. FileFormatError if it is damaged, foreign or
        another's."""
        tensors, about = read_bundle(path)
        if about.get("kind") != cls.kind or about.get("learner") != cls.__name__:
            raise FileFormatError(f"{path} holds no {cls.__name__} (kind {about.get('kind')!r}, learner {about.get('learner')!r}).")
        try:
            learner = cls(**about["config"])
            n_samples = check_int("n_samples", about["n_samples"], low=0)
        except (ArgumentError, TypeError, KeyError) as error:
            raise FileFormatError(f"{path}: its configuration does not describe a {cls.__name__}: {error}") from error
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        wanted = {**learner.state._asdict(), "n_skipped": learner.n_skipped}
        wrong = sorted(set(wanted) ^ set(arrays)) or [k for k, a in wanted.items() if (a.shape, a.dtype) != (arrays[k].shape, arrays[k].dtype)]
        wrong = wrong or [k for k, a in arrays.items() if not np.isfinite(a).all()]
        if wrong:
            raise FileFormatError(f"{path}: {', '.join(wrong)} do not fit a {cls.__name__} of this configuration, or are not finite.")
        learner.n_samples, learner.n_skipped = n_samples, arrays.pop("n_skipped")
        learner.state = type(learner.state)(**{name: np.ascontiguousarray(array) for name, array in arrays.items()})
        return learner
