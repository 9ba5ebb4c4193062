"""Constants of an attractor from long runs: mean, standard deviation, largest Lyapunov exponent, each with a standard error.

``python -m dynrnn_datasets.longrun`` prints the figures that stand in ``systems.py``. Independent copies are integrated side by side, and
the spread over copies gives the standard errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .integrate import trajectory


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each channel, and the standard error of either."""

    mean: Float[np.ndarray, " dim"]
    scale: Float[np.ndarray, " dim"]
    mean_error: Float[np.ndarray, " dim"]
    scale_error: Float[np.ndarray, " dim"]


def _copies(system: Any, n_copies: int, random_state: int) -> np.ndarray:
    rng = np.random.default_rng(random_state)
    initial = np.asarray(system.initial, dtype=float)
    return initial + 0.1 * (1 + np.abs(initial)) * rng.standard_normal((n_copies, system.dim))


def long_run_moments(
    system: Any, n_copies: int = 64, n_samples: int = 4_000, dt: float | None = None, random_state: int = 0, rtol: float = 1e-8
) -> Moments:
    """Moments over ``n_copies`` trajectories of ``n_samples`` each, the transient dropped. Cost O(n_copies n_samples dim).

    Each copy's window starts at a random time of its own: copies of a phase-coherent system would otherwise begin and end their windows
    at one phase, a bias that the spread over copies does not show.
    """
    dt = float(system.dt if dt is None else dt)
    shape = (n_copies, system.dim)
    start = _copies(system, n_copies, random_state).ravel()
    n_spread = max(1, n_samples // 4)
    offset = np.random.default_rng(random_state + 1).integers(n_spread, size=n_copies)
    times = system.transient + dt * np.arange(n_samples + n_spread)
    path = trajectory(
        lambda t, z: system.field(z.reshape(shape)).ravel(),
        start,
        times,
        rtol=rtol,
        atol=rtol,
        label=f"{system} (for its standard deviations)",
        bound=system.bound * (1 + float(np.abs(start).max())),
    )
    path = path.reshape(times.size, n_copies, system.dim)
    path = np.stack([path[k : k + n_samples, copy] for copy, k in enumerate(offset)], axis=1)
    mean = path.mean(axis=(0, 1))
    square = ((path - mean) ** 2).mean(axis=0)  # [n_copies, dim], about the common mean
    scale = np.sqrt(square.mean(axis=0))
    return Moments(
        mean,
        scale,
        path.mean(axis=0).std(axis=0, ddof=1) / np.sqrt(n_copies),
        square.std(axis=0, ddof=1) / np.sqrt(n_copies) / np.where(scale > 0, 2 * scale, 1.0),
    )


def largest_exponent(
    system: Any, n_copies: int = 64, n_steps: int = 400, step: float = 0.5, random_state: int = 0, rtol: float = 1e-8
) -> tuple[float, float]:
    """Largest Lyapunov exponent (per time unit) and its standard error, by one tangent vector a copy, renormalised every ``step``.

    Benettin et al. 1980, Meccanica 15, 9. The tangent flow is exact: a complex step of 1e-30 differentiates the field without cancellation.
    """
    shape = (n_copies, 2, system.dim)
    rng = np.random.default_rng(random_state + 1)

    def rate(t: float, flat: np.ndarray) -> np.ndarray:
        z, tangent = np.moveaxis(flat.reshape(shape), 1, 0)
        both = system.field(z + 1e-30j * tangent)
        return np.stack([both.real, both.imag * 1e30], axis=1).ravel()

    state = np.stack([_copies(system, n_copies, random_state), rng.standard_normal((n_copies, system.dim))], axis=1)
    growth = np.zeros(n_copies)
    n_spin = int(np.ceil(system.transient / step))
    for k in range(n_spin + n_steps):
        state = trajectory(rate, state.ravel(), np.array([step]), rtol=rtol, atol=rtol)[-1].reshape(shape)
        norm = np.linalg.norm(state[:, 1], axis=-1)
        state[:, 1] /= norm[:, None]
        if k >= n_spin:
            growth += np.log(norm)
    exponents = growth / (n_steps * step)
    return float(exponents.mean()), float(exponents.std(ddof=1) / np.sqrt(n_copies))


def _main() -> None:
    from .systems import Lorenz63, Lorenz96, Roessler

    for system in (Lorenz63(), Roessler(), Lorenz96(20), Lorenz96(40)):
        moments = long_run_moments(system, n_copies=500 if system.dim == 3 else 150, n_samples=10_000)
        exponent, error = largest_exponent(system, n_copies=200, n_steps=500)
        if isinstance(system, Lorenz96):  # all sites alike
            print(system, f"mean {moments.mean.mean():.5f} +- {moments.mean_error.max():.5f} scale {moments.scale.mean():.5f}", end=" ")
        else:
            print(system, "mean", moments.mean, "+-", moments.mean_error, "scale", moments.scale, "+-", moments.scale_error, end=" ")
        print(f"lyapunov_max {exponent:.5f} +- {error:.5f}", flush=True)


if __name__ == "__main__":
    _main()
