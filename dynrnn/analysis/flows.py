"""A known flow as the map over its sampling step, by Runge-Kutta of fourth order in as many steps as its error wants."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynrnn.errors import ArgumentError

ERROR = 1e-7            # of one sampling step, relative to the size of the attractor
MOST = 256              # steps of Runge-Kutta in a sampling step


@dataclass(frozen=True)
class FlowMap:
    """``step`` (..., M) over ``dt``; starts(n, rng) are scattered about the system's own initial state.

    both: states (B, M) and vectors (B, k, M) to the next states and the step's derivative along the vectors; None where the system has no ``tangent``.
    """

    step: Callable[[Tensor], Tensor]
    dim: int
    dt: float
    transient: int
    step_error: float
    n_substeps: int
    starts: Callable[[int, np.random.Generator], np.ndarray]
    both: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None


def runge_kutta(field: Callable[[Tensor], Tensor], dt: float, n_substeps: int) -> Callable[[Tensor], Tensor]:
    """The classical scheme, n_substeps times dt / n_substeps (Hairer, Norsett and Wanner 1993, Solving Ordinary Differential Equations I, II.1)."""
    h = dt / n_substeps

    def step(z: Tensor) -> Tensor:
        for _ in range(n_substeps):
            a = field(z)
            b = field(z + (h / 2) * a)
            c = field(z + (h / 2) * b)
            z = z + (h / 6) * (a + 2 * b + 2 * c + field(z + h * c))
        return z

    return step


def runge_kutta_with_vectors(
    field: Callable[[Tensor], Tensor], tangent: Callable[[Tensor, Tensor], Tensor], dt: float, n_substeps: int
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The same on states (B, M) and vectors (B, k, M), q' = Df(z) q: exactly the derivative of ``runge_kutta``'s step."""
    h = dt / n_substeps

    def step(z: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(n_substeps):
            a, A = field(z), tangent(z[:, None], Q)
            at = z + (h / 2) * a
            b, B = field(at), tangent(at[:, None], Q + (h / 2) * A)
            at = z + (h / 2) * b
            c, C = field(at), tangent(at[:, None], Q + (h / 2) * B)
            at = z + h * c
            d, D = field(at), tangent(at[:, None], Q + h * C)
            z, Q = z + (h / 6) * (a + 2 * b + 2 * c + d), Q + (h / 6) * (A + 2 * B + 2 * C + D)
        return z, Q

    return step


def flow_map(system: Any, dt: float | None) -> FlowMap:
    """The map of a system with ``dim`` and ``field(z)``; its ``dt``, ``initial``, ``transient`` (time) and ``tangent(z, q)`` = Df(z) q are used where it
    has them.

    The number of substeps is doubled until halving them changes a step by less than 1e-7 of the states' size, along an orbit; that difference
    over 15, what is left of it by Richardson's rule, is ``step_error``.
    """
    own = getattr(system, "dt", None) if dt is None else dt
    if own is None:
        raise ArgumentError(f"{type(system).__name__} has a field but no dt: pass dt=, the time of one step of its map.")
    M, interval = int(system.dim), float(own)
    given = getattr(system, "initial", None)
    centre = np.zeros(M) if given is None else np.asarray(given, dtype=np.float64)
    spread = float(getattr(system, "spread", 0.1))

    def starts(n: int, rng: np.random.Generator) -> np.ndarray:
        return centre + spread * (1 + np.abs(centre)) * rng.standard_normal((n, M))

    z = torch.tensor(starts(16, np.random.default_rng(0)))
    n, error = 1, math.inf
    while True:
        coarse, fine = runge_kutta(system.field, interval, n), runge_kutta(system.field, interval, 2 * n)
        error, state = 0.0, z
        with torch.no_grad():
            for _ in range(200):
                gap = (fine(state) - coarse(state)).abs().amax()
                state = fine(state)
                error = max(error, float(gap / (1 + state.abs().amax()))) if torch.isfinite(gap) else math.inf
        if error <= ERROR or n >= MOST:
            break
        n *= 2
    if not math.isfinite(error):
        raise ArgumentError(
            f"orbits of {type(system).__name__} leave for infinity from its initial states, or need more than {MOST} steps in dt = {interval:g}. "
            "Pass a smaller dt."
        )
    transient = math.ceil(float(getattr(system, "transient", 1_000 * interval)) / interval)
    tangent: Any = getattr(system, "tangent", None)
    both = runge_kutta_with_vectors(system.field, tangent, interval, n) if tangent is not None else None
    return FlowMap(runge_kutta(system.field, interval, n), M, interval, transient, error / 15, n, starts, both)
