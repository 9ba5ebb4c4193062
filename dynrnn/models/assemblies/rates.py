"""Contraction of one step of an assembly, from bounds of its areas and of its coupling, all in the metric's norm.

For dx/dt = -x + W phi(x) + L x + ..., J = -I + W D + L with L skew in the metric up to ``skew`` (x' P L x <= skew |x|^2), |L x| <= sigma |x|,
|W D x| <= kappa |x| and |x + h W D x|^2 <= beta(h) |x|^2 for every D:

    Euler, dt < 1       |(I + dt J) x|^2 <= [(1 - dt)^2 (beta(dt / (1 - dt)) + 2 dt / (1 - dt) skew) + dt^2 sigma^2 + 2 dt^2 sigma kappa] |x|^2
                        |(I + dt J) x|   <= [((1 - dt)^2 + 2 dt (1 - dt) skew + dt^2 sigma^2)^(1/2) + dt kappa] |x|
    implicit-explicit   |((1 + dt) I - dt L)^-1 (I + dt W D) x| <= beta(dt)^(1/2) / (1 + dt (1 - skew)) |x|

since (1 - dt) x + dt L x has no more than the length of its two orthogonal parts, and |((1 + dt) I - dt L) x| |x| >= x' P ((1 + dt) I - dt L) x. The size
of the coupling is not in the last line. For Euler ``joint`` takes all matrices at once and is nearer to the truth. A step that contracts makes every
smaller one contract: I + c dt J is a mean of I and I + dt J.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dynrnn.errors import unknown_name

INTEGRATORS = ("implicit-explicit", "euler")
Growth = Callable[[float], float]
ROUNDING = 1e-15                                                                # of these few operations


def step_rate(integrator: str, dt: float, growth: Growth, kappa: float, sigma: float, skew: float) -> float:
    """Factor by which one step shrinks distances at least; infinite for Euler's step of 1 and beyond."""
    if integrator not in INTEGRATORS:
        raise unknown_name("integrator", integrator, INTEGRATORS)
    if not np.isfinite([kappa, sigma, skew]).all() or skew >= 1:
        return np.inf
    if integrator == "implicit-explicit":
        return float(np.sqrt(growth(dt))) / (1 + dt * (1 - skew)) * (1 + ROUNDING)
    if dt >= 1:
        return np.inf
    turn = (1 - dt) ** 2 + 2 * dt * (1 - dt) * skew + (dt * sigma) ** 2
    joint = turn + (1 - dt) ** 2 * (growth(dt / (1 - dt)) - 1) + 2 * dt**2 * sigma * kappa
    return float(min(np.sqrt(max(joint, 0.0)), np.sqrt(turn) + dt * kappa)) * (1 + ROUNDING)


def coupling_limit(dt: float, growth: Growth, kappa: float) -> float:
    """The largest sigma for which Euler's step keeps half of what the areas alone contract by; 0 where they do not contract."""
    alone = step_rate("euler", dt, growth, kappa, 0.0, 0.0)
    if not alone < 1:
        return 0.0
    rate = (1 + alone) / 2
    joint = -kappa + np.sqrt(max(kappa**2 + rate**2 / dt**2 - ((1 - dt) / dt) ** 2 * growth(dt / (1 - dt)), 0.0))
    plain = np.sqrt(max((rate - dt * kappa) ** 2 - (1 - dt) ** 2, 0.0)) / dt if rate > dt * kappa else 0.0
    return float(max(joint, plain, 0.0))


def largest_step(rate: Callable[[float], float], most: float, tolerance: float = 1e-4) -> float:
    """The largest dt up to ``most`` with rate(dt) < 1, by bisection of its logarithm; 0 where there is none."""
    if rate(most) < 1:
        return most
    high = most
    low = most / 4
    while not rate(low) < 1:
        high, low = low, low / 4
        if low < 1e-12:
            return 0.0
    while high > low * (1 + tolerance):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if rate(middle) < 1 else (low, middle)
    return low
