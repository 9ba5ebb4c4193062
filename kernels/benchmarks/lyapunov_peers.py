"""Lyapunov exponents of clipped shallow PLRNNs, z' = a z + W1 [relu(W2 z + h2) - relu(W2 z)] + h1, by packages of others and by a jitted JAX loop.

Every peer is called as its documentation says, with compiled functions where it takes them, in float64, from the same states on the same maps:
``transient`` steps that do not count, then n_steps that do. Each is None where its package is not installed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import tempfile
from collections.abc import Callable

import numba
import numpy as np

Maps = dict[str, np.ndarray]                              # A [F, M], W1 [F, M, H], W2 [F, H, M], h1 [F, M], h2 [F, H], float64
Compute = Callable[[], np.ndarray]                        # -> exponents [F, k], largest first


def version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {package}"


def by_jax(maps: Maps, z0: np.ndarray, k: int, n_steps: int, transient: int, interval: int, gram_schmidt: bool) -> Compute | None:
    """All models at once (vmap), each a scan over stretches of ``interval`` steps that end with a QR: LAPACK's, or Gram-Schmidt twice, unrolled.

    Vectors go through W1 diag(phi') W2 without forming it, as they do in ours. Compiled before the call, so that its time has none of that in it.
    """
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)

    def step(p, state):
        z, Q = state                                      # [M], [M, k]
        v = p["W2"] @ z
        above = v + p["h2"]
        slope = (above > 0).astype(z.dtype) - (v > 0).astype(z.dtype)
        after = p["A"] * z + p["W1"] @ (jax.nn.relu(above) - jax.nn.relu(v)) + p["h1"]
        return after, p["A"][:, None] * Q + p["W1"] @ (slope[:, None] * (p["W2"] @ Q))

    def by_columns(Q):
        columns, lengths = [], []
        for j in range(k):
            q = Q[:, j]
            for _ in range(2):
                for other in columns:
                    q = q - (other @ q) * other
            lengths.append(jnp.sqrt(q @ q))
            columns.append(q / lengths[-1])
        return jnp.stack(columns, 1), jnp.stack(lengths)

    def by_lapack(Q):
        Q, R = jnp.linalg.qr(Q)
        return Q, jnp.abs(jnp.diagonal(R))

    def one(p, z):
        def stretch(state, _):
            z, Q = jax.lax.fori_loop(0, interval, lambda _, now: step(p, now), state[:2])
            Q, lengths = (by_columns if gram_schmidt else by_lapack)(Q)
            return (z, Q, state[2] + jnp.log(lengths)), None

        start = z, jnp.eye(len(z))[:, :k], jnp.zeros(k)
        z, Q, _ = jax.lax.scan(stretch, start, None, length=transient // interval)[0]
        sums = jax.lax.scan(stretch, (z, Q, jnp.zeros(k)), None, length=n_steps // interval)[0][2]
        return sums / (n_steps // interval * interval)

    given = {name: jnp.asarray(x) for name, x in maps.items()}, jnp.asarray(z0)
    compiled = jax.jit(jax.vmap(one)).lower(*given).compile()
    return lambda: largest_first(np.asarray(compiled(*given)))


@numba.njit
def unpacked(p):
    """A, h1, h2, W1, W2 out of one vector: M, H, then their numbers. A package that keeps parameters in a vector wants them so."""
    M, H = int(p[0]), int(p[1])
    A, h1, h2 = p[2 : 2 + M], p[2 + M : 2 + 2 * M], p[2 + 2 * M : 2 + 2 * M + H]
    at = 2 + 2 * M + H
    return A, h1, h2, p[at : at + M * H].reshape(M, H), p[at + M * H : at + 2 * M * H].reshape(H, M)


@numba.njit
def mapping(z, p):
    A, h1, h2, W1, W2 = unpacked(p)
    v = W2 @ z
    return A * z + W1 @ (np.maximum(v + h2, 0) - np.maximum(v, 0)) + h1


@numba.njit
def derivative(z, p, *_):
    A, _, h2, W1, W2 = unpacked(p)
    v = W2 @ z
    slope = np.where(v + h2 > 0, 1.0, 0.0) - np.where(v > 0, 1.0, 0.0)
    return np.diag(A) + (W1 * slope) @ W2


@numba.njit
def mapping_in_time(t, z, p):
    return mapping(z, p)


@numba.njit
def derivative_in_time(t, z, p):
    return derivative(z, p)


def packed(maps: Maps, f: int) -> np.ndarray:
    M, H = maps["W1"].shape[1:]
    return np.concatenate([[M, H], *(maps[name][f].ravel() for name in ("A", "h1", "h2", "W1", "W2"))])


def largest_first(exponents: np.ndarray) -> np.ndarray:
    return -np.sort(-np.asarray(exponents), axis=-1)


def by_pynamicalsys(maps: Maps, z0: np.ndarray, k: int, n_steps: int, transient: int, interval: int) -> Compute | None:
    """It has no interval: QR after every step, by its faster method (modified Gram-Schmidt). Models one after the other."""
    try:
        from pynamicalsys import DiscreteDynamicalSystem
    except ImportError:
        return None
    parameters = [packed(maps, f) for f in range(len(z0))]
    system = DiscreteDynamicalSystem(mapping=mapping, jacobian=derivative, system_dimension=z0.shape[1], number_of_parameters=len(parameters[0]))

    def compute() -> np.ndarray:
        total = transient + n_steps                       # its total_time has the transient in it
        each = [system.lyapunov(z, total, parameters=p, num_exponents=k, transient_time=transient) for z, p in zip(z0, parameters)]
        return largest_first(each)

    return compute


def by_clvlib(maps: Maps, z0: np.ndarray, k: int, n_steps: int, transient: int, interval: int) -> Compute | None:
    """Its NumPy side with compiled functions, along a compiled orbit: 0.1.5 fails from an initial state where k_step > 1. Models one after the other."""
    try:
        from clvlib.numpy import lyap_exp
    except ImportError:
        return None
    parameters, times = [packed(maps, f) for f in range(len(z0))], np.arange(n_steps + 1.0)

    def one(z: np.ndarray, p: np.ndarray) -> np.ndarray:
        path = orbit(z, p, transient, n_steps)
        with contextlib.redirect_stderr(io.StringIO()):                        # its progress bar
            return lyap_exp(mapping_in_time, derivative_in_time, path, times, p, k_step=interval, stepper="discrete", n_lyap=k)[0]

    return lambda: largest_first([one(z, p) for z, p in zip(z0, parameters)])


@numba.njit
def orbit(z, p, transient, n_steps):
    for _ in range(transient):
        z = mapping(z, p)
    path = np.empty((n_steps + 1, len(z)))
    path[0] = z
    for t in range(n_steps):
        path[t + 1] = mapping(path[t], p)
    return path


Flow = Callable[[], np.ndarray]                           # -> the three exponents of Lorenz-63, per unit of time


def by_dysts(duration: float) -> Flow | None:
    """Its own Lorenz system and sampling; ``traj_length`` counts samples, pts_per_period of them in one of its periods."""
    try:
        from dysts.analysis import find_lyapunov_exponents
        from dysts.flows import Lorenz
    except ImportError:
        return None
    system = Lorenz()
    n_samples = round(duration / float(system.period) * 500)
    return lambda: largest_first(find_lyapunov_exponents(system, n_samples, pts_per_period=500))


def by_jitcode(duration: float) -> Flow | None:
    """Compiled C, DOP853 of SciPy; averaged over stretches of 0.1 after a transient of 30, as its documentation does it."""
    try:
        from jitcode import jitcode_lyap, y
    except ImportError:
        return None
    field = [10 * (y(1) - y(0)), y(0) * (28 - y(2)) - y(1), y(0) * y(1) - 8 / 3 * y(2)]
    system = jitcode_lyap(field, n_lyap=3, verbose=False)
    with contextlib.chdir(tempfile.mkdtemp()):                                 # it builds in place, and would read our pyproject.toml
        system.set_integrator("dop853")

    def compute() -> np.ndarray:
        system.set_initial_value(np.array([1.0, 1.0, 25.0]), 0.0)
        system.integrate(30.0)
        return largest_first(np.mean([system.integrate(t)[1] for t in 30 + np.arange(0.1, duration + 0.05, 0.1)], 0))

    return compute
