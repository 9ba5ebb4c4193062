"""What can carry tangent vectors: models and piecewise-linear maps by the kernels, callables and known flows by automatic derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from dynrnn.analysis.flows import flow_map
from dynrnn.analysis.piecewise.canonical import ANALYSED, NOT_FINITE, canonical
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.smooth.system import check_callable, jacobian_by_copies
from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.base import Model
from dynrnn_kernels.additive import AdditiveMap
from dynrnn_kernels.additive.orbit import later, orbit, suits
from dynrnn_kernels.additive.tangent import Carried, carry_by
from dynrnn_kernels.recurrences import Map, forced_sequence, jacobian, recurrence_of, step

BLOCK_NUMBERS = 2**20        # latent numbers held at once on the way to a later state


@runtime_checkable
class Carrier(Protocol):
    """Maps of all fits that are finite. States are [F, S, M], vectors [F, S, k, M], inputs [1 or F, 1 or S, n_steps, K], all float64."""

    @property
    def dim(self) -> int: ...
    @property
    def n_fits(self) -> int: ...
    @property
    def input_dim(self) -> int: ...
    def advance(self, z: Tensor, n_steps: int, u: Tensor | None = None) -> Tensor: ...
    def path(self, z: Tensor, n_steps: int) -> Tensor: ...
    def carry(self, z: Tensor, Q: Tensor, n_steps: int, interval: Tensor, u: Tensor | None, pair: Tensor | None, distance: Tensor, path: bool) -> Carried: ...
    def jacobians(self, z: Tensor, u: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Subject:
    """A carrier and what is known of the system: labels of all fits, which of them it has, the sampling step and where orbits may start.

    flow: whether the map is a flow over the time dt. starts: a function of (n, rng) that gives independent starts [n, M], or None.
    transient: steps that a known system wants dropped, or None. step_error: of the integration, relative, or NaN.
    """

    carrier: Carrier
    fit: np.ndarray
    usable: np.ndarray
    dt: float = 1.0
    flow: bool = False
    starts: Callable[[int, np.random.Generator], np.ndarray] | None = None
    transient: int | None = None
    step_error: float = float("nan")
    model: Model | None = None

    @property
    def status(self) -> np.ndarray:
        return np.where(self.usable, ANALYSED, NOT_FINITE).astype(object)


def derivative_along(function: Callable[[Tensor], Tensor], x: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """(function(x), J q) of a function of each state by itself: the derivative of w'J q by w, both in reverse mode, whose formulas torch has for everything."""
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        out = function(leaf)
        weight = torch.zeros_like(out, requires_grad=True)
        (pulled,) = torch.autograd.grad(out, leaf, weight, create_graph=True)
        (moved,) = torch.autograd.grad(pulled, weight, q)
    return out.detach(), moved


def free_run(map: Map, z: Tensor, n_steps: int, u: Tensor | None = None) -> Tensor:
    """The states [F, S, n_steps, M] after each step from z [F, S, M] on, along u [1 or F, 1 or S, n_steps, K]."""
    compiled = recurrence_of(map).orbit
    if compiled is not None:
        return compiled(map, z, n_steps, u, backend="cpu")
    F, S, M = z.shape
    nothing = z.new_zeros(1).expand(F, S, n_steps, M)
    with torch.no_grad():
        return forced_sequence(map, z.contiguous(), nothing, z.new_zeros(()), None if u is None else u.expand(F, S, -1, -1), backend="cpu")


@dataclass(frozen=True)
class Mapped:
    """Fits of a map of the kernels; ``constant`` [K] is the input where none is given. Tangents are compiled where the recurrence
    has them so; others go by J, or without it where they are few."""

    map: Map
    constant: Tensor

    @property
    def dim(self) -> int:
        return self.map.latent_dim

    @property
    def n_fits(self) -> int:
        return self.map.n_fits

    @property
    def input_dim(self) -> int:
        return self.map.input_dim

    def _drive(self, u: Tensor | None, n_steps: int) -> Tensor | None:
        if u is None and self.input_dim:
            return self.constant.expand(1, 1, n_steps, self.input_dim)
        return u

    def advance(self, z: Tensor, n_steps: int, u: Tensor | None = None) -> Tensor:
        """The states ``n_steps`` later."""
        F, S, M = z.shape
        if u is None and isinstance(self.map, AdditiveMap) and suits(self.map, S):
            return later(self.map, z, n_steps, self.constant)
        block = max(1, BLOCK_NUMBERS // max(1, F * S * M))
        for first in range(0, n_steps, block):
            n = min(block, n_steps - first)
            z = free_run(self.map, z, n, self._drive(None if u is None else u[:, :, first : first + n], n))[:, :, -1]
        return z

    def path(self, z: Tensor, n_steps: int) -> Tensor:
        """The states [F, S, n_steps, M] from z [F, S, M] on."""
        if isinstance(self.map, AdditiveMap) and suits(self.map, z.shape[1]):
            return orbit(self.map, z, n_steps, self.constant)
        return torch.cat([z[:, :, None], free_run(self.map, z, n_steps - 1, self._drive(None, n_steps - 1))], 2)

    def carry(self, z: Tensor, Q: Tensor, n_steps: int, interval: Tensor, u: Tensor | None, pair: Tensor | None, distance: Tensor, path: bool) -> Carried:
        inputs = self._drive(u, n_steps)
        map = self.map
        compiled = recurrence_of(map).carry
        if compiled is not None:
            return compiled(map, z, Q, n_steps, interval, u=inputs, pair=pair, distance=distance, keep_path=path, backend="cpu")

        def drive(t: int) -> Tensor | None:
            return None if inputs is None else inputs[:, :, t].expand(*z.shape[:2], -1)

        def both(z: Tensor, Q: Tensor, t: int) -> tuple[Tensor, Tensor]:
            if self.dim <= 2 * Q.shape[2]:
                return step(map, z, drive(t)), Q @ jacobian(map, z, drive(t)).mT
            k, u = Q.shape[2], drive(t)
            copies = None if u is None else u.repeat_interleave(k, 1)                # few vectors of a large map: no J, but k steps
            after, moved = derivative_along(lambda x: step(map, x, copies), z.repeat_interleave(k, 1), Q.flatten(1, 2))
            return after[:, ::k].contiguous(), moved.unflatten(1, (-1, k))

        every, apart = torch.as_tensor(interval).expand(self.n_fits), torch.as_tensor(distance, dtype=z.dtype).expand(self.n_fits)
        return carry_by(lambda z, t: step(map, z, drive(t)), both, z, Q, n_steps, every, pair, apart, path)

    def jacobians(self, z: Tensor, u: Tensor | None = None) -> Tensor:
        """J [F, S, M, M] at every state; u [F, S, K]."""
        if u is None and self.input_dim:
            u = self.constant.expand(*z.shape[:2], -1)
        return jacobian(self.map, z, u)


@dataclass(frozen=True)
class Plain:
    """One map given as a function on tensors (..., M), differentiable in torch; ``both`` moves states and vectors where somebody knows how."""

    step: Callable[[Tensor], Tensor]
    dim: int
    both: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    n_fits: int = 1
    input_dim: int = 0

    def advance(self, z: Tensor, n_steps: int, u: Tensor | None = None) -> Tensor:
        state = z[0]
        with torch.no_grad():
            for _ in range(n_steps):
                state = self.step(state)
        return state[None]

    def path(self, z: Tensor, n_steps: int) -> Tensor:
        states = [z]
        for _ in range(n_steps - 1):
            states.append(self.advance(states[-1], 1))
        return torch.stack(states, 2)

    def tangents(self, z: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
        """Images of the states z [S, M], and J q of their vectors Q [S, k, M]: through J where k is most of M, else by the derivative of w'J by w.

        Both by reverse mode: torch's forward mode takes many operations through Python, at twenty times the cost.
        """
        if self.both is not None:
            with torch.no_grad():
                return self.both(z, Q)
        if self.dim <= 2 * Q.shape[1]:
            with torch.no_grad():
                after = self.step(z)
            return after, torch.einsum("smn,skn->skm", jacobian_by_copies(self.step, z), Q)
        after, moved = derivative_along(self.step, z[:, None].expand_as(Q), Q)
        return after[:, 0], moved

    def carry(self, z: Tensor, Q: Tensor, n_steps: int, interval: Tensor, u: Tensor | None, pair: Tensor | None, distance: Tensor, path: bool) -> Carried:
        def both(z: Tensor, Q: Tensor, t: int) -> tuple[Tensor, Tensor]:
            after, moved = self.tangents(z[0], Q[0])
            return after[None], moved[None]

        return carry_by(lambda z, t: self.step(z[0])[None], both, z, Q, n_steps, interval, pair, distance, path)

    def jacobians(self, z: Tensor, u: Tensor | None = None) -> Tensor:
        return jacobian_by_copies(self.step, z[0])[None]


def subject_of(system: Any, dim: int | None = None, inputs: Any = None, dt: float | None = None) -> Subject:
    """``system`` with a carrier: a model, a run, a ``PiecewiseLinearMap`` or its arrays, a list of them, a known flow, or a callable and its ``dim``.

    inputs: a constant input (K,) of a model. dt: sampling step, that of the model's recording or the flow's own by default, 1 for maps.
    """
    if dt is not None and not (isinstance(dt, (int, float)) and not isinstance(dt, bool) and np.isfinite(dt) and dt > 0):
        raise ArgumentError(f"dt must be a positive number, the time of one step, got {dt!r}.")
    model = system if isinstance(system, Model) else getattr(system, "model", None)
    if isinstance(model, Model):
        return _of_model(model, inputs, dim, dt)
    if inputs is not None:
        raise ArgumentError("inputs are for models; a bare map has its constant input in its biases, a callable holds its own, as in lambda z: f(z, u).")
    if isinstance(system, (PiecewiseLinearMap, tuple, list)):
        return _of_pieces(system, dim, dt)
    if callable(getattr(system, "field", None)):
        flow = flow_map(system, dt)
        return Subject(
            Plain(flow.step, flow.dim, flow.both), np.arange(1), np.ones(1, bool), flow.dt, True, flow.starts, flow.transient, flow.step_error
        )
    return _of_callable(system, dim, dt)


def _of_model(model: Model, inputs: Any, dim: int | None, dt: float | None) -> Subject:
    K = model.input_dim
    u = np.zeros(K) if inputs is None else np.asarray(inputs, dtype=np.float64)
    if u.shape != (K,) or not np.isfinite(u).all():
        raise ArgumentError(
            f"inputs must be one constant input of shape ({K},), finite, got shape {u.shape}. Along an input that changes, use conditional_exponents."
        )
    if dim is not None and dim != model.latent_dim:
        raise ArgumentError(f"dim = {dim!r}, but the model has {model.latent_dim} latent units. Leave dim out: it is for plain callables.")
    with torch.no_grad():
        whole = model.map().to(torch.float64)
    finite = torch.stack([torch.isfinite(x).flatten(1).all(1) for x in whole.tensors().values()]).all(0)
    if model.n_fits == 1 and not bool(finite[0]):
        raise ArgumentError("the model holds values that are not finite: the fit has diverged. Train it again, or load another checkpoint.")
    map = whole.with_tensors({name: x[finite].detach().clone() for name, x in whole.tensors().items()})
    own = float(model.recording_info.get("dt", 1.0)) if dt is None else float(dt)
    return Subject(Mapped(map, torch.tensor(u)), model.fit_number.numpy().copy(), finite.numpy(), own, model=model)


def _of_pieces(system: Any, dim: int | None, dt: float | None) -> Subject:
    bare = canonical(system)
    maps = [map for map in bare.maps if map is not None]
    if len({(map.latent_dim, map.n_units) for map in maps}) > 1:
        raise ArgumentError("the maps of one call must have equal numbers of latent units and of units. Analyse them one by one.")
    if dim is not None and dim != bare.latent_dim:
        raise ArgumentError(f"dim = {dim!r}, but the map has {bare.latent_dim} latent units. Leave dim out: it is for plain callables.")
    A, W1, W2, h1, h2 = (torch.tensor(np.stack([getattr(map, name) for map in maps])) for name in ("A", "W1", "W2", "h1", "h2"))
    map = AdditiveMap(a=None, A=A, W1=W1, W2=W2, h1=h1, h2=h2, phi="relu")
    return Subject(Mapped(map, torch.zeros(0, dtype=torch.float64)), bare.fit, np.ones(len(maps), bool), 1.0 if dt is None else float(dt))


def _of_callable(system: Any, dim: int | None, dt: float | None) -> Subject:
    function: Callable[..., Any] | None = getattr(system, "step", None) if callable(getattr(system, "step", None)) else system
    if not callable(function):
        raise ArgumentError(f"a model, a run, a piecewise-linear map, a known flow or a callable f(z) -> z is wanted here, got {type(system).__name__}.")
    own = getattr(system, "dim", None)
    if dim is None and not isinstance(own, int):
        raise ArgumentError("a callable does not say how many variables it has: pass dim=, the length of the last axis of z.")
    M = check_int("dim", own if dim is None else dim, low=1)
    check_callable(function, M)
    return Subject(Plain(function, M), np.arange(1), np.ones(1, bool), 1.0 if dt is None else float(dt))
