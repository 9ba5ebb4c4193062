"""A plane through state space, and where the orbits from its points end."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from dynrnn.analysis.basins.exact import Sink
from dynrnn.analysis.basins.finding import ESCAPE, attractors
from dynrnn.analysis.basins.orbits import some_fits
from dynrnn.analysis.basins.overlap import Wanderer
from dynrnn.analysis.basins.settling import UNRESOLVED, settle
from dynrnn.analysis.lyapunov.carrier import subject_of
from dynrnn.errors import ArgumentError, check_int

MARGIN = 0.5                 # of the attractors' range, that a slice reaches beyond them by default
BLOCK = 2**14                # points of the plane that are run side by side


def basin_slice(
    system: Any, found: xr.Dataset | None = None, plane: Any = None, extent: Any = None, n: int | tuple[int, int] = 100, *, dim: int | None = None,
    dt: float | None = None, inputs: Any = None, n_doublings: int | None = None, **search: Any,
) -> xr.Dataset:
    """Which attractor the orbit from each point of a plane ends on.

    Parameters
    ----------
    system, dim, dt, inputs: as for :func:`attractors`.
    found: what ``attractors`` gave for the same system; None finds them first, with ``search`` (n_starts, box, starts, random_state, ...) as its arguments.
    plane: (origin, e1, e2), each (dim,); e1 and e2 must not be parallel, and are the units of x and y. By default the coordinates themselves of a system of two
        variables; else each fit's own: the mean of its attractors' points and their first two principal directions, of length 1.
    extent: (x_low, x_high, y_low, y_high) in these units; by default half the attractors' range beyond them on every side.
    n: points a side, at least 2, or (n_x, n_y). n_doublings: as for ``attractors``, whose value is taken by default.

    Returns
    -------
    ``label`` (fit, y, x): the attractor's number, -1 diverged, -2 unresolved, or on an attractor that is not among those found; coordinates x, y;
    ``share`` (fit, attractor), ``diverged_share`` and ``unresolved_share`` of the slice; ``kind``, ``period``, and ``location_x``, ``location_y``,
    ``off_plane`` (fit, attractor, phase): the attractors' points in the plane, and how far they lie from it; ``origin``, ``direction`` (axis, latent);
    ``status``.

    Method: as :func:`attractors`, but orbits are compared with what is known: a fixed point or cycle within 1e-6 of the states' size, another attractor if half
    of the orbit's states lie within its balls. O(fit n^2 steps M H); with all attractors fixed points or cycles orbits end early.
    Fails where ``found`` lacks attractors: their basins are -2, which ``unresolved_share`` tells.

    >>> import torch
    >>> def wells(z):
    ...     return torch.stack([1.5 * torch.tanh(z[..., 0]), 0.1 * z[..., 1]], -1)
    >>> flat = basin_slice(wells, dim=2, box=(-2, 2), n_starts=32, n=10, extent=(-2, 2, -2, 2))
    >>> flat.share.values.tolist(), flat.label.isel(y=0).values[0, [0, -1]].tolist() == flat.label.isel(y=-1).values[0, [0, -1]].tolist()
    ([[0.5, 0.5]], True)
    """
    subject = subject_of(system, dim, inputs, dt)
    M = subject.carrier.dim
    if M < 2:
        raise ArgumentError("a slice needs two directions, and the system has one variable. The label of every start is in what attractors gives.")
    sides = (n, n) if isinstance(n, (int, np.integer)) else tuple(n)
    if len(sides) != 2:
        raise ArgumentError(f"n must be a number of points a side, or (n_x, n_y), got {n!r}.")
    n_x, n_y = (check_int("n", side, low=2) for side in sides)
    basis = None if plane is None else _plane(plane, M)
    if found is None:
        found = attractors(system, dim=dim, dt=dt, inputs=inputs, **search)
    elif search:
        raise ArgumentError(f"{', '.join(search)}: for the search of attractors, but these are given.")
    if found.sizes["fit"] != len(subject.fit) or (found["fit"].values != subject.fit).any() or found.sizes["latent"] != M:
        raise ArgumentError(
            f"the attractors are of fits {found['fit'].values.tolist()} with {found.sizes['latent']} variables, the system has fits "
            f"{subject.fit.tolist()} with {M}. Give those of the same system."
        )
    F = len(subject.fit)
    bases = [basis if basis is not None else _principal(found, f, M) for f in range(F)]
    flat = [_projected(found, f, bases[f]) for f in range(F)]
    x0, x1, y0, y1 = _extent(extent, flat)
    x, y = np.linspace(x0, x1, n_x), np.linspace(y0, y1, n_y)
    usable = np.flatnonzero(subject.usable)
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    starts = np.stack([bases[f][0] + grid @ bases[f][1] for f in usable])               # [fit, y x, latent]
    known = [_known(found, int(f)) for f in usable]
    settings = found.attrs
    rounds = int(settings["n_doublings"]) if n_doublings is None else check_int("n_doublings", n_doublings, low=0, high=20)
    size = found["size"].values[usable]
    limit = np.maximum(found["bound"].values[usable], ESCAPE * np.abs(starts).max((1, 2)))
    label = np.full((F, n_y * n_x), UNRESOLVED)
    longest = max((len(sink.points) for sinks, _, _ in known for sink in sinks), default=1)
    for i, f in enumerate(usable):
        sinks, wanderers, numbers = known[i]
        for first in range(0, n_y * n_x, BLOCK):
            here = slice(first, first + BLOCK)
            ended = settle(
                some_fits(subject.carrier, i, i + 1), torch.tensor(starts[i : i + 1, here]), transient=int(settings["transient"]),
                n_steps=min(256, int(settings["n_steps"])), n_doublings=rounds, max_period=longest, bound=limit[i : i + 1], size=size[i : i + 1],
                known=[sinks], wanderers=[wanderers],
            ).label[0]
            label[f, here] = np.where(ended >= 0, np.append(numbers, 0)[np.maximum(ended, 0)], ended)
    return _dataset(found, subject.status, usable, label.reshape(F, n_y, n_x), x, y, bases, flat, rounds)


def _plane(plane: Any, M: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin (M,) and directions (2, M)."""
    try:
        origin, one, other = (np.asarray(part, dtype=np.float64) for part in plane)
    except (TypeError, ValueError):
        raise ArgumentError(f"plane must be (origin, e1, e2), three arrays of shape ({M},), got {plane!r}.") from None
    for name, part in {"origin": origin, "e1": one, "e2": other}.items():
        if part.shape != (M,) or not np.isfinite(part).all():
            raise ArgumentError(f"{name} of plane must hold {M} finite numbers, got shape {part.shape}.")
    if np.linalg.matrix_rank(np.stack([one, other])) < 2:
        raise ArgumentError("e1 and e2 of plane are parallel or zero, so they span no plane. Give two independent directions.")
    return origin, np.stack([one, other])


def _points(found: xr.Dataset, f: int) -> np.ndarray:
    """All points of a fit's attractors, each attractor with the same weight: (n, M)."""
    own = found.isel(fit=f)
    clouds = [own["location"].values[a, : int(own["n_points"].values[a])] for a in np.flatnonzero(own["valid"].values)]
    most = max((len(cloud) for cloud in clouds), default=0)
    return np.concatenate([cloud[np.arange(most) % len(cloud)] for cloud in clouds]) if clouds else np.zeros((0, found.sizes["latent"]))


def _principal(found: xr.Dataset, f: int, M: int) -> tuple[np.ndarray, np.ndarray]:
    if M == 2:
        return np.zeros(2), np.eye(2)
    points = _points(found, f)
    if not len(points):
        return np.zeros(M), np.eye(M)[:2]
    centre = points.mean(0)
    directions = np.linalg.svd(np.concatenate([points - centre, 1e-12 * np.eye(M)]), full_matrices=False)[2][:2]      # two, whatever the points span
    return centre, directions * np.sign(directions[np.arange(2), np.abs(directions).argmax(1)])[:, None]


def _projected(found: xr.Dataset, f: int, basis: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in the plane (attractor, phase, 2) and the distance from it (attractor, phase), of the attractors' points."""
    origin, directions = basis
    away = found["location"].values[f] - origin
    flat = away @ np.linalg.pinv(directions)
    return flat, np.linalg.norm(away - flat @ directions, axis=-1)


def _extent(extent: Any, flat: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float, float]:
    if extent is not None:
        try:
            x0, x1, y0, y1 = (float(side) for side in extent)
        except (TypeError, ValueError):
            raise ArgumentError(f"extent must be (x_low, x_high, y_low, y_high), got {extent!r}.") from None
        if not (np.isfinite([x0, x1, y0, y1]).all() and x0 < x1 and y0 < y1):
            raise ArgumentError(f"extent must be finite, with x_low < x_high and y_low < y_high, got {(x0, x1, y0, y1)}.")
        return x0, x1, y0, y1
    points = np.concatenate([points.reshape(-1, 2) for points, _ in flat])
    points = points[np.isfinite(points).all(-1)]
    if not len(points):
        raise ArgumentError("no attractor was found, so there is nothing to put the slice around. Give extent=(x_low, x_high, y_low, y_high).")
    low, high = points.min(0), points.max(0)
    reach = max(float((high - low).max()), 1e-3 * float(np.abs(points).max()), 1e-3)
    low, high = low - MARGIN * np.maximum(high - low, reach), high + MARGIN * np.maximum(high - low, reach)
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def _known(found: xr.Dataset, f: int) -> tuple[list[Sink], list[Wanderer], np.ndarray]:
    """Sinks, other attractors, and their numbers among the attractors in this order."""
    own = found.isel(fit=f)
    sinks, wanderers, numbers = [], [], ([], [])
    for a in np.flatnonzero(own["valid"].values):
        points = own["location"].values[a, : int(own["n_points"].values[a])]
        if own["period"].values[a] > 0:
            sinks.append(Sink(points, own["log_modulus"].values[a], np.zeros(points.shape[1])))
        else:
            wanderers.append(Wanderer(points, float(own["radius"].values[a]), own["scale"].values[a]))
        numbers[0 if own["period"].values[a] > 0 else 1].append(int(a))
    return sinks, wanderers, np.array(numbers[0] + numbers[1], dtype=int)


def _dataset(
    found: xr.Dataset, status: np.ndarray, usable: np.ndarray, label: np.ndarray, x: np.ndarray, y: np.ndarray,
    bases: list[tuple[np.ndarray, np.ndarray]], flat: list[tuple[np.ndarray, np.ndarray]], n_doublings: int,
) -> xr.Dataset:
    F, attractor = len(label), np.arange(found.sizes["attractor"])
    done = np.isin(np.arange(F), usable)
    whole = label.reshape(F, -1)
    share = (whole[..., None] == attractor).mean(1)
    out = found[["kind", "period", "n_points", "valid"]].copy()
    at = ("fit", "attractor", "phase")
    out["label"] = (("fit", "y", "x"), label, {"long_name": "number of the attractor; -1 diverged, -2 unresolved or none of those found"})
    out["share"] = (("fit", "attractor"), np.where(found["valid"].values & done[:, None], share, np.nan), {"long_name": "share of the slice", "units": "1"})
    for code, name in {-1: "diverged", -2: "unresolved"}.items():
        values = np.where(done, (whole == code).mean(1), np.nan)
        out[f"{name}_share"] = ("fit", values, {"long_name": f"share of the slice that is {name}", "units": "1"})
    for axis, name in enumerate(("x", "y")):
        said = {"long_name": f"points of the attractors, {name} in the plane", "units": "1"}
        out[f"location_{name}"] = (at, np.stack([points[..., axis] for points, _ in flat]), said)
    out["off_plane"] = (at, np.stack([apart for _, apart in flat]), {"long_name": "their distance from the plane", "units": "1"})
    out["origin"] = (("fit", "latent"), np.stack([origin for origin, _ in bases]), {"long_name": "where x = y = 0", "units": "1"})
    out["direction"] = (("fit", "axis", "latent"), np.stack([e for _, e in bases]), {"long_name": "unit of x and of y", "units": "1"})
    out["status"] = ("fit", status.astype(str), {"long_name": "what was done"})
    sides = {"x": ("x", x, {"long_name": "first coordinate in the plane"}), "y": ("y", y, {"long_name": "second coordinate in the plane"})}
    return out.assign_coords(sides | {"axis": ["x", "y"]}).assign_attrs(found.attrs | {"n_doublings": n_doublings})
