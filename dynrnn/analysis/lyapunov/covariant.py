"""Covariant Lyapunov vectors of all fits: directions that the dynamics carry into each other, their angles and where they live."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from dynrnn.analysis.lyapunov.carrier import Subject, subject_of
from dynrnn.analysis.lyapunov.ginelli import Swept, sweep
from dynrnn.analysis.lyapunov.segments import first_states, frames
from dynrnn.analysis.lyapunov.subspaces import GROUPS, PAIRS, grouped, pair_angles, smallest_principal_angle
from dynrnn.analysis.piecewise.canonical import ANALYSED
from dynrnn.errors import ArgumentError, check_int
from dynrnn.streams import check_random_state

COVARIANT = 1e-8         # 1 - |cos| that vectors may be off by: of covariance, and between what two random starts of either sweep give


def covariant_vectors(
    system: Any, n_vectors: int | None = None, n_steps: int = 2_000, random_state: int | None = 0, *, dim: int | None = None, dt: float | None = None,
    inputs: Any = None, initial: Any = None, transient: int | None = None, warmup: int | None = None, backward_warmup: int | None = None,
    neutral: float | None = None, keep_vectors: bool = True, checkpoint: int | None = None,
) -> xr.Dataset:
    """Covariant Lyapunov vectors along one orbit of every fit, with their angles, localisation and a check that they are covariant.

    Parameters
    ----------
    system, dim, dt, inputs, initial: as in :func:`lyapunov_spectrum`; ``initial`` gives one orbit a fit.
    n_vectors: of the largest exponents; all M by default.
    n_steps: of the orbit, after the transient and the warm-up. transient: steps dropped before (1,000 or a tenth of n_steps; a known flow has its own).
    warmup, backward_warmup: steps before and after the stretch over which frames, and coefficients, turn to the directions; n_steps, but from 1,000 to
        10,000, by
        default. They need a few dozen over the gap between neighbouring exponents (per step), and whether they were enough is checked.
    random_state: of random starts, frames and coefficients.
    neutral: vectors with a mean growth within this count as neutral (per unit of time). By default those within two standard errors of zero, or with less
        than a tenth
        of an e-folding over the stretch, and of a known flow the one nearest to zero.
    keep_vectors: False leaves ``direction`` and ``state`` out, for long orbits of many units.
    checkpoint: steps between checkpoints; chosen by default.

    Returns
    -------
    ``direction`` (fit, time, vector, latent): unit vectors, largest exponent first, of which J takes each to a positive multiple of the next; the sign is
    free, and
    makes the largest entry of the first positive; ``state`` (fit, time, latent).
    Per time: ``local_growth`` (fit, time, vector): ln |J v| per unit of time, over the step that follows; ``localisation``: participation ratio (sum
    v^2)^2 / sum v^4,
    from 1 (one latent unit) to M; ``angle`` (fit, time, vector, other): between two vectors' lines, 0 to pi / 2; ``subspace_angle`` (fit, time, spaces): the
    smallest principal angle between the spaces of expanding, neutral and contracting vectors, NaN where one of them is empty.
    Per vector: ``exponent``: mean local growth, ``exponent_standard_error`` (16 blocks; for errors to rely on see :func:`lyapunov_spectrum`), ``group``
    (expanding, neutral, contracting; empty for a dead direction), ``covariance_residual``: the largest 1 - |cos(J v_n, v_{n+1})|;
    ``forward_difference`` and ``backward_difference``: 1 - |cos| between what two random frames (start of the stretch), and two random coefficients (its
    end), led to.
    Per fit: ``smallest_angle`` (fit, spaces) over the stretch: near 0, expanding and contracting directions touch, and the attractor is not hyperbolic;
    ``n_live``; ``status``, which says where a check fails (above 1e-8). Dead directions (exponent -inf: singular Jacobians) have no covariant vector: they
    are cut
    off, NaN, and the status says so. A diverged fit has an empty row.

    Method
    ------
    Ginelli et al. 2007 (PRL 99, 130601), as reviewed in Kuptsov and Parlitz 2012 (J. Nonlinear Sci. 22, 727): frames forward, J Q_n = Q_{n+1} R_{n+1}; backward
    C_n = R_{n+1}^{-1} C_{n+1} with columns of length 1; vectors Q_n C_n. Checkpoints every m steps, from which blocks are computed again: O(T k (M H + k M
    + k^2)) for T steps
    in all, memory O(T k M / m + m k (M + k)) a fit beside what is returned, or 32 MB if that is more. Fails: vectors of equal exponents (a pair that
    rotates, symmetric units) are not unique, only
    their space is, and the two differences stay large; far-apart exponents and long steps leave no digits for the weak ones.

    Raises
    ------
    ArgumentError : n_vectors > M, fewer than 10 steps, several initial states, a callable without derivative, no dt for a flow.

    >>> from dynrnn.analysis import PiecewiseLinearMap, covariant_vectors
    >>> lozi = PiecewiseLinearMap([[0, 1], [0.5, 0]], [[-1.7, -1.7], [0, 0]], [[1, 0], [-1, 0]], [1, 0], [0, 0])      # x' = 1 - 1.7 |x| + y, y' = x / 2
    >>> found = covariant_vectors(lozi, n_steps=500, initial=[[0.1, 0.1]])
    >>> found.group.values.tolist(), bool(found.covariance_residual.max() < 1e-12)
    ([['expanding', 'contracting']], True)
    """
    subject = subject_of(system, dim, inputs, dt)
    M = subject.carrier.dim
    k = M if n_vectors is None else check_int("n_vectors", n_vectors, low=1)
    if k > M:
        raise ArgumentError(f"n_vectors = {k}, but the system has {M} dimensions and as many vectors.")
    n_steps = check_int("n_steps", n_steps, low=10)
    own = max(1_000, n_steps // 10) if subject.transient is None else subject.transient
    transient = own if transient is None else check_int("transient", transient, low=0)
    usual = min(max(1_000, n_steps), 10_000)
    warmup = usual if warmup is None else check_int("warmup", warmup, low=1)
    backward = usual if backward_warmup is None else check_int("backward_warmup", backward_warmup, low=1)
    checkpoint = None if checkpoint is None else check_int("checkpoint", checkpoint, low=1)
    if neutral is not None and not (isinstance(neutral, (int, float)) and not isinstance(neutral, bool) and np.isfinite(neutral) and neutral >= 0):
        raise ArgumentError(f"neutral must be a rate per unit of time from 0 up, got {neutral!r}.")
    seed = check_random_state(random_state)
    fits = subject.fit[subject.usable]
    z = first_states(subject, initial, 1, transient, 0, seed)
    if z.shape[1] != 1:
        raise ArgumentError(f"initial holds {z.shape[1]} states a fit, and vectors are carried along one orbit. Give one state, or call once for each.")
    drawn = [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(4, int(f)))).standard_normal((2, k, k)) for f in fits]
    C = torch.triu(torch.tensor(np.stack(drawn)))
    found = sweep(subject.carrier, z, frames(subject.carrier, fits, 2, k, seed), C, n_steps, warmup, backward, checkpoint, keep_vectors)
    out = _dataset(subject, found, neutral, keep_vectors)
    out.attrs |= {
        "dt": subject.dt, "n_steps": n_steps, "transient": transient, "warmup": warmup, "backward_warmup": backward, "random_state": seed,
        "neutral": "2 standard errors" if neutral is None else float(neutral), "step_error": subject.step_error, "logarithm": "natural",
    }
    return out


def _dataset(subject: Subject, found: Swept, neutral: float | None, keep_vectors: bool) -> xr.Dataset:
    dt, usable = subject.dt, np.flatnonzero(subject.usable)
    F, n, k = len(subject.fit), *found.growth.shape[1:]
    empty = np.full
    growth, shape = empty((F, n, k), np.nan), empty((F, n, k), np.nan)
    angle, spaces, smallest = empty((F, n, k, k), np.nan), empty((F, n, len(PAIRS)), np.nan), empty((F, len(PAIRS)), np.nan)
    mean, error, residual, forward, backward = (empty((F, k), np.nan) for _ in range(5))
    vector = empty((F, *found.vector.shape[1:]), np.nan)
    state = empty((F, n if keep_vectors else 0, found.state.shape[-1]), np.nan)
    group, live, status = empty((F, k), "", dtype=object), np.zeros(F, int), subject.status
    for i, f in enumerate(usable):
        if found.diverged[i]:
            status[f] = "an orbit diverges"
            continue
        j = live[f] = int(found.live[i])
        if keep_vectors:
            state[f] = found.state[i]
        growth[f, :, :j], shape[f, :, :j] = found.growth[i, :, :j].numpy() / dt, found.participation[i, :, :j]
        residual[f, :j], forward[f, :j], backward[f, :j] = found.residual[i, :j], found.forward[i, :j], found.backward[i, :j]
        if keep_vectors:
            own = found.vector[i, :, :j].numpy()
            largest = np.take_along_axis(own[0], np.abs(own[0]).argmax(-1)[:, None], -1)
            vector[f, :, :j] = np.where(largest < 0, -own, own)
        C = found.C[i, :, :j, :j].numpy()
        angle[f, :, :j, :j] = pair_angles(C)
        mean[f, :j], error[f, :j], which = grouped(found.growth[i, :, :j].numpy(), dt, subject.flow, neutral)
        group[f, :j] = [GROUPS[g] for g in which]
        for p, (a, b) in enumerate(PAIRS):
            if (which == a).any() and (which == b).any():
                spaces[f, :, p] = smallest_principal_angle(C, np.flatnonzero(which == a), np.flatnonzero(which == b))
                smallest[f, p] = spaces[f, :, p].min()
        status[f] = _said(j, k, residual[f, :j], forward[f, :j], backward[f, :j])
    per_time, one, radian = {"units": "nat / time of dt"}, {"units": "1"}, {"units": "rad"}
    at, each = ("fit", "vector"), ("fit", "time", "vector")
    variables: dict[str, Any] = {
        "local_growth": (each, growth, {"long_name": "growth of a vector over the next step"} | per_time),
        "localisation": (each, shape, {"long_name": "participation ratio over latent units"} | one),
        "angle": ((*each, "other"), angle, {"long_name": "angle between two vectors"} | radian),
        "subspace_angle": (("fit", "time", "spaces"), spaces, {"long_name": "smallest principal angle between two spaces"} | radian),
        "smallest_angle": (("fit", "spaces"), smallest, {"long_name": "the smallest over the stretch"} | radian),
        "exponent": (at, mean, {"long_name": "mean growth"} | per_time),
        "exponent_standard_error": (at, error, {"long_name": "its standard error over blocks"} | per_time),
        "group": (at, group.astype(str), {"long_name": "what a vector does in the mean"}),
        "covariance_residual": (at, residual, {"long_name": "largest 1 - |cos(J v, next v)|"} | one),
        "forward_difference": (at, forward, {"long_name": "1 - |cos| between two frames after the warm-up"} | one),
        "backward_difference": (at, backward, {"long_name": "1 - |cos| between two backward sweeps after the warm-up"} | one),
        "n_live": ("fit", live, {"long_name": "directions that do not die"} | one),
        "status": ("fit", status.astype(str), {"long_name": "what was done"}),
    }
    if keep_vectors:
        variables["direction"] = ((*each, "latent"), vector, {"long_name": "covariant vector, of length 1"} | one)
        variables["state"] = (("fit", "time", "latent"), state, {"long_name": "state of the orbit"} | one)
    coords = {
        "fit": subject.fit, "time": ("time", np.arange(n) * dt, {"units": "time of dt"}), "vector": np.arange(1, k + 1), "other": np.arange(1, k + 1),
        "spaces": np.array([f"{GROUPS[a]}-{GROUPS[b]}" for a, b in PAIRS]),
    }
    return xr.Dataset(variables, coords=coords)


def _said(live: int, k: int, residual: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> str:
    """The status of one fit."""
    said = []
    if live < k:
        said.append(f"only the first {live} of {k} directions live, the others die (exponent -inf)" if live else "every direction dies (exponent -inf)")
    if (residual > COVARIANT).any():
        said.append(f"vector {int(residual.argmax()) + 1} is not covariant (1 - |cos| = {residual.max():.1g}): take shorter steps or fewer vectors")
    loose = np.flatnonzero(np.maximum(forward, backward) > COVARIANT) + 1
    if len(loose):
        said.append(f"vectors {', '.join(map(str, loose))} are not settled: longer warm-ups, or equal exponents, of which only the space is defined")
    return "; ".join(said) if said else ANALYSED
