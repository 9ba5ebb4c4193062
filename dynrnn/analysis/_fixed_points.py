"""All fixed points of piecewise-linear models: complete where the regions can be gone through, by search where they cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.canonical import Maps, canonical
from dynrnn.analysis.piecewise.enumeration import ARRANGEMENT, MAX_WORD_UNITS, WORDS, size_of, sizes
from dynrnn.analysis.piecewise.finding import SEARCH, Found, find
from dynrnn.analysis.piecewise.point import TOLERANCE
from dynrnn.analysis.piecewise.reduced import Reduced, reduce
from dynrnn.analysis.readout import with_observed
from dynrnn.analysis.smooth import smooth_fixed_points
from dynrnn.analysis.smooth.system import LEAVE_ROUTE, needs_smooth_route, refuse_on_the_smooth_route
from dynrnn.analysis.stability import describe, henrici, sorted_multipliers, transient_growth
from dynrnn.errors import ArgumentError, check_int, unknown_name
from dynrnn.streams import check_random_state

EXACT, SMOOTH = "exact", "smooth"
ROUTES = (EXACT, WORDS, ARRANGEMENT, SEARCH, SMOOTH)
LIMIT, N_VIRTUAL = 2**25, 8


def fixed_points(
    model: Any, inputs: Any = None, *, dim: int | None = None, route: str | None = None, limit: int = LIMIT, n_virtual: int = N_VIRTUAL,
    n_starts: int | None = None, random_state: int | None = 0, tolerance: float = TOLERANCE,
) -> xr.Dataset:
    """Fixed points of every fit, with stability, index and how far each is from a switching plane, and whether these are all.

    Parameters
    ----------
    model: a model or run, a ``PiecewiseLinearMap``, its arrays ``(A, W1, W2, h1, h2)``, or a list of maps; or any differentiable callable on
        torch tensors (..., dim) with its ``dim``.
    inputs: the constant input (K,) at which to look, 0 by default.
    route: None takes the cheaper complete one, and the search where both need more than ``limit`` regions; ``"exact"`` raises there;
        ``"words"``, ``"arrangement"`` and ``"search"`` force one. ``"smooth"`` is for callables and tanh units, which take it by themselves: what
        it returns, slow points among it, is said by :func:`dynrnn.analysis.smooth_fixed_points`; limit, n_virtual and tolerance mean nothing to it.
    limit: the most regions to solve on a complete route (some 2 to 6 million a second).
    n_virtual: so many virtual fixed points are kept, those nearest to their regions.
    n_starts: walks of the search (2,048), or starts of the smooth route (512). random_state: of these alone.
    tolerance: a unit counts as on its switching plane within it, relative to the terms that its value is the sum of.

    Returns
    -------
    Per object (fit, fixed_point), real ones first, sinks before saddles before sources: ``location`` (latent), ``observed`` (the model's
    observed dim, in the recording's units), ``region`` (unit: word, bits of the units of the canonical form), ``eigenvalue`` (mode: multipliers of
    one step), what :func:`dynrnn.analysis.stability.describe` says of them, ``henrici`` (departure of the Jacobian from normality, 0 to 1),
    ``transient_growth`` (largest norm of a power up to 100 steps; inf with a multiplier outside the unit circle, NaN for virtual ones), ``index``
    (sign det(I - J); the degree of the map around it for one on a
    switching plane; 0 if it is not isolated or not known), ``margin`` (distance to the next switching plane, negative for virtual ones: how far outside),
    ``residual`` (largest entry of f(z) - z, for virtual ones with their own region's map), ``virtual`` (the region's solution lies outside
    it: no fixed point, but may become one), ``kind`` ('point' or 'continuum': one point and ``dimension`` of a set within the region),
    ``on_border`` (on the switching plane of a unit that drives something: the eigenvalues are those of the side where the unit is off, and do not
    decide, so ``stability`` is non-hyperbolic), ``valid`` (the row holds an object, virtual ones included).
    Per fit: ``n_fixed_points`` (real ones), ``complete``, ``method``, ``n_candidates`` (regions solved, repeated ones included), ``index_sum``
    (real ones), ``degree`` (what the sum must be; NaN if unknown), ``n_unseen`` (estimate; 0 if complete, NaN if nothing is known),
    ``resolution`` and ``status``.

    Method
    ------
    Each region's map is affine and has one fixed point, real if it lies in the region. *words*: all 2^H words, one system of as many
    unknowns as units are on, O(2^H (H/2)^3). *arrangement*: all regions of H planes in r = rank W2 dimensions, twice, with two displacements of the planes,
    O(C(H, r-1) H 2^r r^3). Both hold a chunk of regions at a time, O(1024 H + H^2 2^r), and the points found (481 MB with all libraries for the
    166,751 regions of H = 100, r = 3). *search*: restarts that follow virtual solutions (Eisenmann et al. 2023, arXiv:2310.17561), O(n_starts r^3) and more.

    ``complete`` means: every region was solved in float64, no two displacements disagreed, and the index sum is the degree where that is
    known. What it cannot see are fixed points whose margin is below ``resolution`` (arrangement; 0 for words), solutions some 1e10 times as large as
    the biases, and regions too thin for float64. The search never claims to be complete; Chao's estimate from how often each was found is in
    ``n_unseen``, and the degree gives a lower bound where it is known.

    >>> from dynrnn.analysis import fixed_points
    >>> tent = (np.diag([2.0]), [[-4.0]], [[1.0]], [0.0], [-0.5])
    >>> found = fixed_points(tent, n_virtual=0)
    >>> abs(found.location.values.ravel().round(12)).tolist(), found.stability.values.ravel().tolist(), found.index.values.ravel().tolist()
    ([0.0, 0.666666666667], ['source', 'source'], [-1, 1])
    """
    if route is not None and route not in ROUTES:
        raise unknown_name("route", route, ROUTES)
    if route == SMOOTH or (route is None and needs_smooth_route(model)):
        refuse_on_the_smooth_route(limit=limit != LIMIT, n_virtual=n_virtual not in (0, N_VIRTUAL), tolerance=tolerance != TOLERANCE)
        return smooth_fixed_points(model, dim, inputs, n_starts=512 if n_starts is None else n_starts, random_state=random_state)
    n_starts = 2048 if n_starts is None else n_starts
    limit, n_virtual, n_starts = check_int("limit", limit, low=1), check_int("n_virtual", n_virtual, low=0), check_int("n_starts", n_starts, low=1)
    if not (isinstance(tolerance, (int, float)) and 0 < tolerance < 1e-3):
        raise ArgumentError(f"tolerance must be a number between 0 and 0.001, relative to the size of a unit's input, got {tolerance!r}.")
    seed = check_random_state(random_state)
    maps = canonical(model, inputs, dim=dim, otherwise=LEAVE_ROUTE)
    if len({(map.latent_dim, map.n_units) for map in maps.maps if map is not None}) > 1:
        raise ArgumentError("the maps of one ensemble must have equal numbers of latent units and of units; call fixed_points for each alone.")
    reduced = [None if map is None else reduce(map) for map in maps.maps]
    routes = [None if one is None else _route(one, route, limit) for one in reduced]
    found = []
    for k, (one, way) in enumerate(zip(reduced, routes, strict=True)):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(maps.fit[k]),)))
        found.append(None if one is None or way is None else find(one, way, n_virtual, n_starts, rng, tolerance))
    out = _dataset(maps, found, model)
    out.attrs |= {"limit": limit, "n_starts": n_starts, "random_state": seed, "tolerance": float(tolerance), "dt": maps.dt}
    return out


def _route(reduced: Reduced, route: str | None, limit: int) -> str:
    possible = sizes(reduced)
    if route == SEARCH:
        return SEARCH if reduced.n_units else WORDS                                 # without units there is one region, and nothing to search
    if route == ARRANGEMENT and ARRANGEMENT not in possible:
        raise ArgumentError(
            f"route='arrangement' needs more switching planes than dimensions, here {reduced.n_units} planes in "
            f"{reduced.rank}: every word is a region. Use route='words'."
        )
    way, size = (route, possible[route]) if route in possible else size_of(reduced)
    if size <= limit and (way != WORDS or reduced.n_units <= MAX_WORD_UNITS):
        return way
    if route is None:
        return SEARCH
    raise ArgumentError(
        f"a complete list needs {size:,} regions (route {way!r}: {reduced.n_units} switching planes in {reduced.rank} dimensions), more than "
        f"limit={limit:,}. Raise limit if you can wait, or call fixed_points(model, route='search'), which does not claim to be complete."
    )


def _dataset(maps: Maps, found: list[Found | None], model: Any) -> xr.Dataset:
    F, M = len(maps.maps), maps.latent_dim
    H = max((map.n_units for map in maps.maps if map is not None), default=0)
    n = max((len(one.points) for one in found if one is not None), default=0)
    location, eigenvalue = np.full((F, n, M), np.nan), np.full((F, n, M), np.nan, dtype=np.complex128)
    region, flags = np.zeros((F, n, H), dtype=bool), {name: np.zeros((F, n), dtype=bool) for name in ("valid", "virtual", "on_border")}
    whole = {name: np.zeros((F, n), dtype=np.int64) for name in ("index", "dimension")}
    real = {name: np.full((F, n), np.nan) for name in ("margin", "residual", "henrici", "transient_growth")}
    kind = np.full((F, n), "", dtype="<U9")
    for k, (map, one) in enumerate(zip(maps.maps, found, strict=True)):
        if map is None or one is None or not one.points:
            continue
        points, rows = one.points, slice(len(one.points))
        J = map.jacobians(np.array([point.word for point in points]))
        mu = sorted_multipliers(J)
        virtual = np.array([point.virtual for point in points])
        order = np.lexsort((np.arange(len(points)), (np.abs(mu) > 1).sum(-1) * ~virtual, virtual))
        points, J, mu = [points[i] for i in order], J[order], mu[order]
        location[k, rows], eigenvalue[k, rows] = [point.z for point in points], mu
        region[k, rows], kind[k, rows] = [point.word for point in points], [point.kind for point in points]
        flags["valid"][k, rows] = True
        flags["virtual"][k, rows], flags["on_border"][k, rows] = [point.virtual for point in points], [point.border.any() for point in points]
        for name in ("index", "dimension"):
            whole[name][k, rows] = [getattr(point, name) for point in points]
        for name in ("margin", "residual"):
            real[name][k, rows] = [getattr(point, name) for point in points]
        real["henrici"][k, rows] = henrici(J, mu)
        real["transient_growth"][k, rows] = _growth(J, mu, flags["virtual"][k, rows])
    at = ("fit", "fixed_point")
    said = {name: LONG_NAMES[name] for name in (*flags, *whole, *real)}
    out = xr.Dataset(
        {
            "location": ((*at, "latent"), location, {"long_name": "latent state", "units": "latent units"}),
            "eigenvalue": ((*at, "mode"), eigenvalue, {"long_name": "multiplier of one step", "units": "1"}),
            "region": ((*at, "unit"), region, {"long_name": "units of the canonical form that are on"}),
            "kind": (at, kind, {"long_name": "isolated point, or one of a set"}),
        }
        | {name: (at, value, dict(zip(("long_name", "units"), said[name]))) for name, value in (flags | whole | real).items()}
        | _per_fit(maps, found),
        coords={"fit": maps.fit},
    )
    out = out.merge(describe(out.eigenvalue, maps.dt, border=flags["on_border"]))
    return with_observed(out, model)


LONG_NAMES = {
    "valid": ("the row holds an object",), "virtual": ("the region's solution lies outside it",), "on_border": ("it lies on a switching plane",),
    "index": ("fixed point index", "1"), "dimension": ("dimension of the continuum", "1"), "margin": ("distance to the next switching plane", "latent units"),
    "residual": ("largest entry of f(z) - z", "latent units"), "henrici": ("departure of the Jacobian from normality", "1"),
    "transient_growth": ("largest norm of a power of the Jacobian", "1"),
}


def _growth(J: np.ndarray, mu: np.ndarray, virtual: np.ndarray) -> np.ndarray:
    """Of real ones; infinite where a multiplier lies outside the unit circle, which needs no powers."""
    out = np.where(virtual, np.nan, np.inf)
    bounded = ~virtual & (np.abs(mu).max(-1, initial=0) <= 1)
    out[bounded] = transient_growth(J[bounded])
    return out


def _per_fit(maps: Maps, found: list[Found | None]) -> dict[str, tuple]:
    """Variables over fits; a diverged fit has an empty row."""
    def each(name: str, empty: Any) -> np.ndarray:
        return np.array([empty if one is None else getattr(one, name) for one in found])

    status = [said if one is None else one.status for said, one in zip(maps.status, found, strict=True)]
    return {
        "n_fixed_points": ("fit", each("n_real", 0), {"long_name": "real fixed points and continua", "units": "1"}),
        "complete": ("fit", each("complete", False), {"long_name": "these are all real ones"}),
        "method": ("fit", each("method", "").astype(str), {"long_name": "route that was taken"}),
        "n_candidates": ("fit", each("n_candidates", 0), {"long_name": "regions solved, repeated ones included", "units": "1"}),
        "index_sum": ("fit", each("index_sum", 0), {"long_name": "sum of the indices of real ones", "units": "1"}),
        "degree": ("fit", each("degree", np.nan).astype(float), {"long_name": "what the index sum must be; NaN where unknown", "units": "1"}),
        "n_unseen": ("fit", each("n_unseen", np.nan).astype(float), {"long_name": "estimated number of fixed points not found", "units": "1"}),
        "resolution": ("fit", each("resolution", np.nan).astype(float), {"long_name": "margin below which one may be missed", "units": "latent units"}),
        "status": ("fit", np.array(status, dtype=str), {"long_name": "what was done"}),
    }
