"""What is analysed as a map with derivatives: models, piecewise-linear maps, known systems, plain callables. All in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynrnn.analysis.flows import flow_map
from dynrnn.analysis.piecewise.canonical import ANALYSED, NOT_FINITE, canonical, check_dim
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.additive import AdditiveModel
from dynrnn.models.base import Model
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.chain import ChainMap
from dynrnn_kernels.recurrences import Map, jacobian, step

LEAVE_ROUTE = "Leave route out, or take route='smooth'."


@dataclass(frozen=True)
class SmoothMap:
    """One fit's map: ``step`` (B, M) -> (B, M), differentiable; ``jacobian`` (B, M) -> (B, M, M).

    degree : the sum of the indices of all fixed points where it is known (``f(z) - A z`` bounded: sign det(I - A), by homotopy), else NaN.
    """

    dim: int
    step: Callable[[Tensor], Tensor]
    jacobian: Callable[[Tensor], Tensor]
    degree: float = math.nan


@dataclass(frozen=True)
class SmoothMaps:
    """The maps of all fits, None where a fit's parameters are not finite."""

    maps: tuple[SmoothMap | None, ...]
    fit: np.ndarray
    dim: int
    dt: float = 1.0

    @property
    def status(self) -> np.ndarray:
        return np.array([NOT_FINITE if map is None else ANALYSED for map in self.maps])


def smooth_maps(system: Any, dim: int | None = None, inputs: Any = None) -> SmoothMaps:
    """``system`` as maps, one a fit: a model, a run, whatever ``canonical`` takes, an object with ``step`` and ``dim``, a known flow (``dim``,
    ``field(z)``, ``dt``; its map over dt), or a callable and its ``dim``."""
    model = system if isinstance(system, Model) else getattr(system, "model", None)
    if isinstance(model, Model):
        found = _of_model(model, inputs)
    elif isinstance(system, (PiecewiseLinearMap, tuple, list)):
        bare = canonical(system, inputs)
        if len({map.latent_dim for map in bare.maps if map is not None}) > 1:
            raise ArgumentError("the maps of one call must have the same number of latent units. Analyse them one by one.")
        found = SmoothMaps(tuple(None if map is None else _of_pieces(map) for map in bare.maps), bare.fit, bare.latent_dim, bare.dt)
    elif callable(getattr(system, "field", None)):
        if inputs is not None:
            raise ArgumentError("inputs are for models; a flow has its own in its field.")
        flow = flow_map(system, None)
        map = SmoothMap(flow.dim, flow.step, lambda z: jacobian_by_copies(flow.step, z))
        found = SmoothMaps((map,), np.arange(1), flow.dim, flow.dt)
    else:
        map = _of_callable(system, dim, inputs)
        return SmoothMaps((map,), np.arange(1), map.dim)
    check_dim(dim, found.dim)
    return found


def _of_model(model: Model, inputs: Any) -> SmoothMaps:
    K = model.input_dim
    u = np.zeros(K) if inputs is None else np.asarray(inputs, dtype=np.float64)
    if u.shape != (K,) or not np.isfinite(u).all():
        raise ArgumentError(f"inputs must be one constant input of shape ({K},), finite, for a map without time; got shape {u.shape}.")
    whole = model.map().to(torch.float64)
    if isinstance(whole, (AdditiveMap, ChainMap)):
        whole = whole.written_out()                                             # a batch of states by a whole matrix takes less than torch's sparse products
    maps: list[SmoothMap | None] = []
    for k in range(model.n_fits):
        own = whole.with_tensors({name: value[k : k + 1].detach().clone() for name, value in whole.tensors().items()})
        broken = [name for name, value in own.tensors().items() if not torch.isfinite(value).all()]
        if broken and model.n_fits == 1:
            raise ArgumentError(f"{broken[0]} of the model holds values that are not finite: the fit has diverged. Train it again, or load another checkpoint.")
        maps.append(None if broken else _of_map(own, torch.tensor(u)))
    return SmoothMaps(tuple(maps), model.fit_number.numpy().copy(), model.latent_dim, float(model.recording_info.get("dt", 1.0)))


def _of_map(map: Map, u: Tensor) -> SmoothMap:
    def drive(z: Tensor) -> Tensor | None:
        return u.expand(1, len(z), -1) if len(u) else None

    degree = _degree_of_additive(map) if isinstance(map, AdditiveMap) else math.nan
    return SmoothMap(map.latent_dim, lambda z: step(map, z[None], drive(z))[0], lambda z: jacobian(map, z[None], drive(z))[0], degree)


def _degree_of_additive(map: AdditiveMap) -> float:
    linear = map.dense_A()[0]
    if map.phi == "identity":
        linear = linear + map.dense_W1()[0] @ map.dense_W2()[0]
    return _degree(linear) if map.phi in ("identity", "tanh", "clipped", "clipped_basis") else math.nan


def _of_pieces(map: PiecewiseLinearMap) -> SmoothMap:
    A, W1, W2, h1, h2 = (torch.tensor(value) for value in (map.A, map.W1, map.W2, map.h1, map.h2))
    return SmoothMap(
        map.latent_dim,
        lambda z: z @ A.T + torch.relu(z @ W2.T + h2) @ W1.T + h1,
        lambda z: A + (W1 * (z @ W2.T + h2 > 0)[:, None, :]) @ W2,
        _degree(A) if map.bounded else math.nan,
    )


def _degree(linear: Tensor) -> float:
    """sign det(I - A); NaN where A has the eigenvalue 1, so that roots may come from infinity."""
    away = torch.eye(len(linear), dtype=linear.dtype) - linear
    if torch.linalg.svdvals(away).min() < 1e-9:
        return math.nan
    return float(torch.linalg.slogdet(away).sign)


def _of_callable(system: Any, dim: int | None, inputs: Any) -> SmoothMap:
    function = system.step if callable(getattr(system, "step", None)) else system
    if not callable(function):
        raise ArgumentError(f"a model, a run, a piecewise-linear map or a callable f(z) -> z is wanted here, got {type(system).__name__}.")
    if inputs is not None:
        raise ArgumentError("inputs are for models; let the callable hold its own, as in lambda z: f(z, u).")
    own = getattr(system, "dim", None)
    if dim is None and not isinstance(own, int):
        raise ArgumentError("a callable does not say how many variables it has: pass dim=, the length of the last axis of z.")
    M = check_int("dim", own if dim is None else dim, low=1)

    def evaluate(z: Tensor) -> Any:
        return function(z)

    check_callable(evaluate, M)
    return SmoothMap(M, evaluate, lambda z: jacobian_by_copies(evaluate, z))


def check_callable(function: Callable[[Tensor], Any], M: int) -> None:
    """The promises that the search builds on: shape, dtype, derivative, and that a state's image depends on that state alone."""
    z = torch.tensor(np.random.default_rng(0).standard_normal((3, M)) * 0.1, requires_grad=True)
    try:
        with torch.enable_grad():
            out, alone = function(z), function(z[:1])
    except (RuntimeError, TypeError, IndexError, ValueError) as error:
        raise ArgumentError(
            f"the map failed on a float64 tensor of states of shape (3, {M}): {error}. It must take tensors (..., {M}) in float64; "
            "give a torch module its .double() first."
        ) from error
    if not isinstance(out, Tensor):
        raise ArgumentError(f"the map must return a torch tensor, so that it can be differentiated, got {type(out).__name__}.")
    if out.shape != z.shape:
        raise ArgumentError(f"the map must return states of the shape that it was given, (3, {M}), got {tuple(out.shape)}. Is dim = {M} right?")
    if out.dtype != torch.float64:
        raise ArgumentError(f"the map must stay in float64, it returned {out.dtype}: roots are wanted to 1e-12. Give a torch module its .double().")
    if not out.requires_grad:
        raise ArgumentError("the map's output carries no gradient: write it in torch operations alone, without detach() or numpy.")
    same = torch.isclose(out[:1].detach(), alone.detach(), rtol=1e-9, atol=1e-9, equal_nan=True)
    if alone.shape != (1, M) or not same.all():
        raise ArgumentError("the map gives another image for a state alone than among others: it is random, or mixes the states of a batch.")


def jacobian_by_copies(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Row i of J from copy i of the states: one backward pass in all, and none of the limits that torch.func puts on what a map may do."""
    B, M = z.shape
    with torch.enable_grad():
        copies = z.detach().repeat(M, 1).requires_grad_()                          # copy i of state b at i B + b
        out = function(copies).reshape(M, B, M)
        (rows,) = torch.autograd.grad(out.diagonal(dim1=0, dim2=2).sum(), copies)
    return rows.reshape(M, B, M).transpose(0, 1)


def refuse_on_the_smooth_route(**given: bool) -> None:
    """ArgumentError where an argument was given that belongs to the routes through regions."""
    names = [name for name, was_given in given.items() if was_given]
    if names:
        it = "them" if names[1:] else "it"
        raise ArgumentError(f"{' and '.join(names)} would do nothing on the smooth route, which goes through no regions: leave {it} out.")


def needs_smooth_route(system: Any) -> bool:
    """Whether a system has no regions to go through: a callable, an object with ``dim`` and ``step`` or ``field``, or a model of smooth units."""
    model = getattr(system, "model", system)
    if isinstance(model, Model):
        return not isinstance(model, AdditiveModel) or model.additive_map().phi == "tanh"
    moves = callable(getattr(system, "step", None)) or callable(getattr(system, "field", None))
    return callable(system) or (moves and isinstance(getattr(system, "dim", None), int))
