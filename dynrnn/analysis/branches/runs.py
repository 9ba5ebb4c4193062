"""Systems at many values of a parameter as few batched carriers: stacks of maps, functions of a tensor of parameters, or one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynrnn.analysis.lyapunov.carrier import Carrier, Mapped, Plain, Subject, subject_of
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.errors import ArgumentError, check_int
from dynrnn.models.base import Model
from dynrnn_kernels.additive import AdditiveMap


@dataclass(frozen=True)
class Run:
    """A carrier for the values in a slice: by_state, they are states of one function, else fits of a stack (value, fit)."""

    carrier: Carrier
    values: slice
    by_state: bool = False

    @property
    def n(self) -> int:
        return self.values.stop - self.values.start

    def spread(self, x: Tensor) -> Tensor:
        """What every value starts with, [fit, start, ...], for all of them."""
        whole = x.expand(self.n, *x.shape)
        return whole.reshape(1, -1, *x.shape[2:]).contiguous() if self.by_state else whole.reshape(-1, *x.shape[1:]).contiguous()

    def gather(self, x: Tensor, n_starts: int) -> Tensor:
        """Results of all, back as [fit, value, start, ...]."""
        if self.by_state:
            return x.reshape(1, self.n, n_starts, *x.shape[2:])
        return x.reshape(self.n, -1, *x.shape[1:]).transpose(0, 1)


@dataclass(frozen=True)
class Runs:
    """All runs, and what is common to them."""

    runs: list[Run]
    fit: np.ndarray
    usable: np.ndarray
    dim: int
    dt: float
    grid: np.ndarray

    def check(self, z: Tensor) -> None:
        """ArgumentError if the first and the last value have the same images of all starts z [fit, start, M]."""
        if len(self.grid) < 2:
            return
        first, last = (run.gather(run.carrier.advance(run.spread(z), 1), z.shape[1])[:, at] for run, at in ((self.runs[0], 0), (self.runs[-1], -1)))
        if torch.equal(torch.nan_to_num(first), torch.nan_to_num(last)):
            raise ArgumentError(f"the system has the same images at {self.grid[0]:g} and {self.grid[-1]:g}: it ignores the parameter.")


def runs_of(make_system: Any, grid: np.ndarray, n_starts: int, dim: int | None, dt: float | None, input: int | None, inputs: Any) -> Runs:
    """Runs for ``n_starts`` states a value. ArgumentError for what is no function of a parameter or model, or differs in its variables between values."""
    model = make_system if isinstance(make_system, Model) else getattr(make_system, "model", None)
    if isinstance(model, Model):
        return _of_inputs(model, grid, dim, dt, input, inputs)
    if input is not None:
        raise ArgumentError("input is the number of a model's input; a function of the parameter needs none.")
    if not callable(make_system):
        raise ArgumentError(f"a model, or a function of the parameter that gives a system, is wanted here, got {type(make_system).__name__}.")
    made: list[Any] = [make_system(float(p)) for p in grid]
    if inputs is None and all(isinstance(one, (PiecewiseLinearMap, tuple)) for one in made):
        maps = [one if isinstance(one, PiecewiseLinearMap) else PiecewiseLinearMap(*one) for one in made]
        if len({(one.latent_dim, one.n_units) for one in maps}) == 1:
            stack = subject_of(maps, dim, None, dt)
            return _of_stack(stack.carrier, grid, np.arange(1), np.ones(1, bool), stack.dt)
    subjects = [subject_of(one, dim, inputs, dt) for one in made[:1]]
    first = subjects[0]
    if isinstance(first.carrier, Plain) and not first.flow:
        step = _at_once(make_system, made, first.carrier.dim, grid, n_starts)
        if step is not None:
            return Runs([Run(Plain(step, first.carrier.dim), slice(0, len(grid)), True)], first.fit, first.usable, first.carrier.dim, first.dt, grid)
    subjects += [subject_of(one, dim, inputs, dt) for one in made[1:]]
    for p, own in zip(grid, subjects):
        if own.carrier.dim != first.carrier.dim or not np.array_equal(own.fit, first.fit) or (own.usable != first.usable).any():
            raise ArgumentError(f"the system at {p:g} has other variables or fits than that at {grid[0]:g}: they must be the same at every value.")
    runs = [Run(own.carrier, slice(i, i + 1)) for i, own in enumerate(subjects)]
    return Runs(runs, first.fit, first.usable, first.carrier.dim, first.dt, grid)


def _of_stack(carrier: Carrier, grid: np.ndarray, fit: np.ndarray, usable: np.ndarray, dt: float) -> Runs:
    return Runs([Run(carrier, slice(0, len(grid)))], fit, usable, carrier.dim, dt, grid)


def _of_inputs(model: Model, grid: np.ndarray, dim: int | None, dt: float | None, input: int | None, inputs: Any) -> Runs:
    K = model.input_dim
    if input is None or not K:
        raise ArgumentError(
            f"say which of the model's {K} inputs the values are: input=0 to {K - 1}." if K
            else "the model takes no inputs; give a function of the parameter that gives a system."
        )
    j = check_int("input", input, low=0, high=K - 1)
    subject: Subject = subject_of(model, dim, inputs, dt)
    carrier = subject.carrier
    if not isinstance(carrier, Mapped):
        raise ArgumentError(f"the inputs of {model.family} cannot be varied.")
    u = carrier.constant.repeat(len(grid), 1)
    u[:, j] = torch.tensor(grid)
    map = carrier.map.written_out() if isinstance(carrier.map, AdditiveMap) else None
    if map is not None and map.D is None and map.C is not None:                      # a constant input is a bias: all values are maps without inputs
        n = len(grid)
        stacked = {name: x.repeat(n, *(1,) * (x.ndim - 1)) for name, x in map.tensors().items() if name != "C"}
        stacked["h1"] = stacked["h1"] + torch.einsum("fmk,pk->pfm", map.C, u).reshape(n * map.n_fits, -1)
        whole = replace(map, C=None, **stacked)
        return _of_stack(Mapped(whole, torch.zeros(0, dtype=torch.float64)), grid, subject.fit, subject.usable, subject.dt)
    runs = [Run(Mapped(carrier.map, u[i]), slice(i, i + 1)) for i in range(len(grid))]
    return Runs(runs, subject.fit, subject.usable, carrier.dim, subject.dt, grid)


def _at_once(make_system: Callable[[Any], Any], made: list[Any], M: int, grid: np.ndarray, n_starts: int) -> Callable[[Tensor], Tensor] | None:
    """One step for states (value, start) in order, if the function takes a tensor of parameters, (n,) or (n, 1), and gives what it gives at each alone."""
    p = torch.tensor(grid)
    z = torch.tensor(np.random.default_rng(0).standard_normal((2 * len(grid), M)))
    with torch.no_grad():
        alone = torch.stack([(one.step if callable(getattr(one, "step", None)) else one)(z[2 * i : 2 * i + 2]) for i, one in enumerate(made)]).reshape(z.shape)
    for column in (False, True):

        def step(z: Tensor, S: int = n_starts, column: bool = column) -> Tensor:
            flat = z.reshape(-1, M)
            q = p.repeat_interleave(S).repeat(len(flat) // (S * len(p)))             # copies of all states follow one another
            return make_system(q[:, None] if column else q)(flat).reshape(z.shape)

        try:
            with torch.no_grad():
                together = step(z, 2)
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
            continue
        if torch.allclose(together, alone, rtol=1e-12, atol=1e-12, equal_nan=True):
            return step
    return None
