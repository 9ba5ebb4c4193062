"""Recursive least squares: readouts that learn sample by sample."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from dynrnn.errors import ArgumentError
from dynrnn.models.reservoirs.ridge import Solution
from dynrnn_kernels.reservoir.least_squares import COST, ROWS, WEIGHT, absorb, learn_rows


@dataclass
class Recursion:
    """What ``SumsOfProducts`` solves, by recursion over the rows.

        minimise  sum over rows forgetting^age |y - x W - b|^2  +  sum over units r_j |W_j|^2

    r_j is ``ridge`` with forgetting = 1. Below 1 it is renewed unit by unit, one a row, and forgotten like the rows in between, at worst down to
    forgetting^n ridge. O(n^2) a row, twice that with forgetting.
    """

    n: int
    m: int
    ridge: float
    forgetting: float = 1.0
    count: int = 0
    squares_before: float = 0.0
    T: np.ndarray = field(init=False)
    W: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.T, self.W = np.eye(self.n) / np.sqrt(self.ridge), np.zeros((self.n, self.m))
        self.mean_x, self.mean_y, self.book, self.renewed = np.zeros(self.n), np.zeros(self.m), np.zeros(3), np.zeros(self.n)

    def add(self, X: Float[np.ndarray, "row n"], Y: Float[np.ndarray, "row m"]) -> None:
        errors = np.empty(len(X))
        learn_rows(
            np.ascontiguousarray(X), np.ascontiguousarray(Y), self.T, self.W, self.mean_x, self.mean_y, self.book, self.renewed, self.forgetting, self.ridge,
            errors,
        )
        self.squares_before += float(errors.sum())
        self.count += len(X)

    def penalties(self) -> np.ndarray:
        """r [n] as they are now."""
        return self.ridge * self.forgetting ** (self.book[ROWS] - self.renewed)

    def solve(self, ridges: Float[np.ndarray, " ridge"]) -> Solution:
        """``ridges`` is the one that was learned with; the residual is weighted as the rows are."""
        left = self.book[COST] - (self.penalties() @ self.W**2).sum()
        b = self.mean_y - self.mean_x @ self.W
        return Solution(self.W[None].copy(), b[None], np.maximum(left, 0)[None] / (self.book[WEIGHT] * self.m), self.squares_before / self.count)


class RecursiveLeastSquares:
    """Readout that learns sample by sample (Haykin 2014, Adaptive Filter Theory, 10), for data that come in a stream; ``dr.fit(..., solver="rls")`` is for
    recordings.

    W [n, m] minimises the sum of ``forgetting``^(age) |y - x W|^2 + ridge |W|^2 (the penalty is forgotten, too); with forgetting = 1 it is ridge regression's
    to rounding. Append a 1 to x for an offset. P is kept as T' T, so that it stays symmetric and positive; O(n^2) a sample, and O(n) an output more.

    Learning while a reservoir runs on its own output is FORCE (Sussillo and Abbott 2009, Neuron 63, 544): x are its units, and ``update`` follows each step.

    n, m : entries of x and y. ridge : alpha, above 0; P starts as I / alpha. forgetting : in (0, 1]; below 1 the last 1 / (1 - forgetting) samples count, and P
    grows without bound where x does not vary.
    ArgumentError for a sample of another size, or one that is not finite, which would spoil W and P for good.

    >>> rls, rng = RecursiveLeastSquares(2, 1, ridge=1e-9), np.random.default_rng(0)
    >>> for x in rng.standard_normal((20, 2)):
    ...     _ = rls.update(x, x @ [[2.0], [-1.0]])
    >>> rls.W.round(6).tolist()
    [[2.0], [-1.0]]
    """

    def __init__(self, n: int, m: int, ridge: float = 1e-6, forgetting: float = 1.0):
        if not (np.isfinite(ridge) and ridge > 0 and 0 < forgetting <= 1):
            raise ArgumentError(f"ridge must be above 0 and forgetting in (0, 1], got {ridge!r} and {forgetting!r}.")
        self.W, self.T, self.forgetting = np.zeros((n, m)), np.eye(n) / np.sqrt(ridge), float(forgetting)

    @property
    def P(self) -> np.ndarray:
        """Inverse of the weighted sums of products and the penalty, [n, n]."""
        return self.T.T @ self.T

    def update(self, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " m"]) -> np.ndarray:
        """Learn one sample; returns the error that was made before it was learned, y - x W."""
        x, y = np.ascontiguousarray(x, dtype=np.float64), np.ascontiguousarray(y, dtype=np.float64)
        if (*x.shape, *y.shape) != self.W.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ArgumentError(f"x and y must be finite, of shapes ({self.W.shape[0]},) and ({self.W.shape[1]},), got shapes {x.shape} and {y.shape}.")
        error, self.W = y - x @ self.W, self.W.copy()
        absorb(self.T, self.W, x, error, self.forgetting, np.empty_like(x), np.empty_like(x))
        return error
