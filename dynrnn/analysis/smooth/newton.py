"""Roots of many small systems at once: Newton's step where it helps, Levenberg and Marquardt's where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

ROOT, MINIMUM, STALLED = 0, 1, 2
Function = Callable[[Tensor], Tensor]

FIRST_DAMPING, LAST_DAMPING, MOST_DAMPING = 1e-3, 1e-8, 1e12              # relative to the largest entry on the diagonal of K'K
FLAT = 1e-7                               # |K'r| / |r| at a minimum that is no root; K then has that small a singular value
ROUNDING = 8 * float(np.finfo(float).eps)
ENTRIES = 1 << 23                         # of the Jacobians held at once: 64 MiB


@dataclass(frozen=True)
class Solved:
    """Where each start ended: x (B, n), the residual's r (B, n), and ``state`` (B,): ROOT, MINIMUM of |r| or STALLED."""

    x: np.ndarray
    r: np.ndarray
    state: np.ndarray


def solve(residual: Function, jacobian: Function, starts: np.ndarray, *, radius: float, tolerance: float = 1e-12, n_iterations: int = 100) -> Solved:
    """Follow every start to a root of ``residual`` (B, n) -> (B, n), or to a minimum of |r|^2 / 2; ``jacobian`` is r's, (B, n, n).

    A start leaves the batch at |r|_inf < tolerance (1 + |x|_inf) (or 8 roundings of |K|, if that is more), at a minimum, or when no step helps.
    Steps are no longer than ``radius``; a longer Newton step says that K is nearly singular, and the damped one is taken. Roots are then polished
    to rounding.
    Cost O(B n^3) an iteration (Nocedal and Wright 2006, chapters 10 and 11).
    """
    B, n = starts.shape
    size = max(1, ENTRIES // (n * n))
    parts = [_solve(residual, jacobian, torch.tensor(starts[i : i + size]), radius, tolerance, n_iterations) for i in range(0, max(B, 1), size)]
    x, r, state = (torch.cat(field).numpy() for field in zip(*parts))
    return Solved(x, r, state)


@torch.no_grad()
def _solve(residual: Function, jacobian: Function, x: Tensor, radius: float, tolerance: float, n_iterations: int) -> tuple[Tensor, Tensor, Tensor]:
    r = residual(x)
    damping = torch.zeros(len(x), dtype=x.dtype)
    state = torch.full((len(x),), STALLED)
    active = torch.isfinite(r).all(-1)
    for _ in range(n_iterations):
        at = active.nonzero()[:, 0]
        if not len(at):
            break
        K = jacobian(x[at])
        # of a steep map no more can be asked than what rounding of x leaves
        done = _size(r[at]) < (ROUNDING * _norm(K)).clamp_min(tolerance) * (1 + _size(x[at]))
        state[at[done]] = ROOT
        active[at[done]] = False
        at, K = at[~done], K[~done]
        if not len(at):
            continue
        r0, x0, mu = r[at], x[at], damping[at]
        g = (K.mT @ r0[..., None])[..., 0]
        flat = g.norm(dim=-1) <= FLAT * r0.norm(dim=-1)
        step, newton = _steps(K, r0, g, mu, radius)
        there = x0 + step
        r1 = residual(there)
        ratio = (r1.norm(dim=-1) / r0.norm(dim=-1)).square()
        better = torch.isfinite(r1).all(-1) & (ratio < 1)
        # an undamped step that gains little is the sign of a minimum nearby
        lower = torch.where(mu / 5 < LAST_DAMPING, 0.0, mu / 5)
        damping[at] = torch.where(better, torch.where(newton & (ratio > 0.5), FIRST_DAMPING, lower), torch.where(mu > 0, mu * 4, FIRST_DAMPING))
        stuck = damping[at] > MOST_DAMPING
        nearly = g.norm(dim=-1) <= 1e3 * FLAT * r0.norm(dim=-1)
        state[at[flat | (stuck & nearly)]] = MINIMUM
        moved = better & ~flat
        x[at[moved]], r[at[moved]] = there[moved], r1[moved]
        active[at[flat | stuck]] = False
    roots = (state == ROOT).nonzero()[:, 0]
    x[roots], r[roots] = _polish(residual, jacobian, x[roots], r[roots], radius)
    return x, r, state


def _steps(K: Tensor, r: Tensor, g: Tensor, mu: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """A step for every state, and whether it is Newton's."""
    newton = mu == 0
    step = torch.zeros_like(r)
    at = newton.nonzero()[:, 0]
    if len(at):
        step[at] = -torch.linalg.solve_ex(K[at], r[at])[0]
        length = step.norm(dim=-1)
        newton = newton & torch.isfinite(length) & (length <= radius)
    at = (~newton).nonzero()[:, 0]
    if len(at):
        normal = K[at].mT @ K[at]
        diagonal = normal.diagonal(dim1=-2, dim2=-1)
        diagonal += torch.where(mu[at] > 0, mu[at], FIRST_DAMPING)[:, None] * diagonal.amax(-1, keepdim=True).clamp_min(1e-30)
        damped = -torch.linalg.solve_ex(normal, g[at])[0]
        step[at] = damped * (radius / damped.norm(dim=-1, keepdim=True).clamp_min(1e-300)).clamp_max(1)
    return step, newton


def _polish(residual: Function, jacobian: Function, x: Tensor, r: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Newton's steps as long as they gain: a double root halves its distance at each, hence so many."""
    active = torch.arange(len(x))
    for _ in range(40):
        if not len(active):
            break
        step = -torch.linalg.solve_ex(jacobian(x[active]), r[active])[0]
        there = x[active] + step
        r1 = residual(there)
        good = torch.isfinite(r1).all(-1) & (step.norm(dim=-1) < 1e-3 * radius) & (_size(r1) < 0.7 * _size(r[active]))
        active, there, r1 = active[good], there[good], r1[good]
        x[active], r[active] = there, r1
    return x, r


def newton_errors(jacobian: Function, x: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the root may lie from x, |K^-1| (|r| + rounding), and |K^-1| itself (Frobenius), each (B,); inf where K is singular."""
    n = x.shape[1]
    size = max(1, ENTRIES // (n * n))
    norms, sizes = [], []
    for i in range(0, len(x), size):
        K = jacobian(torch.tensor(x[i : i + size])).detach()
        sizes.append(_norm(K).numpy())
        inverse, failed = torch.linalg.inv_ex(K)
        norm = torch.linalg.matrix_norm(inverse)
        norms.append(torch.where((failed != 0) | ~torch.isfinite(norm), torch.inf, norm).numpy())
    if not len(x):
        return np.zeros(0), np.zeros(0)
    inverse_norm = np.concatenate(norms)
    rounding = ROUNDING * (1 + np.concatenate(sizes)) * (1 + np.abs(x).max(-1)) * np.sqrt(n)
    return inverse_norm * (np.linalg.norm(r, axis=-1) + rounding), inverse_norm


def _norm(K: Tensor) -> Tensor:
    """Largest row sum, which bounds |K x|_inf."""
    return K.abs().sum(-1).amax(-1)


def _size(x: Tensor) -> Tensor:
    return x.abs().amax(-1)
