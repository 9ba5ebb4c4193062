"""Random areas and assemblies, and what is true of small ones by trying every pattern of gains."""

import itertools

import numpy as np

from dynrnn.models.assemblies import Assembly
from dynrnn.models.assemblies.blocks import drawn_sparse
from dynrnn.models.assemblies.metrics import symmetric_metric

KINDS = ("sparse", "symmetric", "svd")
STEPS = ("implicit-explicit", "euler")


def assembly(blocks="sparse", areas=(4, 3, 4), **options):
    return Assembly(2, areas, blocks=blocks, **{"density": 0.3, "random_state": 0} | options)


def small_area(kind, seed, n=6):
    """(P, W) of an area that contracts in P, full."""
    rng = np.random.default_rng(seed)
    if kind == "sparse":
        W, P = drawn_sparse(rng, n, 0.4, 1.0)
        return np.diag(P), W
    Q, V = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    if kind == "symmetric":
        values = rng.uniform(-3, 0.9, n)
        values[0] = 0.9
        W = (Q * values) @ Q.T
        W = (W + W.T) / 2
        return symmetric_metric(W, 0.9 + 1e-12), W
    t = np.exp(rng.uniform(-1, 1, n))
    return np.diag(t**2), (Q * rng.uniform(0, 0.9, n)) @ V.T * t / t[:, None]


def in_metric(P, X):
    """P^(1/2) X P^(-1/2)."""
    root = np.linalg.cholesky(P).T
    return root @ X @ np.linalg.inv(root)


def gain_patterns(n):
    """All vertices of [0, 1]^n; norms and log-norms are convex in the gains, so that their largest values lie there."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))
