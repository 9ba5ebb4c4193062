"""Where a map is slow without standing still: descent of the speed, and continua of slow states (line attractors)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from dynrnn.analysis.smooth.groups import components
from dynrnn.analysis.smooth.system import SmoothMap

NEAR_ONE = 0.02          # |mu - 1| of a slow direction, where the fastest direction has 1 or more; else relative to the fastest
JOINED = 0.3             # whitened distance of neighbours within a continuum
EXTENT = 1.0             # whitened diameter of the smallest continuum: one standard deviation of the starts
N_STEPS = 30             # of the projection onto slow states, Newton's in the fast directions
LEAST, MOST = 12, 32     # states that make a continuum, and that are reported of it
PROBE = 64               # starts that are looked at first; most maps have no continuum
TANGENT = 0.9            # least cosine between the slow eigenvectors and the cluster's principal directions


@dataclass(frozen=True)
class Continuum:
    """States z (n, M) spread over it, ``cloud`` all that were found on it, how many of these are nearest to each state (``hits``),
    its dimension and the speed of the drift along it (n,)."""

    z: np.ndarray
    cloud: np.ndarray
    hits: np.ndarray
    dimension: int
    drift: np.ndarray


def descend(map: SmoothMap, z: np.ndarray, n_steps: int = 100, small: float = 1e-6) -> np.ndarray:
    """Adam on q = |F(z) - z|^2 / 2 of each state by itself; a state leaves once its speed is below ``small`` times what it was.

    This keeps a start in its neighbourhood, where a Newton step from afar may leave it. Cost O(n) map evaluations and derivatives a step.
    """
    x = torch.tensor(z)
    rate = 0.02 * x.std(0) if len(x) > 1 else torch.full((x.shape[1],), 0.02, dtype=x.dtype)
    m, v = torch.zeros_like(x), torch.zeros_like(x)
    first = _speed(map, x)
    active = torch.isfinite(first).nonzero()[:, 0]
    for t in range(1, n_steps + 1):
        with torch.enable_grad():
            here = x[active].requires_grad_()
            q = 0.5 * (map.step(here) - here).square().sum(-1)
            (g,) = torch.autograd.grad(q.sum(), here)
        fine = torch.isfinite(g).all(-1) & (q.detach() > 0.5 * (small * first[active]) ** 2)
        active, g = active[fine], g[fine]
        if not len(active):
            break
        m[active] = 0.9 * m[active] + 0.1 * g
        v[active] = 0.99 * v[active] + 0.01 * g.square()
        decay = 1 - (t - 1) / n_steps
        x[active] -= decay * rate * (m[active] / (1 - 0.9**t)) / ((v[active] / (1 - 0.99**t)).sqrt() + 1e-300)
    # a descent is no loss: a state that has become faster goes back
    worse = ~(_speed(map, x) <= first)
    x[worse] = torch.tensor(z)[worse]
    return x.numpy()


@torch.no_grad()
def _speed(map: SmoothMap, x: Tensor) -> Tensor:
    return (map.step(x) - x).norm(dim=-1)


def slow_multipliers(mu: np.ndarray) -> np.ndarray:
    """How many multipliers (..., M) are so near to 1 that their directions are slow beside the fastest."""
    away = np.abs(mu - 1)
    return (away <= NEAR_ONE * np.minimum(1, away.max(-1, keepdims=True))).sum(-1)


def continua(map: SmoothMap, z: np.ndarray, white: np.ndarray, slow_speed: float, radius: float) -> list[Continuum]:
    """Continua of states slower than ``slow_speed`` among those that the starts z (n, M) reach by moving along fast directions only.

    Such a motion stops where nothing fast is left, and keeps its place along the slow directions, so a line attractor is met all along, not only
    at the roots that a small drift leaves on it. States are joined in whitened coordinates; a component is a continuum if it is extended and its
    principal directions are the slow eigenvectors. Cost O(n M^3) a step, 30 steps at most.
    """
    if len(z) > 2 * PROBE and not len(_project(map, z[:PROBE], slow_speed, radius)[0]):
        return []
    found, tangents, drift = _project(map, z, slow_speed, radius)
    w = found @ white
    apart = KDTree(w).query(w, k=2)[0][:, 1] if len(w) > 1 else np.zeros(1)          # a surface is met less densely than a line
    label = components(w, max(JOINED, 4 * float(np.median(apart))))
    out = []
    for k in range(label.max(initial=-1) + 1):
        at = np.flatnonzero(label == k)
        d = int(np.median([tangents[i].shape[1] for i in at]))
        at = at[[tangents[i].shape[1] == d for i in at]]
        if len(at) < LEAST or np.linalg.norm(np.ptp(w[at], axis=0)) < EXTENT:
            continue
        cosines = _tangency(w[at], [white.T @ tangents[i] for i in at], d)
        if np.median(cosines) < TANGENT:
            continue
        chosen = _spread(w[at])
        hits = np.bincount(KDTree(w[at[chosen]]).query(w[at])[1], minlength=len(chosen))
        out.append(Continuum(found[at[chosen]], found[at], hits, d, drift[at[chosen]]))
    return out


def _project(map: SmoothMap, z: np.ndarray, slow_speed: float, radius: float) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Slow states (n, M), an orthonormal basis (M, d) of the slow directions at each, and the drift along it."""
    x = torch.tensor(z)
    for _ in range(N_STEPS):
        x, r, K, s, Vt, fast, along = _split(map, x)
        small = along.norm(dim=-1) <= 1e-9 * (1 + x.norm(dim=-1))
        if small.all():
            break
        step = -(Vt.mT @ torch.where(fast, along / s.clamp_min(1e-300), 0)[..., None])[..., 0]
        x = x + step * (0.5 * radius / step.norm(dim=-1, keepdim=True).clamp_min(1e-300)).clamp_max(1)
    x, r, K, s, Vt, fast, along = _split(map, x)
    small = along.norm(dim=-1) <= 1e-9 * (1 + x.norm(dim=-1))
    mu = torch.linalg.eigvals(K + torch.eye(map.dim, dtype=x.dtype)).numpy()
    n_slow = (~fast).sum(-1).numpy()
    keep = small.numpy() & (r.norm(dim=-1) <= slow_speed).numpy() & (n_slow > 0) & (slow_multipliers(mu) == n_slow)
    x, r, Vt, n_slow = x.numpy()[keep], r.numpy()[keep], Vt.numpy()[keep], n_slow[keep]
    tangents = [Vt[i, map.dim - n_slow[i] :].T for i in range(len(x))]
    return x, tangents, np.array([np.linalg.norm(tangents[i].T @ r[i]) for i in range(len(x))])


@torch.no_grad()
def _split(map: SmoothMap, x: Tensor) -> tuple[Tensor, ...]:
    """Where the map is finite: x, the step r, K = J - I, its singular values and right vectors, which are fast, and r's coefficients along these."""
    r = map.step(x) - x
    K = map.jacobian(x) - torch.eye(map.dim, dtype=x.dtype)
    fine = torch.isfinite(r).all(-1) & torch.isfinite(K).all(-1).all(-1)
    x, r, K = x[fine], r[fine], K[fine]
    U, s, Vt = torch.linalg.svd(K)
    fast = s > NEAR_ONE * s[:, :1].clamp_max(1)
    return x, r, K, s, Vt, fast, torch.where(fast, (U.mT @ r[..., None])[..., 0], 0)


def _tangency(w: np.ndarray, tangents: list[np.ndarray], d: int) -> np.ndarray:
    """Smallest cosine between the span of the slow directions and that of the d principal directions of each state's neighbours, (n,)."""
    near = KDTree(w).query(w, k=min(len(w), 4 * d + 6))[1]
    principal = np.linalg.svd(w[near] - w[near].mean(1, keepdims=True), full_matrices=True)[2][:, :d]
    bases = np.linalg.qr(np.stack(tangents))[0]
    return np.linalg.svd(principal @ bases, compute_uv=False).min(-1)


def _spread(w: np.ndarray) -> np.ndarray:
    """At most ``MOST`` of the states, each the farthest from those before."""
    chosen = [int(np.argmax(np.linalg.norm(w - w.mean(0), axis=-1)))]
    away = np.linalg.norm(w - w[chosen[0]], axis=-1)
    while len(chosen) < MOST and away.max() > JOINED / 6:
        chosen.append(int(np.argmax(away)))
        away = np.minimum(away, np.linalg.norm(w - w[chosen[-1]], axis=-1))
    return np.array(chosen)
