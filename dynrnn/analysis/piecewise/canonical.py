"""Models as piecewise-linear maps: clipped units and bases are stacked into plain relus, a constant input enters the biases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.errors import ArgumentError
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.base import Model
from dynrnn.models.unwrap import model_of
from dynrnn_kernels.additive import AdditiveMap

ANALYSED, NOT_FINITE = "analysed", "parameters not finite"


@dataclass(frozen=True)
class Maps:
    """The maps of all fits: None where a fit's parameters are not finite; ``dt`` is the sampling step of the model's data (1 for a bare map).

    latent_dim: of the model, though all its fits have diverged; of maps of different sizes the largest."""

    maps: tuple[PiecewiseLinearMap | None, ...]
    fit: np.ndarray
    latent_dim: int
    dt: float = 1.0

    @property
    def status(self) -> np.ndarray:
        """Per fit, what could be done."""
        return np.array([NOT_FINITE if map is None else ANALYSED for map in self.maps], dtype=object)


def canonical(thing: Any, inputs: Any = None, *, dim: int | None = None, otherwise: str = "") -> Maps:
    """``thing`` as piecewise-linear maps, one a fit.

    thing : a model or a run of piecewise-linear units; a ``PiecewiseLinearMap``; its arrays ``(A, W1, W2, h1, h2)``; or a list of such maps as
        an ensemble. inputs : a constant input (K,) for models that take inputs, 0 by default. dim : latent units that the caller expects.
    otherwise : what else can be done with a model that has no regions.

    clipped units relu(v) - relu(v - h2) become two units each, a basis of n as many, with ``h2`` a threshold each.
    ArgumentError for tanh units and plain callables, which have no regions, for ``inputs`` of a bare map or a wrong ``dim``, and for parameters
    that are not finite unless other fits stand beside.

    >>> from dynrnn.models import ShallowPLRNN
    >>> canonical(ShallowPLRNN(2, 2, 10, clipped=True, random_state=0)).maps[0].n_units
    20
    """
    bare = _bare_maps(thing)
    found = _of_model(thing, inputs, otherwise) if bare is None else Maps(bare, np.arange(len(bare)), max(map.latent_dim for map in bare))
    if bare is not None and inputs is not None:
        raise ArgumentError("inputs are for models; a bare map has its constant input in its biases.")
    check_dim(dim, found.latent_dim)
    return found


def check_dim(dim: int | None, latent_dim: int) -> None:
    """ArgumentError where a caller gave ``dim`` for a system that has another one."""
    if dim is not None and dim != latent_dim:
        raise ArgumentError(f"dim = {dim!r}, but the system has {latent_dim} latent units. Leave dim out: it is for plain callables.")


def one_map(thing: Any, inputs: Any = None, fit: int | None = None, point: Any = None) -> tuple[PiecewiseLinearMap, int]:
    """The map of one fit and its label; ``point``, a row of a result, knows its fit."""
    maps = canonical(thing, inputs)
    coords = getattr(point, "coords", {})
    if fit is None and "fit" in coords and coords["fit"].ndim == 0 and int(coords["fit"]) in maps.fit.tolist():
        fit = int(coords["fit"])
    if fit is None and len(maps.maps) > 1:
        raise ArgumentError(f"the model has {len(maps.maps)} fits, and the result is of one: pass fit=, one of {maps.fit.tolist()}.")
    if fit is not None and fit not in maps.fit.tolist():
        raise ArgumentError(f"fit must be one of {maps.fit.tolist()}, got {fit!r}.")
    k = 0 if fit is None else maps.fit.tolist().index(fit)
    map = maps.maps[k]
    if map is None:
        raise ArgumentError(f"fit {maps.fit[k]} has diverged: its parameters are not finite, so it has no regions. Choose another one.")
    return map, int(maps.fit[k])


def _bare_maps(thing: Any) -> tuple[PiecewiseLinearMap, ...] | None:
    """The maps that ``thing`` is, None for a model."""
    if isinstance(thing, PiecewiseLinearMap):
        return (thing,)
    if isinstance(thing, tuple) and len(thing) == 5 and not isinstance(thing[0], PiecewiseLinearMap):
        return (PiecewiseLinearMap(*thing),)
    if isinstance(thing, (list, tuple)) and thing and all(isinstance(map, PiecewiseLinearMap) for map in thing):
        return tuple(thing)
    if isinstance(thing, (list, tuple, np.ndarray)):
        raise ArgumentError("a bare piecewise-linear map is given by its five arrays (A, W1, W2, h1, h2), or as a PiecewiseLinearMap.")
    return None


def _of_model(thing: Any, inputs: Any, otherwise: str) -> Maps:
    if not isinstance(getattr(thing, "model", thing), Model) and (callable(thing) or callable(getattr(thing, "step", None))):
        raise ArgumentError(f"a callable has no regions that could be gone through, which this analysis needs. {otherwise}".rstrip())
    model = model_of(thing)
    u = _constant_input(model, inputs)
    map = model.additive_map().to(torch.float64).written_out() if isinstance(model, AdditiveModel) else None
    if map is None or map.phi == "tanh":
        kind = "smooth units" if map is None else "smooth units (tanh)"
        raise ArgumentError(f"{model.family} has {kind}, so it has no regions, which this analysis needs. {otherwise}".rstrip())
    found = []
    for k in range(model.n_fits):
        arrays = {name: np.asarray(value[k].detach()) for name, value in map.tensors().items()}
        broken = [name for name, value in arrays.items() if not np.isfinite(value).all()]
        if broken and model.n_fits == 1:
            raise ArgumentError(f"{broken[0]} of the model holds values that are not finite: the fit has diverged. Train it again, or load another checkpoint.")
        found.append(None if broken else _stacked(map, k, arrays, u))
    return Maps(tuple(found), model.fit_number.numpy().copy(), model.latent_dim, float(model.recording_info.get("dt", 1.0)))


def _constant_input(model: Model, inputs: Any) -> np.ndarray:
    K = model.input_dim
    u = np.zeros(K) if inputs is None else np.asarray(inputs, dtype=np.float64)
    if u.shape != (K,) or not np.isfinite(u).all():
        raise ArgumentError(f"inputs must be one constant input of shape ({K},), finite, for a map without time; got {u.shape}.")
    return u


def _stacked(map: AdditiveMap, k: int, arrays: dict[str, np.ndarray], u: np.ndarray) -> PiecewiseLinearMap:
    """Fit ``k``; arrays are its own, without the fit axis."""
    H = map.hidden_dim
    A = np.diag(arrays["a"]) + arrays.get("A", 0.0)
    W1, W2 = arrays["W1"], np.asarray(map.dense_W2()[k].detach())
    drive = arrays["D"] @ u if "D" in arrays else np.zeros(H)
    h1 = arrays["h1"] + (arrays["C"] @ u if "C" in arrays else 0.0)
    h2 = arrays.get("h2", np.zeros(H))
    if map.phi == "identity":
        return PiecewiseLinearMap(A + W1 @ W2, np.zeros((len(h1), 0)), np.zeros((0, len(h1))), h1 + W1 @ (drive + h2), np.zeros(0))
    if map.phi == "relu":
        return PiecewiseLinearMap(A, W1, W2, h1, drive + h2)
    if map.phi == "clipped":
        return PiecewiseLinearMap(A, np.hstack([W1, -W1]), np.vstack([W2, W2]), h1, np.concatenate([drive + h2, drive]), bounded=True)
    slope, threshold = arrays["slope"], arrays["threshold"]                         # [n], [H, n]
    n = len(slope)
    bases = PiecewiseLinearMap(
        A, np.hstack([W1 * s for s in slope]), np.vstack([W2] * n), h1, np.concatenate([drive + h2 - threshold[:, b] for b in range(n)])
    )
    if map.phi == "basis":
        return bases
    return replace(
        bases, W1=np.hstack([bases.W1, -W1 * slope.sum()]), W2=np.vstack([bases.W2, W2]), h2=np.concatenate([bases.h2, drive + h2]), bounded=True
    )
