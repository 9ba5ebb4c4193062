"""Ridge regression with a free offset over data that come in pieces, many penalties at once.

    minimise  sum over rows |y - x W - b|^2 + ridge |W|^2

Two routes to the same: sums of products (X'X, n^2 a row), whose condition is the square of the data's, and the triangular factor of (1, X, Y),
updated piece by piece (Golub and Van Loan 2013, Matrix Computations, 5.2; some four times as long), whose condition is the data's own. Either is
then factorised once for all penalties. Memory O(n^2 + piece n).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.linalg.blas import dsyrk  # pyright: ignore[reportAttributeAccessIssue]  # made at run time

from dynrnn.errors import ArgumentError

ENOUGH = 1e3            # roundings of |X'X| that a penalty must exceed for sums of products to be exact enough
EPS = float(np.finfo(np.float64).eps)


class Solution(NamedTuple):
    """W [ridge, n, m], b [ridge, m], and the mean squared residual [ridge] over rows and outputs; ``online`` is that of each row just before it was learned,
    where it was learned by recursion."""

    W: np.ndarray
    b: np.ndarray
    residual: np.ndarray
    online: float = float("nan")


@dataclass
class SumsOfProducts:
    """Centred sums, taken about the first piece's mean so that a large offset costs no digits."""

    n: int
    m: int
    count: int = 0
    about: np.ndarray | None = None
    XX: np.ndarray = field(init=False)
    XY: np.ndarray = field(init=False)
    squares: float = 0.0
    sums: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.XX, self.XY = np.zeros((self.n, self.n), order="F"), np.zeros((self.n, self.m))
        self.sums = np.zeros(self.n + self.m)

    def add(self, X: Float[np.ndarray, "row n"], Y: Float[np.ndarray, "row m"]) -> None:
        if not len(X):
            return
        if self.about is None:
            self.about = np.concatenate([X.mean(0), Y.mean(0)])
        X, Y = X - self.about[: self.n], Y - self.about[self.n :]
        self.XX = dsyrk(1.0, X.T, beta=1.0, c=self.XX, overwrite_c=1)     # the upper triangle alone: half the operations
        self.XY += X.T @ Y
        self.squares += float(np.vdot(Y, Y))
        self.sums += np.concatenate([X.sum(0), Y.sum(0)])
        self.count += len(X)

    def solve(self, ridges: Float[np.ndarray, " ridge"]) -> Solution:
        assert self.about is not None
        mean = self.sums / self.count
        x, y = mean[: self.n], mean[self.n :]
        XX = np.triu(self.XX) + np.triu(self.XX, 1).T - self.count * np.outer(x, x)
        XY = self.XY - self.count * np.outer(x, y)
        least = float(np.min(ridges))
        if len(ridges) == 1 and least > 0:
            try:
                W = scipy.linalg.cho_solve(scipy.linalg.cho_factor(XX + least * np.eye(self.n)), XY)[None]
            except np.linalg.LinAlgError:
                raise _singular(least, EPS * float(np.trace(XX))) from None
        else:
            values, vectors = np.linalg.eigh(XX)
            if values[0] + least <= self.n * EPS * values[-1]:
                raise _singular(least, self.n * EPS * float(values[-1]))
            W = vectors @ ((vectors.T @ XY)[None] / (values[:, None] + ridges[:, None, None]))
        left = self.squares - self.count * y @ y - (W * XY).sum((1, 2)) - ridges * (W**2).sum((1, 2))
        return Solution(W, self.about[self.n :] + y - (self.about[: self.n] + x) @ W, np.maximum(left, 0) / (self.count * self.m))


@dataclass
class TriangularFactor:
    """R of (1, X, Y), so that what follows the column of ones is centred without a subtraction."""

    n: int
    m: int
    count: int = 0
    R: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.R = np.zeros((0, 1 + self.n + self.m))

    def add(self, X: Float[np.ndarray, "row n"], Y: Float[np.ndarray, "row m"]) -> None:
        rows = np.concatenate([np.ones((len(X), 1)), X, Y], 1)
        for first in range(0, len(rows), max(1, rows.shape[1])):                # as many rows as columns at a time: the fewest operations a row
            self.R = np.asarray(np.linalg.qr(np.concatenate([self.R, rows[first : first + rows.shape[1]]]), mode="r"))
        self.count += len(X)

    def solve(self, ridges: Float[np.ndarray, " ridge"]) -> Solution:
        n = self.n
        R = np.zeros((1 + n + self.m, self.R.shape[1]))
        R[: len(self.R)] = self.R
        U, s, V = np.linalg.svd(R[1 : 1 + n, 1 : 1 + n])
        least = float(np.min(ridges))
        if least == 0 and s[-1] <= n * EPS * s[0]:
            raise _singular(least, (n * EPS * float(s[0])) ** 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            W = V.T @ ((U.T @ R[1 : 1 + n, 1 + n :])[None] * (s[:, None] / (s[:, None] ** 2 + ridges[:, None, None])))
        left = (R[1 + n :, 1 + n :] ** 2).sum() + ((R[1 : 1 + n, 1 + n :] - R[1 : 1 + n, 1 : 1 + n] @ W) ** 2).sum((1, 2))
        return Solution(W, (R[0, 1 + n :] - R[0, 1 : 1 + n] @ W) / R[0, 0], left / (self.count * self.m))


def _singular(ridge: float, least: float) -> ArgumentError:
    return ArgumentError(
        f"the readout is singular with ridge = {ridge:g}: some combinations of states do not vary, or there are fewer samples than units. "
        f"Take ridge of at least {10 * max(least, 1e-300):.1g}, fewer units, or a longer recording."
    )


def exact_enough(ridges: Float[np.ndarray, " ridge"], mean_square: float, n_rows: int) -> bool:
    """Whether sums of products will do for penalties of this size: states whose squares have the sum ``mean_square`` in the mean."""
    return float(np.min(ridges)) >= ENOUGH * EPS * mean_square * n_rows
