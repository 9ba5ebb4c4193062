"""Recurrent weights of reservoirs: who is connected to whom, and how strong all of it is."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from dynrnn.errors import ArgumentError, unknown_name

TOPOLOGIES = ("sparse", "uniform", "normal", "bernoulli", "orthogonal", "ring", "line", "small-world")
RESCALINGS = ("radius", "norm", "circular-law")
DENSE_UP_TO = 200       # units up to which all eigenvalues are computed; beyond, ARPACK's largest
NEIGHBOURS, REWIRED = 6, 0.1


def draw_weights(rng: np.random.Generator, n: int, topology: str, density: float) -> np.ndarray:
    """[n, n] before scaling. ``sparse``: normal at a share ``density`` of all places; ``small-world``: normal on Watts and Strogatz' ring of 6 neighbours."""
    if topology not in TOPOLOGIES:
        raise unknown_name("topology", topology, TOPOLOGIES)
    if topology == "uniform":
        return rng.uniform(-1, 1, (n, n))
    if topology == "normal":
        return rng.standard_normal((n, n))
    if topology == "orthogonal":
        return random_orthogonal(rng, n)
    if topology in ("ring", "line"):
        out = np.eye(n, k=-1)
        out[0, -1] = float(topology == "ring")
        return out
    if topology == "small-world":
        graph = nx.watts_strogatz_graph(n, min(NEIGHBOURS, n - 1), REWIRED, seed=int(rng.integers(2**31)))
        return nx.to_numpy_array(graph) * rng.standard_normal((n, n))
    places = scipy.sparse.random_array((n, n), density=density, rng=rng, data_sampler=lambda size: np.ones(size)).toarray()
    return places * (rng.choice([-1.0, 1.0], (n, n)) if topology == "bernoulli" else rng.standard_normal((n, n)))


def random_orthogonal(rng: np.random.Generator, n: int) -> np.ndarray:
    """Uniform over all orthogonal matrices (Mezzadri 2007, Notices of the AMS 54, 592)."""
    Q, R = np.linalg.qr(rng.standard_normal((n, n)))
    return Q * np.sign(np.diag(R))


def spectral_radius(W: np.ndarray) -> float:
    """Largest modulus of an eigenvalue; O(n^3) up to 200 units, beyond by ARPACK, or by all eigenvalues where that does not converge."""
    n = len(W)
    if n > DENSE_UP_TO:
        try:
            start = np.random.default_rng(0).standard_normal(n)
            sparse = np.count_nonzero(W) < 0.3 * n * n
            values = scipy.sparse.linalg.eigs(scipy.sparse.csr_array(W) if sparse else W, k=2, which="LM", v0=start, return_eigenvectors=False)
            return float(np.abs(values).max())
        except scipy.sparse.linalg.ArpackError:
            pass
    return float(np.abs(np.linalg.eigvals(W)).max())


def rescaled(W: np.ndarray, size: float, rescaling: str) -> np.ndarray:
    """W times a number: its spectral radius, or its 2-norm, becomes ``size``; ``circular-law``: what the radius tends to for many independent entries."""
    if rescaling == "circular-law":
        now = float(np.sqrt(len(W) * np.mean(W**2)))
    else:
        now = spectral_radius(W) if rescaling == "radius" else float(np.linalg.norm(W, 2))
    norm = float(np.linalg.norm(W))
    if now <= 1e-8 * norm or not np.isfinite(now) or norm == 0 or (rescaling == "radius" and nilpotent(W)):
        raise ArgumentError(
            f"W cannot be scaled to a spectral radius of {size:g}: all its eigenvalues are zero, since its connections have no loop "
            "(topology='line', or too few of them). Scale it by its norm with rescaling='norm', or choose another topology or a higher density."
        )
    return W * (size / now)


def rescaled_effectively(W: np.ndarray, size: float, leak: float) -> np.ndarray:
    """W times the number with which (1 - leak) I + leak W has spectral radius ``size``: each eigenvalue's way out of that circle, and the shortest of them."""
    if size <= 1 - leak:
        raise ArgumentError(
            f"a spectral radius of {size:g} cannot be reached by the scale of W: with leak = {leak:g} that of (1 - leak) I + leak W is at least "
            f"{1 - leak:g} at W = 0. Take spectral_radius above {1 - leak:g}, a larger leak, or rescaling='radius'."
        )
    if nilpotent(W):
        rescaled(W, size, "radius")                                             # which says so
    kept, out = 1 - leak, leak * np.linalg.eigvals(W)
    # |kept + out s|^2 = size^2: out out* s^2 + 2 kept Re(out) s + kept^2 - size^2 = 0, whose roots have opposite signs
    with np.errstate(divide="ignore"):
        half, square = kept * out.real, np.abs(out) ** 2
        scale = (size**2 - kept**2) / (half + np.sqrt(half**2 + square * (size**2 - kept**2)))   # no difference of near equals where half > 0
    return W * float(np.min(scale))


def nilpotent(W: np.ndarray) -> bool:
    """Whether the connections have no loop, so that rounding alone tells the eigenvalues from zero."""
    return nx.is_directed_acyclic_graph(nx.from_numpy_array(W != 0, create_using=nx.DiGraph)) if np.count_nonzero(W) < 2 * len(W) else False


def given_weights(name: str, given: Any, shape: tuple[int, ...], n_fits: int) -> np.ndarray:
    """Weights that a user gave, as an array, a scipy.sparse array or a networkx graph, for all fits [F, *shape] alike or one each."""
    if isinstance(given, nx.Graph):
        given = nx.to_numpy_array(given)
    if scipy.sparse.issparse(given):
        given = given.toarray()
    values = np.asarray(given, dtype=np.float64)
    if values.shape not in (shape, (n_fits, *shape)) or not np.isfinite(values).all():
        raise ArgumentError(f"{name} must be finite and of shape {shape}, or (fit, ...) = {(n_fits, *shape)}, got shape {values.shape}.")
    return np.broadcast_to(values, (n_fits, *shape)).copy()
