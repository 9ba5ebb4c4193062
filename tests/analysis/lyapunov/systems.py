"""Systems whose exponents are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.special import polygamma, psi
from torch import Tensor

from dynrnn.analysis.lyapunov.carrier import Subject
from dynrnn_kernels.additive.tangent import Carried, orthonormal, spread_of

HENON = 1.4, 0.3
LOZI = ([[1.7, 1.0], [0.5, 0.0]], [[-3.4], [0.0]], [[1.0, 0.0]], [1.0, 0.0], [0.0])


def henon(z: Tensor) -> Tensor:
    a, b = HENON
    return torch.stack([1 - a * z[..., 0] ** 2 + z[..., 1], b * z[..., 0]], -1)


def lozi_with_copy() -> tuple:
    """Lozi's map with a third unit that copies the first: its rank is two."""
    A, W1, _, h1, h2 = (np.array(x, dtype=float) for x in LOZI)
    whole = np.zeros((3, 3))
    whole[:2, :2], whole[2, :2] = A, A[0]
    return whole, np.vstack([W1, W1[:1]]), [[0.0, 0.0, 1.0]], np.append(h1, h1[0]), h2


def orbit_of_lorenz(n: int) -> np.ndarray:
    """(n, 3), by Runge-Kutta in steps of 0.005, every other kept: in plain numbers, as quick as anything."""
    def field(x, y, z):
        return 10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z

    def moved(s, d, h):
        return tuple(a + h * b for a, b in zip(s, d))

    state, h, out = (1.0, 2.0, 20.0), 0.005, np.empty((2 * n + 4_000, 3))
    for t in range(len(out)):
        a = field(*state)
        b = field(*moved(state, a, h / 2))
        c = field(*moved(state, b, h / 2))
        d = field(*moved(state, c, h))
        state = tuple(s + h / 6 * (p + 2 * q + 2 * r + w) for s, p, q, r, w in zip(state, a, b, c, d))
        out[t] = state
    return out[4_000::2]


@dataclass(frozen=True)
class Products:
    """Products of independent Gaussian matrices of variance g^2 / N (Newman 1986, Commun. Math. Phys. 103, 121)."""

    dim: int
    g: float
    seed: int = 0
    n_fits: int = 1
    input_dim: int = 0

    def advance(self, z: Tensor, n_steps: int, u: Tensor | None = None) -> Tensor:
        return z

    def path(self, z: Tensor, n_steps: int) -> Tensor:
        return z[:, :, None].expand(-1, -1, n_steps, -1)

    def carry(self, z: Tensor, Q: Tensor, n_steps: int, interval: Tensor, u, pair, distance, path: bool) -> Carried:
        rng = np.random.default_rng([self.seed, n_steps, int(1e6 * float(z.abs().sum())) % 2**31])
        log_r, widest = Q.new_zeros(Q.shape[:3]), Q.new_zeros(Q.shape[:2])
        for _ in range(n_steps):
            J = torch.tensor(rng.standard_normal((1, Q.shape[1], self.dim, self.dim)) * self.g / self.dim**0.5)
            Q, lengths = orthonormal(torch.einsum("fsmn,fskn->fskm", J, Q))
            log_r += torch.log(lengths)
            widest = torch.maximum(widest, spread_of(lengths))
        states = z.new_zeros(1, n_steps if path else 0, self.dim)
        return Carried(z + 1e-3, Q, pair, log_r, log_r[..., 0].clone(), widest, torch.full(Q.shape[:2], -1, dtype=torch.int64), states)

    def jacobians(self, z: Tensor, u: Tensor | None = None) -> Tensor:
        return torch.eye(self.dim, dtype=z.dtype).expand(*z.shape[:2], -1, -1)

    def exponents(self) -> tuple[np.ndarray, np.ndarray]:
        """Exponents, and the standard deviation of one step's growth."""
        n = (self.dim - np.arange(self.dim)) / 2
        return 0.5 * (np.log(2 * self.g**2 / self.dim) + psi(n)), 0.5 * np.sqrt(polygamma(1, n))

    def subject(self) -> Subject:
        return Subject(self, np.arange(1), np.ones(1, bool))


def doubling_ring(N: int, e: float):
    """Coupled doubling maps, and their exponents: the eigenvalues of the circulant Jacobian, which is the same everywhere."""

    def step(z: Tensor) -> Tensor:
        return torch.remainder(2 * ((1 - e) * z + e / 2 * (torch.roll(z, 1, -1) + torch.roll(z, -1, -1))), 1.0)

    exponents = np.log(np.abs(2 * (1 - e + e * np.cos(2 * np.pi * np.arange(N) / N))))
    return step, np.sort(exponents)[::-1]


class VanDerPol:
    """x'' = (1 - x^2) x' - x, whose orbits from nearby starts go round its cycle in step for ever."""

    dim, dt, initial, spread, transient = 2, 0.1, (2.0, 0.0), 0.01, 20.0

    def field(self, z):
        x, v = z[..., 0], z[..., 1]
        return torch.stack([v, (1 - x**2) * v - x], -1)

    def tangent(self, z, q):
        (x, v), (dx, dv) = z.unbind(-1), q.unbind(-1)
        return torch.stack([dv, (1 - x**2) * dv - (2 * x * v + 1) * dx], -1)

    def floquet(self) -> float:
        """The cycle's mean divergence <1 - x^2>, its one exponent that is not zero, over a hundred turns (the rest of the last one is below 1 / 300)."""
        rates = lambda t, z: [z[1], (1 - z[0] ** 2) * z[1] - z[0], 1 - z[0] ** 2]  # noqa: E731
        turn = lambda t, z: z[1]  # noqa: E731
        turn.direction = -1
        ends = solve_ivp(rates, (0, 100), [2, 0, 0], method="DOP853", rtol=1e-10, atol=1e-10, events=turn)
        times, sums = ends.t_events[0], ends.y_events[0][:, 2]
        return (sums[-1] - sums[3]) / (times[-1] - times[3])
