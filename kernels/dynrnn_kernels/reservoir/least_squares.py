"""Recursive least squares, compiled: the inverse P of the sums of products is kept as P = T' T (Potter's square root: Bierman 1977, Factorization Methods for
Discrete Sequential Estimation, V.2).

So P stays symmetric and positive whatever is rounded, and its condition is the square of T's, which is what float64 has to hold. The recursion for P itself
loses both once P's condition nears 1 / eps. Two passes over T a row: O(n^2).
"""

from __future__ import annotations

import numpy as np
from numba import njit

WEIGHT, COST, ROWS = range(3)           # of a book: the sum of the rows' weights, of their weighted squared errors with the penalty's, and how many T has taken


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def absorb(T, W, x, error, forgetting, a, gain):
    """T and W [n, m] learn x [n] from the error y - x W [m]; a, gain [n] are overwritten. Returns what share of the error is left.

    a = T x, s = forgetting + a'a, g = T'a = P x;  W += g error' / s;  T = (T - a g' / (s + sqrt(forgetting s))) / sqrt(forgetting)
    """
    n, s = x.size, forgetting
    gain[:] = 0.0
    for i in range(n):
        row, total = T[i], 0.0
        for j in range(n):
            total += row[j] * x[j]
        a[i] = total
        s += total * total
        for j in range(n):
            gain[j] += total * row[j]
    shrink, root = 1 / (s + np.sqrt(forgetting * s)), 1 / np.sqrt(forgetting)
    for i in range(n):
        row, c = T[i], shrink * a[i]
        for j in range(n):
            row[j] = (row[j] - c * gain[j]) * root
    for j in range(n):
        for c in range(error.size):
            W[j, c] += gain[j] / s * error[c]
    return forgetting / s


@njit(cache=True, nogil=True, error_model="numpy")
def learn_rows(X, Y, T, W, mean_x, mean_y, book, renewed, forgetting, ridge, errors):
    """Rows X [rows, n], Y [rows, m] one after the other, with an offset that is not penalised; errors [rows] get each row's mean squared error before it is
    learned.

    What W learns are deviations from the mean of the rows before, weighted so that their sums of products are those about the mean of all. With forgetting
    below 1 the penalty would be forgotten with the rows, and P would grow without bound where states do not vary: so each row renews that of one unit, in
    turn, by a row (0, .., c, .., 0) with answer 0. renewed [n]: rows that T had taken when a unit's penalty was last ``ridge``.
    """
    n, m = X.shape[1], Y.shape[1]
    a, gain, x, error = np.empty(n), np.empty(n), np.empty(n), np.empty(m)
    for t in range(X.shape[0]):
        old = forgetting * book[WEIGHT]
        book[WEIGHT] = old + 1
        x[:] = X[t] - mean_x
        error[:] = Y[t] - mean_y
        for j in range(n):
            for c in range(m):
                error[c] -= x[j] * W[j, c]
        errors[t] = np.sum(error * error) / m
        mean_x += x / book[WEIGHT]
        mean_y += (Y[t] - mean_y) / book[WEIGHT]
        if old == 0:
            continue                                                                # the first row is the mean
        root = np.sqrt(old / book[WEIGHT])
        x *= root
        error *= root
        before = np.sum(error * error)
        book[COST] = forgetting * book[COST] + before * absorb(T, W, x, error, forgetting, a, gain)
        book[ROWS] += 1
        if forgetting < 1:
            j = int(book[ROWS] - 1) % n
            x[:] = 0.0
            x[j] = np.sqrt(ridge * (1 - forgetting ** (book[ROWS] - renewed[j])))
            error[:] = -x[j] * W[j]
            before = np.sum(error * error)
            book[COST] += before * absorb(T, W, x, error, 1.0, a, gain)
            renewed[j] = book[ROWS]
