"""Semidefinite programs for a metric, by cvxpy, which is an extra; what they find counts only after a check of its own."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any

import numpy as np

from dynrnn.analysis.contraction.quadratic import jacobians_margin, sector_margin, smallest_rate
from dynrnn.analysis.contraction.sector import Sector
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.errors import ArgumentError

INSTALL = "pip install 'dynrnn[certificates]'"
MAX_SOLVES = 24
ACTIVE = 24                # Jacobians added to a program at once, those that are violated most


def have_solver() -> bool:
    return importlib.util.find_spec("cvxpy") is not None


def need_solver() -> None:
    if not have_solver():
        raise ArgumentError(
            f"tier='lmi' needs cvxpy, which is not installed. Install it with: {INSTALL}. Without it the tiers 'norm', 'weighted' and 'visited' work, "
            "and tier=None tries those."
        )


def _solve(problem: Any) -> bool:
    """Whether there is something to check. Solvers' complaints about accuracy do not matter: nothing is taken on their word."""
    cvxpy: Any = importlib.import_module("cvxpy")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            problem.solve(solver=cvxpy.CLARABEL)
        except (cvxpy.error.SolverError, ValueError, ArithmeticError):
            try:
                problem.solve(solver=cvxpy.SCS, eps=1e-8)
            except (cvxpy.error.SolverError, ValueError, ArithmeticError):
                return False
    return problem.status in ("optimal", "optimal_inaccurate")


def sector_program(one: Sector, start: tuple[float, np.ndarray, np.ndarray] | None, low: float, tolerance: float):
    """The smallest rate that the inequality proves: (rate, P, multiplier), by bisection, or None if it proves none below 1.

    start: (rate, P, multiplier) known already; low: a rate that cannot be had; stops where the bracket is narrower than tolerance (relative).
    """
    cvxpy: Any = importlib.import_module("cvxpy")

    M = one.shape[0]
    acts = np.flatnonzero(np.abs(one.W1).any(0) & np.abs(one.W2).any(1))
    W1, W2, n = one.W1[:, acts], one.W2[acts], len(acts)
    balance = np.sqrt(np.linalg.norm(W1, axis=0) / np.linalg.norm(W2, axis=1)) if n else np.zeros(0)
    W1, W2 = W1 / balance, W2 * balance[:, None]
    P, square, margin = cvxpy.Variable((M, M), symmetric=True), cvxpy.Parameter(nonneg=True), cvxpy.Variable()
    X = np.hstack([one.A, W1])
    top = np.hstack([np.eye(M), np.zeros((M, n))])
    Q = -(X.T @ P @ X) + top.T @ (square * P) @ top
    constraints: list[Any] = [P >> np.eye(M) * 1e-6, cvxpy.trace(P) == M]
    L = None
    if n:
        L = cvxpy.Variable(n, nonneg=True)
        low_rows, into = np.hstack([np.zeros((n, M)), np.eye(n)]), np.hstack([W2, np.zeros((n, n))])
        mixed = low_rows.T @ cvxpy.diag(L) @ into
        Q = Q - mixed - mixed.T + 2 * (low_rows.T @ cvxpy.diag(L) @ low_rows)
    constraints.append(Q - margin * np.eye(M + n) >> 0)
    problem = cvxpy.Problem(cvxpy.Maximize(margin), constraints)
    best = None if start is None or start[0] >= 1 else start
    high = 1.0 if best is None else best[0]
    for _ in range(MAX_SOLVES):
        if best is not None and high - low <= tolerance * high:
            break
        g = 1 - 1e-7 if best is None else (low + high) / 2
        square.value = g * g
        found = _checked(one, P, L, acts, balance, high, low) if _solve(problem) else None
        if found is not None and found[0] < high:
            best, high = found, found[0]
        elif best is None:
            return None
        else:
            low = g
    return best


def _checked(one: Sector, P: Any, L: Any, acts: np.ndarray, balance: np.ndarray, high: float, low: float):
    if P.value is None:
        return None
    metric = (P.value + P.value.T) / 2
    multiplier = np.full(one.shape[1], 1e-9)
    if len(acts):
        multiplier[acts] = np.maximum(L.value, 1e-9) * balance**2                      # units p b with L are units p with L b^2
    rate = smallest_rate(lambda g: sector_margin(one, metric, multiplier, g), low, high)
    return (rate, metric, multiplier) if np.isfinite(rate) else None


def jacobians_program(map: PiecewiseLinearMap, words: np.ndarray, start: tuple[float, np.ndarray], low: float, tolerance: float) -> tuple[float, np.ndarray]:
    """A better (rate, P) for J'P J < rate^2 P over all ``words`` than ``start``, by bisection; of many Jacobians those enter that the last P violates most."""
    cvxpy: Any = importlib.import_module("cvxpy")

    M = map.latent_dim
    J = map.jacobians(words)
    best, high, chosen = start, min(start[0], 1.0), _worst(J, start[1])[:ACTIVE]
    P, margin, square = cvxpy.Variable((M, M), symmetric=True), cvxpy.Variable(), cvxpy.Parameter(nonneg=True)

    def program() -> Any:
        each = [square * P - J[i].T @ P @ J[i] - margin * np.eye(M) >> 0 for i in chosen]
        return cvxpy.Problem(cvxpy.Maximize(margin), [P >> 1e-6 * np.eye(M), cvxpy.trace(P) == M, *each])

    problem = program()
    for _ in range(MAX_SOLVES):
        if high - low <= tolerance * high:
            break
        g = (low + high) / 2 if best[0] < 1 else 1 - 1e-7
        square.value, found = g * g, None
        while _solve(problem) and P.value is not None and margin.value is not None and margin.value > 0:
            metric = (P.value + P.value.T) / 2
            rate = smallest_rate(lambda r, metric=metric: jacobians_margin(map, words, metric, r), low, high)
            new = [i for i in _worst(J, metric)[:ACTIVE] if i not in set(chosen)]
            if rate < high:
                found = rate, metric
                break
            if not new:
                break
            chosen = [*chosen, *new]
            problem = program()
        if found is not None:
            best, high = found, found[0]
        elif best[0] >= 1:
            break
        else:
            low = g
    return best


def _worst(J: np.ndarray, P: np.ndarray) -> list[int]:
    """Jacobians in the order of their growth in the metric P, the fastest first."""
    R = np.linalg.cholesky(P).T
    growth = np.linalg.norm(R @ J @ np.linalg.inv(R), 2, axis=(-2, -1))
    return np.argsort(-growth, kind="stable").tolist()
