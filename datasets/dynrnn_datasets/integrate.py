"""Trajectories by scipy's adaptive Runge-Kutta 8(5,3); no integrator of our own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from .errors import DatasetError


def trajectory(
    rate: Callable[[float, np.ndarray], np.ndarray],
    initial: Float[np.ndarray, " dim"],
    times: Float[np.ndarray, " time"],
    *,
    rtol: float,
    atol: float,
    method: str = "DOP853",
    label: str = "the system",
    bound: float = np.inf,
    max_evaluations: float = np.inf,
) -> Float[np.ndarray, "time dim"]:
    """The solution of z' = rate(t, z), z(0) = initial, at ``times`` (ascending, from 0 or later).

    DOP853 (Hairer, Norsett & Wanner 1993, Solving ODEs I) with its 7th-order dense output, so the samples are as accurate as the steps.
    Raises DatasetError where the solver gives up, where a variable passes ``bound`` (a solution that runs away forces ever smaller steps,
    so that it would else never end), or after ``max_evaluations`` of the field. Chaos: neighbouring solutions part as
    exp(lambda t), so only statistics, not values, are reproducible across tolerances beyond some 20 Lyapunov times.
    """
    n_evaluations = 0

    def counted(t: float, z: np.ndarray) -> np.ndarray:
        nonlocal n_evaluations
        n_evaluations += 1
        if n_evaluations > max_evaluations:
            raise DatasetError(
                f"{label} took {n_evaluations - 1:,} evaluations to reach t = {t:g} of {float(times[-1]):g}: it is too stiff with these "
                "parameters and tolerances. Try other parameters or looser rtol and atol."
            )
        return rate(t, z)

    def guard(t: float, z: np.ndarray) -> float:  # an event: called once a step
        if not np.abs(z).max() <= bound:
            raise DatasetError(
                f"{label} ran away at t = {t:g} (a variable reached {np.abs(z).max():.3g}): with these parameters, or from this initial "
                "state, its solutions do not stay bounded. Use parameters with a bounded attractor."
            )
        return 1.0

    with np.errstate(over="ignore", invalid="ignore"):
        solution = solve_ivp(counted, (0.0, float(times[-1])), initial, method=method, t_eval=times, rtol=rtol, atol=atol, events=guard)
    path = np.ascontiguousarray(solution.y.T)
    if not solution.success or path.shape[0] != times.size or not np.isfinite(path).all():
        raise DatasetError(f"{label} could not be integrated: {solution.message} Try other parameters or looser rtol and atol.")
    return path
