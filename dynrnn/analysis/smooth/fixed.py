"""Fixed points, slow points and continua by search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.readout import with_observed
from dynrnn.analysis.smooth.search import FIXED_POINT, Found, search
from dynrnn.analysis.smooth.starts import given_starts
from dynrnn.analysis.smooth.system import smooth_maps
from dynrnn.analysis.smooth.tables import Column, padded
from dynrnn.analysis.stability import describe
from dynrnn.errors import ArgumentError, check_int
from dynrnn.streams import check_random_state


def smooth_fixed_points(
    system: Any, dim: int | None = None, inputs: Any = None, *, starts: Any = None, n_starts: int = 512, tolerance: float = 1e-12,
    slow: float = 0.05, random_state: int | None = 0,
) -> xr.Dataset:
    """Fixed points ``F(z) = z``, slow points and line attractors of any differentiable map, by search from many starts.

    system : a model or run (any units; tanh ones have no other route), a piecewise-linear map, an object with ``step`` and ``dim``, or a callable
        on float64 tensors (..., dim) of torch with its ``dim``. inputs : a constant input (K,) of a model, 0 by default.
    starts : states (start, latent) or (fit, start, latent); by default ``n_starts`` a fit, half on orbits with noise, half in a box of twice
        the orbits' range. While the indices do not add up to a known degree, up to 3 further rounds of starts are drawn.
    tolerance : a root has |F(z) - z|_inf < tolerance (1 + |z|_inf); it is then polished to rounding.
    slow : a slow point's speed is at most this share of the median speed at the starts.

    Returns a dataset with dims fit, fixed_point, latent, mode (padded, ``valid``):
        kind           "fixed point": Newton's iteration converged. "slow point": a minimum of q that is no root, as a fold leaves behind; J has an
                       eigenvalue 1 there. "line attractor" (1-d, all other multipliers inside the unit circle), else "continuum": states spread
                       over a set of slow states whose tangents are eigenvectors with mu near 1; roots on it that are isolated stay fixed points.
        location       (latent), and observed, as a model reads it out in the recording's units; eigenvalue (mode) of J, largest modulus first, with
                       all that ``stability.describe`` says.
        speed, q       |F(z) - z| and its square's half; residual is |F(z) - z|_inf.
        index          sign det(I - J) of a fixed point, 0 where a multiplier is 1 within 1e-6 and for other kinds.
        kantorovich    |(J-I)^-1|^2 Lip |F(z) - z|: below 1/2 a root is proven to lie nearby if Lip, the largest of 16 samples of J's change, bounds it.
        hits           starts that ended there; of a continuum, slow states that lie nearest to this one.
        group          number of the continuum that a row lies on, -1 for none; dimension: of that continuum (0 without); drift: speed along it
                       (NaN without).
    and per fit: complete (always False: a search proves nothing about what it did not meet), index_sum, degree (what index_sum of all fixed
    points must be where F(z) - A z is bounded and 1 is no eigenvalue of A: sign det(I - A); else NaN), n_unseen (Chao's estimate of fixed
    points that no start met; NaN where none was met), n_fixed_points, n_starts, method, status.

    Method: Sussillo and Barak 2013 (Neural Comput. 25:626): descent of q by Adam, each start by itself, then Newton with the damping of Levenberg
    and Marquardt; equal roots are found by the bound of Newton's error, never by rounding. Cost O(n_starts M^3) an iteration, up to 100.
    A map with kinks is taken as it is: roots are exact, but descent may stall on a kink, where the exact route does not.
    ArgumentError for callables without dim, of wrong shape or dtype or without gradient, for maps finite at no start, and bad arguments.

    >>> found = smooth_fixed_points(lambda z: 2.5 * z * (1 - z), dim=1)
    >>> found.location.values.ravel().round(12).tolist(), found.stability.values.ravel().tolist()
    ([0.0, 0.6], ['source', 'sink'])
    """
    maps = smooth_maps(system, dim, inputs)
    n_starts = check_int("n_starts", n_starts, low=1)
    for name, value in {"tolerance": tolerance, "slow": slow}.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            raise ArgumentError(f"{name} must lie between 0 and 1, got {value!r}.")
    seed = check_random_state(random_state)
    own = given_starts(starts, len(maps.maps), maps.dim)
    found = [
        Found([], math.nan, math.nan, 0) if map is None else search(
            map, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(fit),))), None if own is None else own[k], n_starts, tolerance, slow
        )
        for k, (map, fit) in enumerate(zip(maps.maps, maps.fit, strict=True))
    ]
    M, nan = maps.dim, math.nan
    columns: dict[str, Column] = {
        "location": ({"latent": M}, nan, "state"),
        "eigenvalue": ({"mode": M}, complex(nan, nan), "multipliers"),
        "kind": ({}, "", "fixed point, slow point, line attractor or continuum"),
        "speed": ({}, nan, "length of one step"),
        "q": ({}, nan, "half the squared speed"),
        "index": ({}, 0, "sign of det(I - J)"),
        "residual": ({}, nan, "largest component of one step"),
        "kantorovich": ({}, nan, "below 1/2: a root lies nearby, if the sampled Lipschitz constant bounds the true one"),
        "hits": ({}, 0, "starts that ended here"),
        "group": ({}, -1, "number of the continuum"),
        "dimension": ({}, 0, "dimension of the continuum"),
        "drift": ({}, nan, "speed along the continuum"),
    }
    out = padded([fit.rows for fit in found], "fixed_point", columns, maps.fit)
    out.update(describe(out["eigenvalue"], maps.dt))
    per_fit = {
        "n_fixed_points": ((out["kind"] == FIXED_POINT).sum("fixed_point").values, "fixed points that were found"),
        "method": (np.full(len(found), "smooth"), "route that was taken"),
        "complete": (np.zeros(len(found), dtype=bool), "whether these are all, which a search never knows"),
        "index_sum": (np.array([fit.index_sum for fit in found]), "sum of the fixed points' indices"),
        "degree": (np.array([nan if map is None else map.degree for map in maps.maps]), "sum of the indices of all fixed points"),
        "n_unseen": (np.array([fit.n_unseen for fit in found]), "estimate of fixed points that no start met"),
        "n_starts": (np.array([fit.n_starts for fit in found]), "starts that were followed"),
        "status": (maps.status, "what could be done"),
    }
    for name, (values, says) in per_fit.items():
        out[name] = (("fit",), values, {"long_name": says})
    return with_observed(out, system).assign_attrs(route="smooth", tolerance=tolerance, slow=slow, random_state=seed, dt=maps.dt)
