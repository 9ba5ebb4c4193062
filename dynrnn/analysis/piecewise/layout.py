"""Curves, polygons and charts as labelled arrays."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynrnn.analysis.piecewise.charts import Charts
from dynrnn.analysis.piecewise.polygon import Patches, area
from dynrnn.analysis.piecewise.polyline import Curve

STEPS = {"long_name": "steps to or from the straight part", "units": "1"}
PHASE = {"long_name": "point of the cycle at that part"}
REGION = {"long_name": "units that are on"}


def curve_dataset(curve: Curve) -> xr.Dataset:
    length = curve.arclength
    return xr.Dataset(
        {
            "location": (("vertex", "latent"), curve.location, {"long_name": "vertices of the manifold"}),
            "arclength": ("vertex", length, {"long_name": "distance from the start along the curve", "units": "latent units"}),
            "iteration": ("vertex", curve.iteration, STEPS),
            "parameter": ("vertex", curve.parameter, {"long_name": "place on the straight part"}),
            "phase": ("vertex", curve.phase, PHASE),
            "branch": ("vertex", curve.branch, {"long_name": "curve that the vertex is on"}),
            "segment_start": ("vertex", curve.starts, {"long_name": "a segment goes from here to the next vertex"}),
            "region": (("vertex", "unit"), curve.region, {"long_name": "units that are on, on the segment from here"}),
            "side": ("branch_number", curve.side, {"long_name": "side of the saddle; 0: a curve that does not begin there"}),
            "cycle_point_of_branch": ("branch_number", curve.home, {"long_name": "point of the cycle where the curve begins, or -1"}),
        },
        attrs={"kind": "polyline", "length": float(length[~curve.starts].sum())},
    )


def polygon_dataset(patches: Patches) -> xr.Dataset:
    polygons = patches.polygons
    areas = np.array([area(p.z) for p in polygons])
    return xr.Dataset(
        {
            "location": (("vertex", "latent"), np.concatenate([p.z for p in polygons]), {"long_name": "vertices of the polygons, in order around each"}),
            "parameter": (("vertex", "direction"), np.concatenate([p.q for p in polygons]), {"long_name": "place on the straight part"}),
            "polygon": ("vertex", np.repeat(np.arange(len(polygons)), [len(p.z) for p in polygons]), {"long_name": "polygon that the vertex is on"}),
            "iteration": ("polygon_number", np.array([p.iteration for p in polygons]), STEPS),
            "phase": ("polygon_number", np.array([p.phase for p in polygons]), PHASE),
            "area": ("polygon_number", areas, {"long_name": "area", "units": "latent units squared"}),
            "region": (("polygon_number", "unit"), np.stack([p.word for p in polygons]), REGION),
        },
        attrs={"kind": "polygons", "length": float(areas.sum())},
    )


def chart_dataset(charts: Charts) -> xr.Dataset:
    pieces = charts.pieces
    owner = np.repeat(np.arange(len(pieces)), [len(p.g) for p in pieces])
    return xr.Dataset(
        {
            "location": (("piece", "latent"), np.stack([p.base + p.chart @ p.centre for p in pieces]), {"long_name": "a point amid the piece"}),
            "base": (("piece", "latent"), np.stack([p.base for p in pieces]), {"long_name": "origin of the chart"}),
            "chart": (("piece", "latent", "direction"), np.stack([p.chart for p in pieces]), {"long_name": "columns of the chart"}),
            "centre": (("piece", "direction"), np.stack([p.centre for p in pieces]), {"long_name": "centre of the largest ball in the chart's coordinates"}),
            "radius": ("piece", np.array([p.radius for p in pieces]), {"long_name": "radius of that ball"}),
            "iteration": ("piece", np.array([p.iteration for p in pieces]), STEPS),
            "phase": ("piece", np.array([p.phase for p in pieces]), PHASE),
            "region": (("piece", "unit"), np.stack([p.word for p in pieces]), REGION),
            "normal": (("constraint", "direction"), np.concatenate([p.G for p in pieces]), {"long_name": "half-spaces normal q <= bound"}),
            "bound": ("constraint", np.concatenate([p.g for p in pieces]), {"long_name": "their bounds"}),
            "constraint_piece": ("constraint", owner, {"long_name": "piece that the half-space belongs to"}),
        },
        attrs={"kind": "charts"},
    )
