"""The stream of an additive model by the compiled kernel."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from dynrnn.models.base import Model
from dynrnn.online.engine import Settings
from dynrnn.training.parameters import FlatParameters, flat_parameters, read, trainable
from dynrnn_kernels.blas import one_blas_thread
from dynrnn_kernels.influence.columns import columns_for
from dynrnn_kernels.influence.cpu_step import BY_BLAS, turned
from dynrnn_kernels.influence.cpu_stream import Stream, StreamState, run_stream
from dynrnn_kernels.influence.sequence import PARTS
from dynrnn_kernels.update import AFFINE, IDENTITY


def layout_for(model: Model, settings: Settings) -> FlatParameters | None:
    """How the model's parameters fill its map, if the kernel can do all that is asked."""
    if not settings.algorithm.compiled:
        return None
    flat = flat_parameters(model, written_out=True)
    return None if flat.layout is None else flat


class CompiledStream:
    """All fits of a model whose map parameters fill by index. Memory O(F M S) for S numbers in tensors that are trained, whatever the stream's length."""

    def __init__(self, model: Model, flat: FlatParameters, settings: Settings):
        F, M, N, P = model.n_fits, model.latent_dim, model.observed_dim, flat.size
        layout = flat.layout
        if layout is None:
            raise TypeError("a model whose parameters fill the map by index is wanted")
        affine = model.observation == "affine"
        self.layout, self.n_channels = layout._replace(pattern=None), N
        order, learned, fill = turned(self.layout), trainable(model, flat) > 0, flat.fill
        self.columns, places = columns_for(self.layout, (fill >= 0) & learned[fill.clip(0)], fill < 0, flat.constant)
        self.fixed = Stream(
            fill[order], flat.constant[order].astype(np.float64), fill[order[places]], AFFINE if affine else IDENTITY,
            flat.offset("B") if affine else max(flat.offset("L"), 0), flat.offset("b"), trainable(model, flat), settings.unit, settings.clip,
            settings.forgetting, PARTS[settings.algorithm.name], settings.algorithm.n, settings.every, settings.plain,
        )
        theta = read(model, np.float64)
        zeros = lambda *shape: np.zeros((F, *shape))  # noqa: E731
        self.state = StreamState(theta, zeros(P), zeros(P), zeros(M), zeros(M), zeros(M, self.columns.size), zeros(P), np.zeros((F, 6), np.int64))

    @property
    def theta(self) -> np.ndarray:
        return self.state.theta

    @property
    def counts(self) -> np.ndarray:
        return self.state.counts

    def run(self, x: np.ndarray, u: np.ndarray, alpha: np.ndarray, rate: np.ndarray, restart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        F, T = len(self.state.theta), len(x)
        prediction, loss = np.empty((F, T, self.n_channels)), np.empty((F, T))
        with one_blas_thread() if self.layout.M >= BY_BLAS else nullcontext():         # which takes half a millisecond to enter
            run_stream(self.layout, self.columns, self.fixed, self.state, x, u, alpha, rate, restart, prediction, loss)
        return prediction, loss

    def tensors(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(value.copy()) for name, value in self.state._asdict().items()}

    def adopt(self, tensors: dict[str, Tensor]) -> None:
        for name, value in self.state._asdict().items():
            value[...] = tensors[name].numpy()
