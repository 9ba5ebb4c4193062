"""How hard a stream's samples pull the state: a forcing scheme, sample by sample."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import ArgumentError, FileFormatError
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.base import Model
from dynrnn.training.common import plain
from dynrnn.training.forcing import AdaptiveTeacherForcing, Forcing, FreeRunning, GeneralizedTeacherForcing, SparseTeacherForcing, per_fit
from dynrnn.training.norms import JACOBIAN_NORMS
from dynrnn.training.parameters import write
from dynrnn_kernels.additive.layout import layout_of, pack

SCHEMES = {scheme.__name__: scheme for scheme in (AdaptiveTeacherForcing, FreeRunning, GeneralizedTeacherForcing, SparseTeacherForcing)}
LOOK_BACK = 64              # samples whose states an adaptive strength is estimated from


def forcing_config(forcing: Forcing) -> dict[str, Any]:
    """JSON-able; a pair (start, end) is told from one value per fit."""
    values = {field.name: getattr(forcing, field.name) for field in dataclasses.fields(forcing)}
    pairs = {name: {"start": value[0], "end": value[1]} for name, value in values.items() if isinstance(value, tuple)}
    return {"scheme": type(forcing).__name__, **plain(values | pairs)}


def forcing_from(config: dict[str, Any]) -> Forcing:
    """What ``forcing_config`` came from."""
    given = dict(config)
    scheme = SCHEMES.get(given.pop("scheme", ""))
    if scheme is None:
        raise FileFormatError(f"no forcing scheme {config.get('scheme')!r} is known; there are {', '.join(SCHEMES)}.")
    values: dict[str, Any] = {name: (value["start"], value["end"]) if isinstance(value, dict) else value for name, value in given.items()}
    return scheme(**values)


class Strength:
    """``at`` numbers of samples, the strength [F, T]. An adaptive one changes in ``adapt``, which wants to be called every ``until`` samples, and remembers
    the samples that it ``saw`` last."""

    def __init__(self, model: Model, forcing: Forcing, horizon: int):
        self.model, self.forcing, self.horizon, F = model, forcing, horizon, model.n_fits
        self.interval, self.recent = np.ones(F), np.zeros((0, model.observed_dim))
        if isinstance(forcing, SparseTeacherForcing):
            if forcing.interval is None:
                raise ArgumentError("sparse forcing estimates its interval from a recording, and a stream has none: give SparseTeacherForcing(interval=...).")
            self.interval = per_fit("interval", np.asarray(forcing.interval, dtype=np.float64), F, low=1.0)
        self.adaptive = forcing if isinstance(forcing, AdaptiveTeacherForcing) else None
        if self.adaptive is not None:
            if not isinstance(model, AdditiveModel):
                raise ArgumentError(f"adaptive forcing estimates norms of additive maps, and {model.family} has none: take generalised forcing.")
            self.alpha, self.gamma = per_fit("alpha", self.adaptive.alpha, F), per_fit("gamma", self.adaptive.gamma, F)

    def at(self, numbers: np.ndarray) -> np.ndarray:
        if self.adaptive is not None:
            return np.repeat(self.alpha[:, None], len(numbers), 1)
        alpha = self.forcing.strength(np.minimum(numbers, self.horizon - 1), self.horizon, self.model.n_fits).T
        return np.ascontiguousarray(alpha * (numbers % self.interval[:, None] == 0))

    def until(self, number: int) -> int:
        """Samples from ``number`` on before the strength wants to adapt again."""
        return 2**62 if self.adaptive is None else self.adaptive.every - number % self.adaptive.every

    def saw(self, x: np.ndarray) -> None:
        if self.adaptive is not None:
            self.recent = np.concatenate([self.recent, x])[-LOOK_BACK:]

    def adapt(self, theta: np.ndarray, number: int) -> None:
        """Algorithm 1 of generalised teacher forcing on the states of the last samples, in the units of the model."""
        if self.adaptive is None or number % self.adaptive.every or not len(self.recent):
            return
        model = cast(AdditiveModel, self.model)
        write(model, theta)
        with torch.no_grad():
            map = model.additive_map().to(torch.float64).written_out()
            states = model.encode(torch.as_tensor(self.recent).expand(model.n_fits, -1, -1))[:, None]
            kappa = JACOBIAN_NORMS[self.adaptive.norm](pack(map), layout_of(map), states, backend="cpu").max(1)
        self.alpha = self.adaptive.relaxed(self.alpha, kappa, self.gamma)

    def tensors(self) -> dict[str, Tensor]:
        if self.adaptive is None:
            return {}
        return {"alpha": torch.from_numpy(self.alpha.copy()), "recent": torch.from_numpy(self.recent.copy())}

    def adopt(self, tensors: dict[str, Tensor]) -> None:
        if self.adaptive is not None:
            self.alpha, self.recent = tensors["alpha"].numpy().copy(), tensors["recent"].numpy().copy()

