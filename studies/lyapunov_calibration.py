"""Do the 95 % intervals of Lyapunov exponents hold the true value 95 times in 100, and what of the usual standard error?

    python studies/lyapunov_calibration.py                  # 200 replicas of 32 segments of each system: two minutes on one core

The usual one is the standard deviation of all increments over the root of their number, as if they were independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro
from scipy.special import polygamma, psi

import dynrnn as dr
from dynrnn.analysis.lyapunov.carrier import Subject, subject_of
from dynrnn.analysis.lyapunov.estimate import half_width, mean_and_error
from dynrnn.analysis.lyapunov.measure import measure
from dynrnn_kernels.additive.tangent import Carried, orthonormal, spread_of


@dataclass
class Settings:
    """Arguments of the study."""

    replicas: int = 200
    segments: int = 32
    random_state: int = 0


@dataclass(frozen=True)
class Products:
    """Products of independent Gaussian matrices of variance g^2 / N, whose spectrum is known (Newman 1986, Commun. Math. Phys. 103, 121)."""

    rng: np.random.Generator
    dim: int = 20
    g: float = 1.5
    n_fits: int = 1
    input_dim: int = 0

    def advance(self, z: torch.Tensor, n_steps: int, u: Any = None) -> torch.Tensor:
        return z

    def path(self, z: torch.Tensor, n_steps: int) -> torch.Tensor:
        return z[:, :, None].expand(-1, -1, n_steps, -1)

    def carry(self, z: torch.Tensor, Q: torch.Tensor, n_steps: int, interval: Any, u: Any, pair: Any, distance: Any, path: bool) -> Carried:
        log_r, widest = Q.new_zeros(Q.shape[:3]), Q.new_zeros(Q.shape[:2])
        for _ in range(n_steps):
            J = torch.tensor(self.rng.standard_normal((1, Q.shape[1], self.dim, self.dim)) * self.g / self.dim**0.5)
            Q, lengths = orthonormal(Q @ J.mT)
            log_r += torch.log(lengths)
            widest = torch.maximum(widest, spread_of(lengths))
        states = z.new_zeros(1, n_steps if path else 0, self.dim)
        return Carried(z, Q, pair, log_r, log_r[..., 0].clone(), widest, torch.full(Q.shape[:2], -1, dtype=torch.int64), states)

    def jacobians(self, z: torch.Tensor, u: Any = None) -> torch.Tensor:
        return torch.eye(self.dim, dtype=z.dtype).expand(*z.shape[:2], -1, -1)

    def exponents(self) -> np.ndarray:
        return 0.5 * (np.log(2 * self.g**2 / self.dim) + psi((self.dim - np.arange(self.dim)) / 2))

    def errors(self, n_steps: int) -> np.ndarray:
        """Of the mean over so many steps."""
        return 0.5 * np.sqrt(polygamma(1, (self.dim - np.arange(self.dim)) / 2) / n_steps)


def henon(z: torch.Tensor) -> torch.Tensor:
    return torch.stack([1 - 1.4 * z[..., 0] ** 2 + z[..., 1], 0.3 * z[..., 0]], -1)


def cover(name: str, subject: Subject, truth: np.ndarray, n_steps: int, warmup: int, transient: int, initial: Any, settings: Settings) -> None:
    R, S = settings.replicas, settings.segments
    k = subject.carrier.dim
    found = measure(subject, k, n_steps, R * S, transient, warmup, None, initial, settings.random_state)
    dt = subject.dt
    records = found.log_r[:, 0].reshape(len(found.steps), R, S, k) / (found.steps * dt)[:, None, None, None]
    segments = found.log_r[:, 0].sum(0).reshape(R, S, k) / (n_steps * dt)
    mean, error = mean_and_error(segments)
    inside = np.abs(mean - truth) <= half_width(error, S, 0.95)
    usual = np.moveaxis(records, 0, 1).reshape(R, -1, k)
    usual_error = usual.std(1, ddof=1) / np.sqrt(usual.shape[1])
    usual_inside = np.abs(mean - truth) <= 1.96 * usual_error
    true_error = mean.std(0, ddof=1)
    rows = (0, k // 2, k - 1) if k > 3 else range(k)
    print(f"| {name} | {S} x {n_steps * dt:g} | {inside.mean():.1%} ({inside.mean(0).min():.1%} to {inside.mean(0).max():.1%}) | {usual_inside.mean():.1%} "
          f"({usual_inside.mean(0).min():.1%} to {usual_inside.mean(0).max():.1%}) | "
          f"{', '.join(f'{np.sqrt((error**2).mean(0))[i] / true_error[i]:.2f}' for i in rows)} | "
          f"{', '.join(f'{np.sqrt((usual_error**2).mean(0))[i] / true_error[i]:.2f}' for i in rows)} | "
          f"{', '.join(f'{(mean.mean(0) - truth)[i] / (true_error[i] / np.sqrt(R)):.1f}' for i in rows)} |", flush=True)


def main(settings: Settings) -> None:
    rng = np.random.default_rng(settings.random_state)
    n = settings.replicas * settings.segments
    print("| system | segments x time | 95 % intervals hold the truth (lowest to highest exponent) | usual ones | error over its true value | "
          "usual error over it | bias in standard errors |")
    print("|---|---|---|---|---|---|---|")
    products = Products(rng)
    cover("Gaussian products, N = 20", Subject(products, np.arange(1), np.ones(1, bool)), products.exponents(), 40, 40, 0, rng.random((n, 20)), settings)
    truth = dr.reference_spectrum("henon").value.values
    cover("Henon", subject_of(henon, 2), truth, 300, 100, 300, rng.uniform(-0.2, 0.2, (n, 2)), settings)
    truth = dr.reference_spectrum("lorenz63").value.values
    cover("Lorenz-63", subject_of(dr.known_system("lorenz63")), truth, 1_000, 1_000, 1_500, None, settings)


if __name__ == "__main__":
    main(tyro.cli(Settings))
