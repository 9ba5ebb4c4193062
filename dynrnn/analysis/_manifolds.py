"""Stable and unstable manifolds of saddles of piecewise-linear models, exactly: curves, polygons and charts, without a step size."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.canonical import one_map
from dynrnn.analysis.piecewise.charts import stable_charts, unstable_charts
from dynrnn.analysis.piecewise.homoclinic import at_the_straight_part, check, in_the_plane, orbits
from dynrnn.analysis.piecewise.layout import chart_dataset, curve_dataset, polygon_dataset
from dynrnn.analysis.piecewise.polygon import stable_polygons, unstable_polygons
from dynrnn.analysis.piecewise.polyline import Curve, unstable_polyline
from dynrnn.analysis.piecewise.preimages import find_regions
from dynrnn.analysis.piecewise.saddle import STABLE, UNSTABLE, Saddle, find_saddle
from dynrnn.analysis.piecewise.stable import stable_polyline
from dynrnn.errors import ArgumentError, check_int, unknown_name


def manifolds(
    model: Any,
    point: Any,
    which: str = UNSTABLE,
    n_iterations: int = 10,
    *,
    max_length: float = np.inf,
    max_vertices: int = 200_000,
    regions: np.ndarray | None = None,
    orbit: np.ndarray | None = None,
    inputs: Any = None,
    fit: int | None = None,
) -> xr.Dataset:
    """The stable or unstable manifold of a saddle fixed point or cycle of a piecewise-linear model.

    Parameters
    ----------
    model : a run or model of relu units, or a bare map ``(A, W1, W2, h1, h2)``; inputs : its constant input (K,), 0 by default.
    point : the saddle: (M,); the points (k, M) of a cycle in their order; or a row of ``fixed_points`` or ``cycles``. It is solved again in its regions.
    which : ``unstable`` or ``stable``.
    n_iterations : how often the map f^k (k the period; or its inverse) is applied to the straight part at the saddle. Default 10.
    max_length : each curve is cut there, counted from its start (latent units). Default: no limit.
    max_vertices : growth stops before more vertices than this (polygons and charts: pieces). Default 200,000.
    regions, orbit : for stable manifolds of maps of more than 12 units: words (n, H) of the regions to look for preimages in, or states (n, M) that visit
        them. Default: all 2^H.
    fit : which fit of an ensemble (its label); needed if there are several.

    Returns
    -------
    One dimension (``kind`` polyline): location (vertex, latent), arclength from the start of the curve, ``segment_start`` (whether a segment goes from this
    vertex to the next), region (vertex, unit) of that segment; branch (vertex), with side (branch_number) -1 and +1 from the saddle and 0 for curves that
    do not begin there, and cycle_point_of_branch; iteration and parameter: that many steps back (unstable) or on (stable) the vertex was or will be at
    ``points[phase] + direction_basis[phase] parameter``, exactly.
    Two (``polygons``): location (vertex, latent) in order around each, polygon (vertex), parameter (vertex, direction); iteration, phase, area (polygon),
    region (polygon, unit). More (``charts``): base (piece, latent), chart (piece, latent, direction): all ``base + chart q`` with ``normal q <= bound``
    (constraint), region; location is a point amid each.
    Always points (cycle_point, latent), direction_basis (cycle_point, latent, direction), eigenvalue (mode); attrs complete (False, and
    ``incomplete_because``: max_length, max_vertices, ray (a straight part without end was cut), regions (not all were searched), singular, overflow),
    length, invertible (stable: whether det J has one sign on all regions searched; if not, the manifold is the whole set of preimages, which falls into
    several curves).

    Method
    ------
    Within the saddle's region the manifold is an affine space. A fundamental piece of it is iterated, each image cut where it crosses a switching plane,
    so that every piece is affine and its image exact. Stable manifolds: preimages in every region. Palis & de Melo (1982); for piecewise-linear RNNs Eisenmann
    et al. (arXiv 2510.03814). Rounding moves a vertex along an unstable manifold by some |mu|^n eps, and across it hardly at all. Cost O(V H M) for V
    vertices, times the number of regions for stable ones; V grows like exp(h n), h the topological entropy. Polygons and charts cost more (charts: linear
    programmes). Where the map of a region is singular, preimages are affine sets: they are not followed, and ``singular`` says so.

    Raises
    ------
    ArgumentError : the point is not fixed, not a hyperbolic saddle, on a switching plane, of the wrong dimension; too many regions.

    >>> lozi = ([[1.7, 1.0], [0.5, 0.0]], [[-3.4], [0.0]], [[1.0, 0.0]], [1.0, 0.0], [0.0])
    >>> found = manifolds(lozi, [1 / 2.2, 0.5 / 2.2], n_iterations=12)
    >>> found.sizes["vertex"], found.attrs["complete"], found.side.values.tolist()
    (311, True, [-1, 1])
    """
    if which not in (UNSTABLE, STABLE):
        raise unknown_name("manifold", which, (UNSTABLE, STABLE))
    n_iterations, max_vertices = check_int("n_iterations", n_iterations, low=0), check_int("max_vertices", max_vertices, low=10)
    if not max_length > 0:
        raise ArgumentError(f"max_length must be positive, got {max_length!r}.")
    map, label = one_map(model, inputs, fit, point)
    saddle = find_saddle(map, point, which)
    return grow(saddle, which, n_iterations, float(max_length), max_vertices, regions, orbit).assign_attrs({"fit": label})


def homoclinic_points(
    model: Any,
    point: Any,
    other: Any = None,
    n_iterations: int | tuple[int, int] = 10,
    *,
    max_vertices: int = 200_000,
    inputs: Any = None,
    fit: int | None = None,
    regions: np.ndarray | None = None,
    orbit: np.ndarray | None = None,
) -> xr.Dataset:
    """Points where the unstable manifold of a saddle crosses the stable manifold of the same (homoclinic) or of ``other`` (heteroclinic).

    point, other : saddles as for ``manifolds``, each with one unstable direction. n_iterations : for both manifolds, or one number each. In more than
    two dimensions the stable side is the straight part at the saddle alone, which every homoclinic orbit enters: only the unstable number counts.

    location (crossing, latent); angle (radians) between the manifolds, 0 a tangency; orbit: crossings of one orbit have the same number; iteration_unstable
    and parameter_unstable: the point was at ``points[0] + parameter v`` that many steps ago, so that its past is known to rounding for ever;
    iteration_stable, parameter_stable (crossing, stable_direction), phase: the same of its future. residual_unstable and residual_stable: distance between
    plain iteration and these closed forms. attrs: n_orbits, complete (all crossings of the two computed pieces are found; False where a manifold was stopped),
    parallel_pairs: pairs of near segments that are parallel and were not tried.

    A transversal homoclinic point proves a horseshoe, hence chaos, of an invertible map (Smale 1967; here where no point of the orbit is on a plane).
    Cost: a sweep over boxes, O(V log V) and the number of overlaps in the first coordinate.

    >>> lozi = ([[1.7, 1.0], [0.5, 0.0]], [[-3.4], [0.0]], [[1.0, 0.0]], [1.0, 0.0], [0.0])
    >>> found = homoclinic_points(lozi, [1 / 2.2, 0.5 / 2.2], n_iterations=(5, 3))
    >>> bool(found.residual_stable.max() < 1e-12), found.attrs["n_orbits"] > 0
    (True, True)
    """
    pair = n_iterations if isinstance(n_iterations, tuple) else (n_iterations, n_iterations)
    if len(pair) != 2:
        raise ArgumentError(f"n_iterations must be one number, or one each for the unstable and the stable manifold, got {n_iterations!r}.")
    n_u, n_s = (check_int("n_iterations", n, low=0) for n in pair)
    map, label = one_map(model, inputs, fit, point)
    saddle = find_saddle(map, point, UNSTABLE)
    target = saddle if other is None else find_saddle(map, other, STABLE)
    for name, one in (("point", saddle), ("other", target)):
        if one.n_unstable != 1:
            raise ArgumentError(f"{name} has {one.n_unstable} unstable directions; crossings are found for saddles with one: curves against hypersurfaces.")
    unstable, stopped = unstable_polyline(saddle, n_u, np.inf, max_vertices), []
    if map.latent_dim == 2:
        found_regions = find_regions(map, target.words, regions, orbit)
        # an orbit through a crossing cannot reach farther than this on the straight part, so that may be cut there
        far = float(np.abs(unstable.location).max() + np.abs(target.points).max()) * np.sqrt(2)
        growth, shift = np.linalg.norm(found_regions.J, axis=(1, 2)).max(), np.linalg.norm(found_regions.c, axis=1).max()
        for _ in range(n_s * target.period):
            far = growth * far + shift
        stable = stable_polyline(target, found_regions, n_s, np.inf, max_vertices, far=min(2 * far, 1e9))
        stopped = [why for why in stable.stopped if why != "ray" or 2 * far > 1e9] + ["regions"] * (not found_regions.complete)
        found = in_the_plane(unstable, stable, other is None)
    else:
        found = at_the_straight_part(unstable, target, other is None)
    up, down = check(found, saddle, target)
    number = orbits(found, saddle, target)
    d, stopped = "crossing", list(dict.fromkeys(unstable.stopped + stopped))
    text = "steps since the straight part of the unstable manifold", "steps until the straight part of the stable manifold"
    return xr.Dataset(
        {
            "location": ((d, "latent"), found.z, {"long_name": "crossing of the manifolds"}),
            "angle": (d, found.angle, {"long_name": "angle between the manifolds", "units": "rad"}),
            "orbit": (d, number, {"long_name": "orbit that the crossing belongs to"}),
            "iteration_unstable": (d, found.unstable_iteration, {"long_name": text[0], "units": "1"}),
            "parameter_unstable": (d, found.unstable_parameter, {"long_name": "place on the straight part of the unstable manifold"}),
            "iteration_stable": (d, found.stable_iteration, {"long_name": text[1], "units": "1"}),
            "parameter_stable": ((d, "stable_direction"), found.stable_parameter, {"long_name": "place on the straight part of the stable manifold"}),
            "phase": (d, found.phase, {"long_name": "point of the cycle that it will be at"}),
            "residual_unstable": (d, up, {"long_name": "plain iteration from the straight part, distance to the crossing"}),
            "residual_stable": (d, down, {"long_name": "plain iteration from the crossing, distance to the straight part"}),
        },
        attrs={
            "fit": label, "n_orbits": int(number.max(initial=-1)) + 1, "complete": not stopped, "incomplete_because": ", ".join(stopped),
            "parallel_pairs": found.parallel, "heteroclinic": other is not None,
        },
    )  # fmt: skip


def grow(
    saddle: Saddle, which: str, n_iterations: int, max_length: float, max_vertices: int, regions: np.ndarray | None = None, orbit: np.ndarray | None = None
) -> xr.Dataset:
    """The manifold by its dimension."""
    dim = saddle.directions(which).dim
    searched = find_regions(saddle.map, saddle.words, regions, orbit) if which == STABLE else None
    if dim == 1:
        curve: Curve = (
            unstable_polyline(saddle, n_iterations, max_length, max_vertices)
            if searched is None
            else stable_polyline(saddle, searched, n_iterations, max_length, max_vertices)
        )
        found, data = curve, curve_dataset(curve)
    elif dim == 2:
        found = unstable_polygons(saddle, n_iterations, max_vertices) if searched is None else stable_polygons(saddle, searched, n_iterations, max_vertices)
        data = polygon_dataset(found)
    else:
        found = unstable_charts(saddle, n_iterations, max_vertices) if searched is None else stable_charts(saddle, searched, n_iterations, max_vertices)
        data = chart_dataset(found)
    stopped = list(dict.fromkeys(found.stopped))
    if searched is not None:
        stopped += ["regions"] * (not searched.complete)
        data.attrs |= {"invertible": searched.invertible(), "n_regions": len(searched.words), **found.facts}
    directions = saddle.directions(which)
    inside = np.abs(saddle.multipliers) < 1
    data["points"] = (("cycle_point", "latent"), saddle.points, {"long_name": "fixed point or cycle"})
    data["direction_basis"] = (("cycle_point", "latent", "direction"), directions.V, {"long_name": "basis of the invariant subspace, carried round the cycle"})
    data["eigenvalue"] = ("mode", saddle.multipliers[inside if which == STABLE else ~inside], {"long_name": "multipliers of this manifold", "units": "1"})
    facts = {"which": which, "dimension": dim, "period": saddle.period, "n_iterations": n_iterations}
    return data.assign_attrs({**facts, "complete": not stopped, "incomplete_because": ", ".join(stopped)})
