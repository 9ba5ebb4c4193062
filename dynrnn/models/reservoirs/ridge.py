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
    """Sums of products of rows (Y, X), taken about the first piece's mean so that a large offset costs no digits."""

    n: int
    m: int
    count: int = 0
    about: np.ndarray | None = None
    products: np.ndarray = field(init=False)
    sums: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        size = self.m + self.n
        self.products, self.sums = np.zeros((size, size), order="F"), np.zeros(size)

    def add(self, X: Float[np.ndarray, "row n"], Y: Float[np.ndarray, "row m"]) -> None:
        self.add_rows(np.concatenate([Y, X], 1))

    def add_rows(self, rows: np.ndarray) -> None:
        """(Y, X) side by side, which are overwritten: all sums are then one product, and nothing is copied."""
        if not len(rows):
            return
        if self.about is None:
            self.about = rows.mean(0)
        rows -= self.about
        self.products = dsyrk(1.0, rows.T, beta=1.0, c=self.products, overwrite_c=1)     # the upper triangle alone: half the operations
        self.sums += rows.sum(0)
        self.count += len(rows)

    def solve(self, ridges: Float[np.ndarray, " ridge"]) -> Solution:
        """Of X to Y."""
        m = self.m
        return self._solve(slice(m, None), slice(0, m), ridges)

    def solve_back(self, ridges: Float[np.ndarray, " ridge"]) -> Solution:
        """Of Y to X."""
        m = self.m
        return self._solve(slice(0, m), slice(m, None), ridges)

    def _solve(self, of: slice, to: slice, ridges: np.ndarray) -> Solution:
        assert self.about is not None
        mean = self.sums / self.count
        centred = np.triu(self.products)
        centred = centred + np.triu(centred, 1).T - self.count * np.outer(mean, mean)
        XX, XY, n, m = centred[of, of], centred[of, to], len(mean[of]), len(mean[to])
        least = float(np.min(ridges))
        if len(ridges) == 1 and least > 0:
            try:
                W = scipy.linalg.cho_solve(scipy.linalg.cho_factor(XX + least * np.eye(n)), XY)[None]
            except np.linalg.LinAlgError:
                raise _singular(least, EPS * float(np.trace(XX))) from None
        else:
            values, vectors = np.linalg.eigh(XX)
            if values[0] + least <= n * EPS * values[-1]:
                raise _singular(least, n * EPS * float(values[-1]))
            W = vectors @ ((vectors.T @ XY)[None] / (values[:, None] + ridges[:, None, None]))
        left = np.trace(centred[to, to]) - (W * XY).sum((1, 2)) - ridges * (W**2).sum((1, 2))
        middle = self.about + mean
        return Solution(W, middle[to] - middle[of] @ W, np.maximum(left, 0) / (self.count * m))


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
