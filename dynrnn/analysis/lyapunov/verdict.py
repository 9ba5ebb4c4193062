"""What kind of attractor a spectrum and the end of an orbit speak for, and on what evidence."""

from __future__ import annotations

import enum

import numpy as np

RECURRENCE = 1e-7          # of the size of the states: how nearly a cycle must close
LONGEST = 512              # period that is looked for


class Verdict(enum.StrEnum):
    """What an orbit settles on."""

    CHAOTIC = "chaotic"
    QUASI_PERIODIC = "quasi-periodic"
    PERIODIC = "periodic"
    FIXED = "fixed"
    DIVERGING = "diverging"
    UNDECIDED = "undecided"


def period_of(path: np.ndarray) -> int:
    """The smallest p with path[p] = path[0] within RECURRENCE of the states' size, 0 if there is none; path [steps, M]."""
    if not np.isfinite(path).all():
        return 0
    size = max(float(np.abs(path).max()), 1e-12)
    close = np.abs(path[1:] - path[0]).max(-1) <= RECURRENCE * size
    return int(close.argmax()) + 1 if close.any() else 0


def judge(value: np.ndarray, half: np.ndarray, period: int, duration: float, flow: bool, diverged: bool) -> tuple[Verdict, str]:
    """Of one fit: exponents [k] with half widths of their intervals, a period found, the time of a segment.

    An exponent is zero if its interval holds 0, or if over a segment it comes to less than a tenth of an e-folding: a bounded quantity over the time
    of measuring is what is left of an exact zero. The largest above that makes it chaotic. Of a flow that does not rest one exponent
    is zero, which is that of its direction: a cycle has one, a torus of n dimensions n.
    """
    if diverged:
        return Verdict.DIVERGING, "an orbit left for infinity"
    zero = (np.abs(value) <= half) | (np.abs(value) * duration < 0.1)
    first, said = float(value[0]), f"largest exponent {value[0]:.4g} +- {half[0]:.2g}"
    if not zero[0] and first > 0:
        if first * duration < 1:
            return Verdict.UNDECIDED, f"{said}, but a segment is shorter than the time it takes to grow e-fold: take more n_steps"
        return Verdict.CHAOTIC, f"{said}, above zero"
    if not zero[0]:
        if period == 1:
            return Verdict.FIXED, f"{said}, below zero; the orbit rests"
        if period > 1:
            return Verdict.PERIODIC, f"{said}, below zero; the orbit closes after {period} steps"
        return Verdict.UNDECIDED, f"{said}, below zero, but no period up to {LONGEST} steps closes: a longer cycle, or take a longer transient"
    if half[0] * duration > 1:
        return Verdict.UNDECIDED, f"{said}: the interval holds zero and is too wide to tell; take more n_steps or segments"
    n = int(zero.sum())
    if flow and n == 1:
        return Verdict.PERIODIC, f"{said}, the one zero exponent of a flow's cycle; the others are negative"
    if period == 1:
        return Verdict.FIXED, f"{said}, zero; the orbit rests at a point that is not hyperbolic"
    if period > 1:
        return Verdict.PERIODIC, f"{said}, zero; the orbit closes after {period} steps, a cycle at a bifurcation or one of many"
    if n == 1:
        return Verdict.QUASI_PERIODIC, f"{said}, the one zero exponent: an invariant circle (of a flow that is sampled: a limit cycle)"
    return Verdict.QUASI_PERIODIC, f"{said}; {n} zero exponents: a torus of as many dimensions"
