"""Basin boundaries of piecewise-linear models: stable manifolds of saddles whose two unstable branches go to different attractors."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dynrnn.analysis._manifolds import grow
from dynrnn.analysis.piecewise.canonical import one_map
from dynrnn.analysis.piecewise.fates import UNCLEAR, branch_starts, label
from dynrnn.analysis.piecewise.map import PiecewiseLinearMap
from dynrnn.analysis.piecewise.preimages import MAX_UNITS
from dynrnn.analysis.piecewise.saddle import STABLE, find_saddle
from dynrnn.analysis.stability import SADDLE, sorted_multipliers, stability_class
from dynrnn.errors import ArgumentError, check_int


def basin_boundary(
    model: Any,
    saddles: Any = None,
    n_iterations: int = 10,
    *,
    max_length: float = np.inf,
    max_vertices: int = 200_000,
    n_steps: int = 5_000,
    tolerance: float = 1e-4,
    regions: np.ndarray | None = None,
    orbit: np.ndarray | None = None,
    inputs: Any = None,
    fit: int | None = None,
) -> xr.DataTree:
    """The boundary between basins of attraction: stable manifolds of the edge states.

    Parameters
    ----------
    saddles : list of saddles with one unstable direction, each as ``point`` of ``manifolds``. Default: all such fixed points (no cycles), for maps of
        at most 12 units.
    n_iterations, max_length, max_vertices, regions, orbit, inputs, fit : as for ``manifolds``, for the stable manifolds.
    n_steps : steps after which an orbit is taken to be at its attractor. Default 5,000.
    tolerance : distance, relative to the attractors' size, within which two late orbits are of one attractor. Default 1e-4.

    Returns
    -------
    A tree. Root: location (saddle, latent), attractor (saddle, side): number of the attractor that the unstable branch on side -1, +1 goes to, -1 where it
    diverges, -2 where its points go to different ones (then the saddle's own manifolds cross a boundary); separates (saddle): the two differ and are clear;
    attractor_state (attractor_number, latent): a late state on each. Child ``saddle_i`` for every saddle that separates: its stable manifold as of
    ``manifolds``. attrs: complete (every saddle was looked at, and every manifold is complete), so is False where saddles are named by hand.

    Method: 16 points over one fundamental segment of both branches are iterated. Late orbits that lie along each other are of one attractor: a rule,
    not a proof, as every numerical basin is. Boundaries may hold more than fixed points: give cycles as saddles too. Cost: that of ``manifolds`` a saddle.

    >>> bistable = ([0.5, 0.5], [[1.5, -1.5], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]], [-1.0, 0.0], [0.5, -0.5])
    >>> found = basin_boundary(bistable, n_iterations=3)
    >>> found.separates.values.tolist(), abs(found["saddle_0"].location.values[:, 0]).max().round(9)
    ([True], np.float64(0.25))
    """
    n_iterations, max_vertices = check_int("n_iterations", n_iterations, low=0), check_int("max_vertices", max_vertices, low=10)
    n_steps = check_int("n_steps", n_steps, low=1)
    if not (max_length > 0 and tolerance > 0):
        raise ArgumentError(f"max_length and tolerance must be positive, got {max_length!r} and {tolerance!r}.")
    map, fit_label = one_map(model, inputs, fit)
    points = _all_edge_points(map) if saddles is None else list(saddles)
    found = [find_saddle(map, point, STABLE) for point in points]
    for i, saddle in enumerate(found):
        if saddle.n_unstable != 1:
            raise ArgumentError(
                f"saddles[{i}] has {saddle.n_unstable} unstable directions; a boundary's saddles have one, so that their stable manifolds are hypersurfaces."
            )
    starts = np.array([branch_starts(saddle) for saddle in found]).reshape(len(found), 2, -1, map.latent_dim)
    labels, states = label(map, starts.reshape(-1, map.latent_dim), n_steps, tolerance)
    labels = labels.reshape(len(found), 2, -1)
    fate = np.where((labels == labels[:, :, :1]).all(-1), labels[:, :, 0] if labels.size else 0, UNCLEAR)
    separates = (fate[:, 0] != fate[:, 1]) & (fate != UNCLEAR).all(1)
    nodes = {}
    for i in np.flatnonzero(separates):
        nodes[f"saddle_{i}"] = grow(found[i], STABLE, n_iterations, float(max_length), max_vertices, regions, orbit)
    first = np.array([saddle.points[0] for saddle in found]).reshape(-1, map.latent_dim)
    whole = saddles is None and all(node.attrs["complete"] for node in nodes.values())
    root = xr.Dataset(
        {
            "location": (("saddle", "latent"), first, {"long_name": "saddles (of cycles the first point)"}),
            "attractor": (("saddle", "side"), fate, {"long_name": "attractor of both unstable branches; -1 diverges, -2 unclear"}),
            "separates": ("saddle", separates, {"long_name": "the branches go to different attractors"}),
            "attractor_state": (("attractor_number", "latent"), states, {"long_name": "a late state on each attractor"}),
        },
        attrs={"fit": fit_label, "complete": whole, "n_steps": n_steps, "tolerance": tolerance},
    )
    return xr.DataTree.from_dict({"/": root, **{f"/{name}": node for name, node in nodes.items()}})


def _all_edge_points(map: PiecewiseLinearMap) -> list[np.ndarray]:
    """All fixed points with one unstable direction: a linear system for every word."""
    H, M = map.n_units, map.latent_dim
    if H > MAX_UNITS:
        raise ArgumentError(f"{H} units have 2^{H} = {2**H:,} words, more than 2^{MAX_UNITS}: name the saddles, from fixed_points or cycles.")
    words = (np.arange(2**H)[:, None] >> np.arange(H) & 1).astype(bool)
    J, c = map.jacobians(words), map.offsets(words)
    regular = np.linalg.cond(np.eye(M) - J) < 1e12
    z = np.linalg.solve((np.eye(M) - J)[regular], c[regular][..., None])[..., 0]
    real = (map.words(z) == words[regular]).all(1)
    z, J = z[real], J[regular][real]
    mu = sorted_multipliers(J)
    one = (stability_class(mu) == SADDLE) & ((np.abs(mu) > 1).sum(-1) == 1)
    return list(z[one])
