"""Proven bounds of a whole assembly: of its areas, its coupling, and a step of any length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dynrnn.models.assemblies.bounds import Area, largest, square
from dynrnn.models.assemblies.joint import joint_rate
from dynrnn.models.assemblies.rates import largest_step, step_rate
from dynrnn.rounding import gamma, margin_of_definiteness

LONGEST = 1e6               # steps beyond are not told apart


@dataclass(frozen=True)
class Bounds:
    """What is proven of one fit from its metric P, weights W (with the gain), and coupling L (M, M)."""

    P: np.ndarray
    W: np.ndarray
    L: np.ndarray
    areas: tuple[int, ...]

    @cached_property
    def blocks(self) -> list[Area]:
        ends = np.cumsum(self.areas)
        return [Area(self.P[e - n : e, e - n : e], self.W[e - n : e, e - n : e]) for n, e in zip(self.areas, ends)]

    @cached_property
    def faults(self) -> list[str]:
        """Why these matrices can be no certificate."""
        inside = np.zeros(self.P.shape, bool)
        for n, e in zip(self.areas, np.cumsum(self.areas)):
            inside[e - n : e, e - n : e] = True
        if not (np.isfinite(self.P).all() and np.isfinite(self.W).all() and np.isfinite(self.L).all()):
            return ["its numbers are not finite"]
        out = []
        if self.P[~inside].any() or self.W[~inside].any():
            out.append("its metric or weights join areas")
        if not (self.P == self.P.T).all() or not margin_of_definiteness(self.P[None], np.zeros((1, *self.P.shape)))[0] > 0:
            out.append("its metric is not symmetric and positive definite")
        return out

    @cached_property
    def kappa(self) -> float:
        """Norm of W D."""
        return max(block.norm for block in self.blocks)

    @cached_property
    def alpha(self) -> float:
        """Log-norm of W D."""
        return max(block.log_norm for block in self.blocks)

    @cached_property
    def sigma(self) -> float:
        """Norm of L."""
        size, error = square(self.L, self.P)
        found = largest(size, self.P, error)
        return float(np.sqrt(max(found, 0.0))) * (1 + 4e-16)

    @cached_property
    def skew(self) -> float:
        """How far L is from skew in P: |x' P L x| <= skew |x|^2; rounding, where it was made so."""
        PL = self.P @ self.L
        size = np.abs(self.P) @ np.abs(self.L)
        error = gamma(len(PL) + 6) * (size + size.T)
        return max(largest(sign * (PL + PL.T) / 2, self.P, error, scale=self.sigma) for sign in (1, -1))

    def growth(self, h: float, proof: bool = True) -> float:
        return max(block.growth(h, proof) for block in self.blocks)

    def rate(self, dt: float, integrator: str, proof: bool = True) -> float:
        found = np.inf
        if integrator == "euler" and dt < 1:
            multiplier = np.concatenate([block.multiplier() for block in self.blocks])
            found = joint_rate(self.P, self.W, self.L, multiplier, dt, proof)
        if proof or not found < 1:                                              # by parts, as the construction of a model has it
            found = min(found, step_rate(integrator, dt, lambda h: self.growth(h, proof), self.kappa, self.sigma, self.skew))
        return found

    def every_step(self, integrator: str) -> bool:
        """Whether a step of any length contracts: |x + dt W D x| <= (1 + dt kappa) |x|."""
        return integrator == "implicit-explicit" and self.kappa + self.skew < 1

    def largest_dt(self, integrator: str) -> float:
        """The largest step that is proven to contract, and so every smaller one; infinite if all do."""
        if self.every_step(integrator):
            return np.inf
        found = largest_step(lambda dt: self.rate(dt, integrator, proof=False), LONGEST if integrator == "implicit-explicit" else 1.0) * (1 - 1e-6)
        for _ in range(20):
            if found == 0 or self.rate(found, integrator) < 1:
                return found
            found *= 0.999
        return 0.0
