"""One-parameter families of maps, with their derivatives by state and parameter: differentiable functions, and piecewise-linear maps with their words."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dynrnn.analysis.piecewise.canonical import canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.smooth.system import check_callable, jacobian_by_copies
from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.base import Model
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.recurrences import Map, step

Words = Any              # which units are on at every point, (k, H), of piecewise-linear maps; None for smooth ones
SMALL = 1e-6             # relative change of the parameter for a derivative by differences


@dataclass(frozen=True)
class Smooth:
    """f(z, p) on tensors (B, M) and a parameter (), differentiable in both."""

    function: Callable[[Tensor, Tensor], Tensor]
    dim: int
    kinked: ClassVar[bool] = False

    def step(self, z: np.ndarray, p: float) -> np.ndarray:
        with torch.no_grad():
            return self.function(torch.tensor(z), torch.tensor(p, dtype=torch.float64)).numpy()

    def derivatives(self, z: np.ndarray, p: float, words: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """f (k, M), its Jacobian (k, M, M) and its derivative by p (k, M) at states (k, M)."""
        at, parameter = torch.tensor(z), torch.tensor(p, dtype=torch.float64)
        J = jacobian_by_copies(lambda x: self.function(x, parameter), at).detach().numpy()
        value, slope = by_parameter(self.function, at, parameter)
        return value.numpy(), J, slope.numpy()


def by_parameter(function: Callable[[Tensor, Tensor], Tensor], z: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """f and df / dp. The derivative of v'f by p is linear in v, so its own by v is df / dp: two backward passes, however many numbers f has.

    Torch's forward mode would be one pass, but takes milliseconds where a number meets a tensor. Where a function has no second derivative, one pass a number.
    """
    with torch.enable_grad():
        q = p.detach().requires_grad_()
        value = function(z, q)
        if not value.requires_grad:
            return value.detach(), torch.zeros_like(value)
        try:
            v = torch.zeros_like(value).requires_grad_()
            (slope,) = torch.autograd.grad(value, q, v, create_graph=True)
            return value.detach(), torch.autograd.grad(slope, v)[0]
        except RuntimeError:
            value = function(z, q)
            slopes = [torch.autograd.grad(one, q, retain_graph=True, allow_unused=True)[0] for one in value.reshape(-1)]
    return value.detach(), torch.stack([torch.zeros_like(p) if slope is None else slope for slope in slopes]).reshape(value.shape)


@dataclass(frozen=True)
class Pieces:
    """Piecewise-linear maps, one for every p. On the words of a region the map goes on as it is there, beyond the region's borders."""

    make: Callable[[float], PiecewiseLinearMap]
    dim: int
    kinked: ClassVar[bool] = True

    def step(self, z: np.ndarray, p: float) -> np.ndarray:
        return self.make(p).step(z)

    def words(self, z: np.ndarray, p: float) -> np.ndarray:
        """Which units are on, (k, H)."""
        return self.make(p).words(z)

    def _value(self, z: np.ndarray, p: float, words: np.ndarray) -> np.ndarray:
        map = self.make(p)
        return z @ map.A.T + (words * (z @ map.W2.T + map.h2)) @ map.W1.T + map.h1

    def derivatives(self, z: np.ndarray, p: float, words: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        delta = SMALL * (1 + abs(p))
        slope = (self._value(z, p + delta, words) - self._value(z, p - delta, words)) / (2 * delta)
        return self._value(z, p, words), self.make(p).jacobians(words), slope

    def margins(self, z: np.ndarray, p: float) -> np.ndarray:
        """Signed distance (k, H) of every point from every switching plane; units that no state switches are inf away."""
        map = self.make(p)
        length = np.linalg.norm(map.W2, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(length > 0, (z @ map.W2.T + map.h2) / length, np.inf)

    def margin_slope(self, z: np.ndarray, p: float, i: int, j: int) -> tuple[np.ndarray, float]:
        """Derivatives of the margin of point i from plane j, by the point (M,) and by p."""
        map, delta = self.make(p), SMALL * (1 + abs(p))
        by_p = (self.margins(z, p + delta)[i, j] - self.margins(z, p - delta)[i, j]) / (2 * delta)
        return map.W2[j] / np.linalg.norm(map.W2[j]), float(by_p)


Family = Smooth | Pieces


def family_of(system: Any, p0: float, p1: float, dim: int | None, input: int | None, inputs: Any, fit: Any) -> tuple[Family, Any, float]:
    """A family, the fit's label (None for functions) and the sampling step; p0 and p1 are two values of the parameter that it must tell apart."""
    model = system if isinstance(system, Model) else getattr(system, "model", None)
    if isinstance(model, Model):
        return _of_model(model, input, inputs, fit)
    if input is not None or inputs is not None or fit is not None:
        raise ArgumentError("input, inputs and fit are for models; a function has its parameter as its second argument.")
    if not callable(system):
        raise ArgumentError(f"a model, a function f(z, p), or one of p that gives a map is wanted here, got {type(system).__name__}.")
    if _n_arguments(system) != 1:
        return _of_function(system, p0, p1, dim), None, 1.0
    made: Any = system(p0)
    if isinstance(made, (PiecewiseLinearMap, tuple)):
        first = _as_map(made)
        if dim is not None and dim != first.latent_dim:
            raise ArgumentError(f"dim = {dim}, but the maps have {first.latent_dim} variables. Leave dim out.")
        other = _as_map(system(p1))
        if all(np.array_equal(getattr(first, name), getattr(other, name)) for name in ("A", "W1", "W2", "h1", "h2")):
            raise ArgumentError(f"the map is the same at p = {p0:g} and p = {p1:g}: it ignores p.")
        return Pieces(lambda p: _as_map(system(p)), first.latent_dim), None, 1.0
    if not callable(made):
        raise ArgumentError(f"the function of p must give a PiecewiseLinearMap, its arrays or a function of z, got {type(made).__name__}.")
    make: Any = system
    return _of_function(lambda z, p: make(p)(z), p0, p1, dim), None, 1.0


def _as_map(made: Any) -> PiecewiseLinearMap:
    return made if isinstance(made, PiecewiseLinearMap) else PiecewiseLinearMap(*made)


def _n_arguments(function: Any) -> int:
    """Positional arguments that must be given; 2 where it does not say."""
    try:
        given = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2
    return sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty for one in given)


def _of_function(function: Any, p0: float, p1: float, dim: int | None) -> Smooth:
    if dim is None:
        raise ArgumentError("a function does not say how many variables it has: pass dim=, the length of the last axis of z.")
    M = check_int("dim", dim, low=1)
    first, other = (torch.tensor(p, dtype=torch.float64) for p in (p0, p1))
    check_callable(lambda z: function(z, first), M)
    z = torch.tensor(np.random.default_rng(1).standard_normal((5, M)))
    with torch.no_grad():
        same = torch.equal(torch.nan_to_num(function(z, first)), torch.nan_to_num(function(z, other)))
    if same:
        raise ArgumentError(f"the map has the same images at p = {p0:g} and p = {p1:g}: it ignores p. Let f(z, p) depend on its second argument.")
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")                                             # torch warns of what is about to be said more plainly
        follows = function(z, first.clone().requires_grad_()).requires_grad
    if not follows:
        raise ArgumentError("the map depends on p but carries no gradient by it: use p as the tensor that it is, without float(), item(), detach() or numpy.")
    return Smooth(function, M)


def _of_model(model: Model, input: int | None, inputs: Any, fit: Any) -> tuple[Family, Any, float]:
    K, labels = model.input_dim, model.fit_number.tolist()
    if not K:
        raise ArgumentError("the model takes no inputs, and a continuation needs a parameter: give a function f(z, p) or p -> PiecewiseLinearMap instead.")
    if input is None:
        raise ArgumentError(f"say which of the model's {K} inputs is the parameter: input=0 to {K - 1}.")
    j = check_int("input", input, low=0, high=K - 1)
    if fit is None and len(labels) > 1:
        raise ArgumentError(f"the model holds {len(labels)} fits and a continuation is of one: pass fit=, one of {labels}.")
    label = labels[0] if fit is None else fit
    if label not in labels:
        raise ArgumentError(f"there is no fit {label!r}; the model holds {labels}.")
    k = labels.index(label)
    base = np.zeros(K) if inputs is None else np.asarray(inputs, dtype=np.float64)
    if base.shape != (K,) or not np.isfinite(base).all():
        raise ArgumentError(f"inputs must be one constant input of shape ({K},), finite, got shape {base.shape}.")
    dt = float(model.recording_info.get("dt", 1.0))
    unit = np.eye(K)[j]
    whole: Map = model.map().to(torch.float64)
    own = whole.with_tensors({name: value[k : k + 1].detach().clone() for name, value in whole.tensors().items()})
    if not all(bool(torch.isfinite(value).all()) for value in own.tensors().values()):
        raise ArgumentError(f"the parameters of fit {label} are not finite: it has diverged. Take another fit.")
    if not isinstance(whole, AdditiveMap) or whole.phi == "tanh":
        start, direction = torch.tensor(base * (1 - unit)), torch.tensor(unit)
        return Smooth(lambda z, p: step(own, z[None], (start + p * direction).expand(1, len(z), K))[0], model.latent_dim), label, dt
    zero, one = (map for map in (canonical(model, base * (1 - unit) + p * unit).maps[k] for p in (0.0, 1.0)) if map is not None)
    by_h1, by_h2 = one.h1 - zero.h1, one.h2 - zero.h2                                 # an input enters the biases, so the map is linear in it
    return Pieces(lambda p: replace(zero, h1=zero.h1 + p * by_h1, h2=zero.h2 + p * by_h2), model.latent_dim), label, dt
