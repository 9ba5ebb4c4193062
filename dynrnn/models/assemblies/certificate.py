"""A proof that an assembly contracts, which holds all that it rests on and can check itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import xarray as xr

from dynrnn.errors import ArgumentError, CertificateError
from dynrnn.models.assemblies.bounds import Area, largest, square
from dynrnn.models.assemblies.joint import joint_rate
from dynrnn.models.assemblies.rates import largest_step, step_rate
from dynrnn.rounding import gamma, margin_of_definiteness

LEEWAY = 1e-9               # relative, of what is stated: a machine that sums in another order proves it, too
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
        found = step_rate(integrator, dt, lambda h: self.growth(h, proof), self.kappa, self.sigma, self.skew)
        if integrator == "euler" and dt < 1:
            multiplier = np.concatenate([block.multiplier() for block in self.blocks])
            found = min(found, joint_rate(self.P, self.W, self.L, multiplier, dt, proof))
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


@dataclass(frozen=True)
class Certificate:
    """A proof, per fit, that two states of an assembly that see the same inputs approach each other, in the metric |z|^2 = z' P z.

        dz/dt = -z + W phi(g z) + L z + ...      |distance| <= exp(-continuous_rate t),   and of the discrete map   <= rate^steps

    Stated (arrays by fit; NaN where nothing is proven): ``continuous_rate`` lambda, in 1 / tau; ``rate``, the factor a step; ``dt_max``, the largest
    step of this integrator (in tau) that is proven to contract with these numbers. It rests on ``metric`` P, ``weights`` g W and ``coupling`` L
    (fit, M, M), ``areas``, ``dt``, ``integrator``. :meth:`check` proves it again from these, trusting nothing that is stated.

    It holds for every input, every state, and every activation with slopes in [0, 1], in exact arithmetic on these float64 numbers.
    """

    metric: np.ndarray
    weights: np.ndarray
    coupling: np.ndarray
    areas: tuple[int, ...]
    dt: float
    integrator: str
    fit: np.ndarray
    continuous_rate: np.ndarray
    rate: np.ndarray
    dt_max: np.ndarray

    @property
    def certified(self) -> np.ndarray:
        """Which fits it states to contract, (fit,)."""
        return (self.rate < 1) & (self.continuous_rate > 0)

    def bounds(self, fit: int = 0) -> Bounds:
        """Of one fit, by its place: ``alpha``, ``kappa``, ``sigma``, ``skew`` and the ``rate`` of any step, recomputed."""
        return Bounds(self.metric[fit], self.weights[fit], self.coupling[fit], self.areas)

    def faults(self) -> list[str]:
        """What is wrong with it, fit by fit; empty where it stands. O(M^3) a fit."""
        return [self._fault(k) for k in range(len(self.fit))]

    def check(self) -> np.ndarray:
        """Which fits are proven again, (fit,): all that is stated is recomputed, with bounds on rounding."""
        return np.array([fault == "" for fault in self.faults()])

    def _fault(self, k: int) -> str:
        one = self.bounds(k)
        if one.faults:
            return "; ".join(one.faults)
        wrong = []
        if not 0 < self.continuous_rate[k] <= 1 - one.alpha - one.skew:
            wrong.append(f"a continuous rate of {self.continuous_rate[k]:.6g} is stated, {1 - one.alpha - one.skew:.6g} is proven")
        if not 0 < self.dt <= self.dt_max[k]:
            wrong.append(f"dt = {self.dt:g} is beyond the largest step, {self.dt_max[k]:.6g}")
        if not one.rate(self.dt, self.integrator) <= self.rate[k] < 1:
            wrong.append(f"a factor of {self.rate[k]:.9g} a step is stated, {one.rate(self.dt, self.integrator):.9g} is proven")
        most = float(self.dt_max[k])
        proven = one.rate(most, self.integrator) < 1 if np.isfinite(most) else one.every_step(self.integrator)
        if not proven:
            wrong.append(f"a largest step of {most:.6g} is stated and not proven")
        return "; ".join(wrong)

    def violations(self, jacobians: torch.Tensor | np.ndarray) -> np.ndarray:
        """How many of the map's Jacobians (fit, n, M, M) stretch some direction by more than ``rate``, (fit,): 0 for what it speaks of. O(n M^3) a fit.

        All of them where nothing is certified.
        """
        J = torch.as_tensor(jacobians, dtype=torch.float64)
        if J.ndim != 4 or J.shape[0] != len(self.fit) or J.shape[2:] != self.metric.shape[1:]:
            raise ArgumentError(f"jacobians must be (fit, n, M, M) with {len(self.fit)} fits and M = {self.metric.shape[1]}, got {tuple(J.shape)}.")
        out = np.full(len(self.fit), J.shape[1])
        for k in np.flatnonzero(self.certified):
            root = torch.linalg.cholesky(torch.from_numpy(self.metric[k])).mT
            stretched = torch.linalg.solve_triangular(root, root @ J[k], upper=True, left=False)
            gap = (self.rate[k] * (1 + 1e-9)) ** 2 * torch.eye(len(root), dtype=torch.float64) - stretched.mT @ stretched
            out[k] = int((torch.linalg.cholesky_ex(gap).info != 0).sum())
        return out

    def require(self) -> Certificate:
        """Itself; CertificateError where a fit is not certified, with the range of steps that would be."""
        for k in np.flatnonzero(~self.certified):
            raise CertificateError(refusal(self.dt, self.integrator, float(self.dt_max[k]), f"fit {self.fit[k]}"))
        return self

    def distance(self, z: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Of states (fit, ..., M) in the metric, (fit, ...)."""
        d = np.asarray(z) - np.asarray(y)
        return np.sqrt(np.einsum("f...i,fij,f...j->f...", d, self.metric, d))

    def to_dataset(self) -> xr.Dataset:
        """What it states and rests on, for ``dynrnn.results``."""
        square_dims = ("fit", "latent", "latent_other")
        variables = {
            "certified": ("fit", self.certified, {"long_name": "contraction is proven"}),
            "continuous_rate": ("fit", self.continuous_rate, {"long_name": "rate of contraction in continuous time", "units": "1 / tau"}),
            "rate": ("fit", self.rate, {"long_name": "distances shrink at least by this factor", "units": "1 / step"}),
            "dt_max": ("fit", self.dt_max, {"long_name": "largest step that is proven to contract", "units": "tau"}),
            "metric": (square_dims, self.metric, {"long_name": "P of the norm (z' P z)^(1/2)"}),
            "weights": (square_dims, self.weights, {"long_name": "g W"}),
            "coupling": (square_dims, self.coupling, {"long_name": "L"}),
        }
        return xr.Dataset(variables, {"fit": self.fit}, {"dt": self.dt, "integrator": self.integrator, "areas": list(self.areas)})


def certify(
    metric: np.ndarray, weights: np.ndarray, coupling: np.ndarray, areas: tuple[int, ...], *, dt: float, integrator: str, fit: np.ndarray | None = None
) -> Certificate:
    """The certificate of assemblies with metric P, weights g W and coupling L, each (fit, M, M); what cannot be proven is NaN in it. O(M^3) a fit."""
    F = len(metric)
    continuous, rate, most = (np.full(F, np.nan) for _ in range(3))
    for k in range(F):
        one = Bounds(metric[k], weights[k], coupling[k], areas)
        if one.faults:
            continue
        room, factor = 1 - one.alpha - one.skew, one.rate(dt, integrator)
        if not room > 0:
            continue
        continuous[k], most[k] = room * (1 - LEEWAY), one.largest_dt(integrator) * (1 - LEEWAY)
        if factor < 1:
            rate[k], most[k] = 1 - (1 - factor) * (1 - LEEWAY), max(most[k], dt)
    return Certificate(metric, weights, coupling, tuple(areas), dt, integrator, np.arange(F) if fit is None else fit, continuous, rate, most)


def refusal(dt: float, integrator: str, dt_max: float, where: str) -> str:
    """The message for a step that is not certified."""
    if not dt_max > 0:
        return f"{where}: contraction is not proven with integrator={integrator!r} for any step. Make the weights of the areas smaller."
    other = "" if integrator == "implicit-explicit" else ", or take integrator='implicit-explicit', whose step does not depend on the coupling"
    return f"{where}: dt = {dt:g} is beyond the steps that are certified with integrator={integrator!r}. Choose 0 < dt <= {dt_max:.4g}{other}."
