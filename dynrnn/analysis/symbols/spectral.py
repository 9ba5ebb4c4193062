"""Sparse graphs: growth rates of their walks, and stationary distributions of their chains."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackError, eigs, spsolve

DENSE = 200                                # nodes of a component up to which all eigenvalues are cheap


def components(a: np.ndarray, b: np.ndarray, n: int) -> tuple[int, np.ndarray]:
    """(number, label of every node) of the strongly connected components of edges a -> b."""
    count, label = connected_components(sp.csr_array((np.ones(len(a)), (a, b)), shape=(n, n)), directed=True, connection="strong")
    return int(count), np.asarray(label)


def growth_rates(a: np.ndarray, b: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(label of every node, growth of every component): ln of the spectral radius of the 0/1 adjacency within, -inf for a node alone without a loop.

    O(edges) times the steps of Arnoldi's method; a component that is one cycle gives exactly 0.
    """
    count, label = components(a, b, n)
    inside = label[a] == label[b]
    edges = np.bincount(label[a[inside]], minlength=count)
    nodes = np.bincount(label, minlength=count)
    rate = np.where(edges == 0, -np.inf, 0.0)
    order = np.argsort(label[a], kind="stable")
    order = order[inside[order]]
    start = np.concatenate([[0], np.cumsum(edges)])
    for k in np.flatnonzero(edges > nodes):
        own = order[start[k] : start[k + 1]]
        names, local = np.unique(np.concatenate([a[own], b[own]]), return_inverse=True)
        half = len(own)
        rate[k] = np.log(_perron_root(sp.csr_array((np.ones(half), (local[:half], local[half:])), shape=(len(names), len(names)))))
    return label, rate


def topological_entropy(a: np.ndarray, b: np.ndarray, n: int) -> float:
    """The largest growth rate of walks, in nat a step; 0 where nothing comes back."""
    return max(0.0, float(growth_rates(a, b, n)[1].max(initial=-np.inf)))


def _perron_root(A: sp.csr_array) -> float:
    """Spectral radius of an irreducible 0/1 matrix: the eigenvalue of largest real part, unique and simple even if the graph is periodic."""
    n = len(A.indptr) - 1
    if n <= DENSE:
        return float(np.linalg.eigvals(A.toarray()).real.max())
    try:
        values = eigs(A, k=1, which="LR", v0=np.ones(n), return_eigenvectors=False, maxiter=50)
        return float(np.asarray(values).real.max())
    except ArpackError:
        return _noda(A, n)


def _noda(A: sp.csr_array, n: int) -> float:
    """Spectral radius by inverse iteration from above (Noda 1971): quadratic, for graphs of long cycles whose eigenvalues crowd on circles."""
    x = np.ones(n)
    low, high = 0.0, float(n)
    for _ in range(200):
        ratio = (A @ x) / x
        low, high = max(low, float(ratio.min())), min(high, float(ratio.max()))
        if high - low <= 1e-13 * high:
            break
        shift = high * (1 + 1e-15)
        y = np.maximum(np.asarray(spsolve(sp.csc_array(shift * sp.eye_array(n) - A), x)).reshape(-1), 0)
        if not np.isfinite(y).all() or not (y > 0).all():                           # as close as the factors can tell
            break
        x = y / y.max()
    return 0.5 * (low + high)


def stationary(a: np.ndarray, b: np.ndarray, count: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(distribution, whether a node takes part): left eigenvector of the chain on its most visited strongly connected component, rows renormalised there.

    Solved directly as a sparse system; zeros elsewhere.
    """
    n_components, label = components(a, b, n)
    inside = label[a] == label[b]
    weight = np.bincount(label[a[inside]], count[inside], n_components)
    active = label == int(weight.argmax()) if weight.any() else np.zeros(n, bool)
    pi = np.zeros(n)
    m = int(active.sum())
    if m == 0:
        return pi, active
    if m == 1:
        pi[active] = 1.0
        return pi, active
    own = active[a] & active[b]
    place = np.cumsum(active) - 1
    P = sp.csr_array((count[own].astype(float), (place[a[own]], place[b[own]])), shape=(m, m))
    P = sp.diags_array(1 / P.sum(1)) @ P
    # pi is fixed by all but one of its equations and any scale: pin one entry, solve for the rest, normalise
    system = sp.csc_array(sp.eye_array(m) - P.T)
    rest = spsolve(system[1:, 1:], -system[1:, [0]].toarray().ravel())
    x = np.concatenate([[1.0], np.asarray(rest).reshape(-1)])
    pi[active] = np.maximum(x, 0) / np.maximum(x, 0).sum()
    return pi, active
